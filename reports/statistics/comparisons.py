"""Two rows on the same patients: tests, effect sizes, equivalence, ranks and what a table may print in bold."""

from collections.abc import Sequence
from functools import cache
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import permutation_test, rankdata, wilcoxon
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from reports.statistics.intervals import FEWEST_FOR_TEST, NUM_DRAWS, SEED, intervals

ALPHA = 0.05
POWER = 0.8
NUM_FLIPS = 9_999
MOST_ENUMERATED = 13  # patients whose 2^n signs are fewer than that: both tests are exact then
DECIMALS = 12  # what a difference of means is rounded to, so that equal ones are ties and none is noise of the sum
EXACT = 2.0**40  # differences as integers below this add up without rounding
COLUMNS = (
    *("num_pairs", "difference", "difference_low", "difference_high", "difference_interval"),
    *("p_wilcoxon", "p_permutation", "effect_size", "rank_biserial", "p_equivalence", "p_noninferiority"),
)


def compare(differences: Sequence[np.ndarray], margin: float) -> pd.DataFrame:
    """Every paired comparison of a report at once; a row per sample of differences, with COLUMNS.

    * `difference` with its interval, by the rule of `intervals`.
    * `p_wilcoxon`: signed-rank test, two-sided, zeros by Pratt (they take part in the ranking), no continuity
      correction; exact up to 50 patients without ties or zeros and up to 13 with them, else the normal approximation.
    * `p_permutation`: sign flips of the mean difference, two-sided; all of them up to 13 patients, else 9 999 drawn.
    * `effect_size`: Cohen's dz, mean over SD of the differences; infinite where all are the same and not 0, 0 where all
      are 0. `rank_biserial`: matched pairs, (sum of positive - of negative ranks) / sum of ranks, zeros left out.
    * `p_equivalence`: two one-sided t tests against -margin and +margin; `p_noninferiority`: the first of them, whether
      the difference is above -margin.

    Below six patients all of the latter are NaN: not testable.

    Args:
        differences: Value of the row minus value of the reference, one a patient each.
        margin: Difference of interest, in the unit of the values.
    """
    rounded = [np.round(np.asarray(sample, dtype=float), DECIMALS) for sample in differences]
    table = intervals(rounded).set_axis(
        ["difference", "difference_low", "difference_high", "difference_interval"], axis=1
    )
    table["num_pairs"] = [len(sample) for sample in rounded]
    tests = [_tests(sample, margin) for sample in rounded]
    for position, name in enumerate(
        ("p_wilcoxon", "effect_size", "rank_biserial", "p_equivalence", "p_noninferiority")
    ):
        table[name] = np.array([values[position] for values in tests], dtype=float)
    table["p_permutation"] = permutation_p(rounded)
    return table.loc[:, list(COLUMNS)]


def wilcoxon_p(difference: np.ndarray) -> float:
    """Two-sided p of the signed-rank test as in `compare`; NaN below six patients, 1 where nothing differs."""
    if len(difference) < FEWEST_FOR_TEST:
        return nan
    if not np.any(difference):
        return 1.0
    if len(difference) <= MOST_ENUMERATED:
        # SciPy has this, too, but takes seconds for it where there are ties, and a report has thousands of columns.
        ranks = rankdata(np.abs(difference)) * np.sign(difference)
        sums = _every_flip(len(difference)) @ ranks
        return min(1.0, 2 * float(np.mean(sums >= abs(ranks.sum()))))
    result: Any = wilcoxon(difference, zero_method="pratt", correction=False, method="auto")
    return float(result.pvalue)


def permutation_p(differences: Sequence[np.ndarray]) -> np.ndarray:
    """Two-sided p of the sign-flip test of each sample; NaN below six patients."""
    found = np.full(len(differences), nan)
    by_size: dict[int, list[int]] = {}
    for index, sample in enumerate(differences):
        if len(sample) >= FEWEST_FOR_TEST:
            by_size.setdefault(len(sample), []).append(index)
    for size, indices in by_size.items():
        columns = np.stack([_as_integers(differences[index]) for index in indices], axis=1)
        # The flips of ones are the signs themselves, which then serve all samples of this size.
        result = permutation_test(
            (np.ones(size),),
            lambda signs, axis, columns=columns: signs @ columns,
            permutation_type="samples",
            vectorized=True,
            n_resamples=NUM_FLIPS,
            batch=2_500,
            rng=np.random.default_rng(SEED),
        )
        found[indices] = result.pvalue
    return found


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment over the p that are not NaN; NaN stays NaN and does not count.

    Ours, as that of statsmodels runs the garbage collector every time (0.3 s; a report has thousands of columns).
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values)[: np.count_nonzero(~np.isnan(p_values))]
    adjusted = np.full(len(p_values), nan)
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def smallest_p(num_patients: int) -> float:
    """The smallest two-sided p of either test that so many patients allow, before Holm: 2 of 2^n signs."""
    return 2.0 ** (1 - num_patients)


def detectable_difference(difference: np.ndarray) -> float:
    """Mean difference that a paired t test of this many patients and this scatter finds in 80 % of studies."""
    spread = float(np.std(difference, ddof=1)) if len(difference) >= FEWEST_FOR_TEST else nan
    if np.isnan(spread) or spread == 0:
        return spread
    found = TTestPower().solve_power(nobs=len(difference), alpha=ALPHA, power=POWER, alternative="two-sided")
    return float(np.squeeze(found)) * spread


def rank_probabilities(values: pd.DataFrame, *, num_draws: int = NUM_DRAWS) -> pd.DataFrame:
    """How often each row takes each rank when the patients are drawn again: `row, rank, probability`.

    Rank 1 has the highest mean; rows that tie share the better rank.

    Args:
        values: One patient a line, one row of the table a column, no NaN.
        num_draws: How often the patients are drawn.
    """
    num_patients, num_rows = values.shape
    drawn = np.random.default_rng(SEED).integers(0, num_patients, (num_draws, num_patients))
    array = values.to_numpy(dtype=float)
    means = np.stack([array[:, column][drawn].mean(axis=1) for column in range(num_rows)], axis=1)
    ranks = rankdata(-np.round(means, DECIMALS), method="min", axis=1)
    numbers = range(1, num_rows + 1)
    rows = [
        (row, number, float(np.mean(ranks[:, column] == number)))
        for column, row in enumerate(values.columns)
        for number in numbers
    ]
    return pd.DataFrame(rows, columns=["row", "rank", "probability"])


def bold_rows(values: pd.DataFrame, *, higher_is_better: bool = True) -> set[str]:
    """Rows not worse than the best after Holm; empty if all of them are, or if nothing can be tested.

    The best has the highest mean among the rows that cover the most patients (a row with half of the folds may have had
    the easier half); each other is compared with it on the patients they share. One that shares fewer than six is
    neither bold nor counted; one that shares so few that Holm would let no difference pass is not bold.

    Args:
        values: One patient a line (in any order), one row of the table a column, NaN where a row has no value.
        higher_is_better: False for distances and errors.
    """
    names = sorted(str(name) for name in values.columns)
    # Arrays, as a report asks this of thousands of columns.
    table = values[names].to_numpy(dtype=float) * (1 if higher_is_better else -1)
    counts = (~np.isnan(table)).sum(axis=0)
    if not len(names) or counts.max() < FEWEST_FOR_TEST:
        return set()
    covering = np.flatnonzero(counts == counts.max())
    best = covering[np.argmax(np.nanmean(table[:, covering], axis=0).round(DECIMALS))]
    others = [place for place in range(len(names)) if place != best]
    gaps = [table[:, place] - table[:, best] for place in others]
    gaps = [gap[~np.isnan(gap)] for gap in gaps]
    adjusted = holm(np.array([wilcoxon_p(gap.round(DECIMALS)) for gap in gaps]))
    tested = {place for place, p in zip(others, adjusted, strict=True) if not np.isnan(p)}
    worse = {place for place, p, gap in zip(others, adjusted, gaps, strict=True) if p < ALPHA and gap.mean() < 0}
    told = {place for place, gap in zip(others, gaps, strict=True) if smallest_p(len(gap)) * len(tested) < ALPHA}
    return {names[place] for place in (tested & told - worse) | {int(best)}} if worse else set()


def _tests(difference: np.ndarray, margin: float) -> tuple[float, float, float, float, float]:
    if len(difference) < FEWEST_FOR_TEST:
        return nan, nan, nan, nan, nan
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    if spread < 10.0**-DECIMALS:
        dz = 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
        equivalent, not_inferior = float(abs(mean) >= margin), float(mean <= -margin)
    else:
        dz = mean / spread
        answer = DescrStatsW(difference).ttost_mean(-margin, margin)
        equivalent, not_inferior = float(answer[0]), float(answer[1][1])
    return wilcoxon_p(difference), dz, _rank_biserial(difference), equivalent, not_inferior


def _rank_biserial(difference: np.ndarray) -> float:
    nonzero = difference[difference != 0]
    if not len(nonzero):
        return 0.0
    ranks = rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


@cache
def _every_flip(size: int) -> np.ndarray:
    """All signs that so many differences can have, [2^size, size]."""
    return 1 - 2 * ((np.arange(2**size)[:, None] >> np.arange(size)) & 1)


def _as_integers(difference: np.ndarray) -> np.ndarray:
    """Scaled so that sums of flipped differences are exact and equal ones compare equal."""
    largest = float(np.abs(difference).max())
    return np.rint(difference / largest * EXACT) if largest else difference
