"""Tests of two rows on the same patients against enumeration, hand-written formulas and other libraries."""

from itertools import product
from math import comb, inf, isnan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nct, norm, rankdata, t
from statsmodels.stats.multitest import multipletests

from reports.statistics.comparisons import (
    bold_rows,
    compare,
    detectable_difference,
    holm,
    rank_probabilities,
    smallest_p,
    wilcoxon_p,
)

MARGIN = 0.005


def differences(size, seed=0, mean=0.01, spread=0.02):
    return np.random.default_rng(seed).normal(mean, spread, size)


def every_flip(size):
    return np.array(list(product([1, -1], repeat=size)))


def enumerated_wilcoxon(sample):
    """Share of all sign flips whose rank sum is at least as far out, zeros ranked and then dropped (Pratt)."""
    ranks = rankdata(np.abs(sample)) * (sample != 0)
    sums = (every_flip(len(sample)) > 0) @ ranks
    own = ranks[sample > 0].sum()
    return min(1.0, 2 * min(np.mean(sums <= own + 1e-9), np.mean(sums >= own - 1e-9)))


def enumerated_permutation(sample):
    sums = every_flip(len(sample)) @ sample
    own = sample.sum()
    return min(1.0, 2 * min(np.mean(sums <= own + 1e-12), np.mean(sums >= own - 1e-12)))


@pytest.mark.parametrize("size", [6, 7, 9, 11])
@pytest.mark.parametrize("seed", range(3))
def test_both_tests_are_exact_for_few_patients(size, seed):
    sample = differences(size, seed)
    found = compare([sample], MARGIN).iloc[0]
    rounded = np.round(sample, 12)
    assert found["p_wilcoxon"] == pytest.approx(enumerated_wilcoxon(rounded))
    assert found["p_permutation"] == pytest.approx(enumerated_permutation(rounded))


@pytest.mark.parametrize(
    "sample",
    [
        [0.01, 0.01, 0.02, -0.01, 0.03, 0.0, 0.01],
        [0.0, 0.0, 0.0, 0.02, 0.02, 0.02, 0.02, -0.02],
        [0.3 - 0.2, 0.2 - 0.1, 0.1, 0.1, -0.1, 0.1 + 1e-16, 0.1],
    ],
    ids=["ties and a zero", "zeros", "ties but for rounding"],
)
def test_both_tests_are_exact_with_ties_and_zeros(sample):
    rounded = np.round(np.array(sample), 12)
    found = compare([np.array(sample)], MARGIN).iloc[0]
    assert found["p_wilcoxon"] == pytest.approx(enumerated_wilcoxon(rounded))
    assert found["p_permutation"] == pytest.approx(enumerated_permutation(rounded))


def test_the_drawn_permutations_agree_with_the_normal_limit():
    sample = differences(60, mean=0.003)
    expected = 2 * norm.sf(abs(sample.sum()) / np.sqrt((sample**2).sum()))
    assert compare([sample], MARGIN)["p_permutation"].iloc[0] == pytest.approx(expected, abs=0.02)
    assert 0.01 < expected < 0.5


def test_wilcoxon_of_many_patients_agrees_with_the_normal_limit():
    sample = np.round(differences(80, mean=0.004), 3)  # with ties
    ranks = rankdata(np.abs(sample)) * (sample != 0)
    z = (ranks * np.sign(sample)).sum() / np.sqrt((ranks**2).sum())
    assert wilcoxon_p(sample) == pytest.approx(2 * norm.sf(abs(z)), rel=1e-6)


@pytest.mark.parametrize("size", [6, 10, 13])
def test_the_smallest_p_is_reached_when_every_patient_agrees(size):
    found = compare([np.arange(1, size + 1) / 100], MARGIN).iloc[0]
    assert smallest_p(size) == 2 / 2**size
    assert found["p_wilcoxon"] == pytest.approx(smallest_p(size))
    assert found["p_permutation"] == pytest.approx(smallest_p(size))


def test_below_six_patients_nothing_is_tested():
    found = compare([differences(5), differences(1), np.array([])], MARGIN)
    numbers = ["p_wilcoxon", "p_permutation", "effect_size", "rank_biserial", "p_equivalence", "p_noninferiority"]
    assert found[numbers].isna().all(axis=None)
    assert list(found["difference_interval"]) == ["range", "range", ""]
    assert isnan(detectable_difference(differences(5)))


@pytest.mark.parametrize("size", [6, 20, 60])
def test_ties_everywhere_differ_in_nothing(size):
    found = compare([np.zeros(size)], MARGIN).iloc[0]
    assert (found["p_wilcoxon"], found["p_permutation"]) == (1.0, 1.0)
    assert (found["effect_size"], found["rank_biserial"], found["p_equivalence"]) == (0.0, 0.0, 0.0)
    assert (found["difference_low"], found["difference_high"]) == (0.0, 0.0)


def test_the_same_difference_everywhere_has_no_scatter():
    found = compare([np.full(20, 0.25)], MARGIN).iloc[0]
    assert found["effect_size"] == inf
    assert (found["p_equivalence"], found["p_noninferiority"]) == (1.0, 0.0)
    assert detectable_difference(np.full(20, 0.25)) == 0.0


def test_effect_sizes_by_hand():
    sample = np.array([0.04, -0.01, 0.03, 0.02, 0.0, 0.02])
    found = compare([sample], MARGIN).iloc[0]
    mean = 0.1 / 6
    variance = sum((value - mean) ** 2 for value in sample) / 5
    assert found["effect_size"] == pytest.approx(mean / variance**0.5)
    # Ranks of |d| without the zero: 5, 1, 4, 2.5, 2.5; the negative one has rank 1 of 15.
    assert found["rank_biserial"] == pytest.approx((14 - 1) / 15)


@pytest.mark.parametrize(("mean", "equivalent"), [(0.0, True), (0.0035, False), (0.02, False), (-0.02, False)])
def test_equivalence_is_the_ninety_percent_interval_inside_the_margin(mean, equivalent):
    sample = differences(25, seed=4, spread=0.006)
    sample = sample - sample.mean() + mean
    error = sample.std(ddof=1) / 5
    low, high = mean - t.ppf(0.95, 24) * error, mean + t.ppf(0.95, 24) * error
    found = compare([sample], MARGIN).iloc[0]
    assert (found["p_equivalence"] < 0.05) == (low > -MARGIN and high < MARGIN) == equivalent
    assert found["p_noninferiority"] == pytest.approx(t.sf((mean + MARGIN) / error, 24))
    assert found["p_equivalence"] == pytest.approx(
        max(t.sf((mean + MARGIN) / error, 24), t.cdf((mean - MARGIN) / error, 24))
    )


def test_holm_by_hand():
    # In order 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, each at least as large as the one before.
    assert holm(np.array([0.03, 0.01, 0.04, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([np.nan, 0.02])) == pytest.approx([np.nan, 0.02], nan_ok=True)
    assert holm(np.array([])).size == 0


@pytest.mark.parametrize("seed", range(3))
def test_holm_is_that_of_statsmodels(seed):
    p_values = np.random.default_rng(seed).beta(0.3, 2, 7)
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_the_detectable_difference_has_eighty_percent_power():
    sample = differences(30)
    effect = detectable_difference(sample) / sample.std(ddof=1)
    limit, centre = t.ppf(0.975, 29), effect * np.sqrt(30)
    assert nct.sf(limit, 29, centre) + nct.cdf(-limit, 29, centre) == pytest.approx(0.8, abs=1e-6)


def values(**rows):
    return pd.DataFrame(rows, index=[f"p{index:03}" for index in range(len(next(iter(rows.values()))))])


def test_rank_probabilities_are_those_of_all_draws():
    table = values(a=[0.9, 0.8, 0.6], b=[0.7, 0.8, 0.85], c=[0.1, 0.1, 0.1])
    wins = [
        table["a"].iloc[list(drawn)].mean() - table["b"].iloc[list(drawn)].mean()
        for drawn in product(range(3), repeat=3)
    ]
    found = rank_probabilities(table).set_index(["row", "rank"])["probability"]
    assert found["a", 1] == pytest.approx(np.mean(np.array(wins) > -1e-12), abs=0.02)
    assert found["b", 1] == pytest.approx(np.mean(np.array(wins) < 1e-12), abs=0.02)
    assert found["c", 3] == 1.0
    assert found.groupby("row").sum().to_numpy() == pytest.approx(1.0)


def test_rows_that_tie_share_the_better_rank():
    found = rank_probabilities(values(a=[0.9, 0.8], b=[0.9, 0.8])).set_index(["row", "rank"])["probability"]
    assert found["a", 1] == found["b", 1] == 1.0


BASE = 0.9 + np.random.default_rng(0).normal(0, 0.03, 30)
NOISE = np.random.default_rng(1).normal(0, 0.004, (3, 30))


@pytest.mark.parametrize(
    ("table", "higher", "expected"),
    [
        (values(a=BASE, b=BASE - 0.02 + NOISE[0], c=BASE - 0.03 + NOISE[1]), True, {"a"}),
        (values(a=BASE, b=BASE + 0.0001 * NOISE[0] / 0.004, c=BASE - 0.03 + NOISE[1]), True, {"a", "b"}),
        (values(a=BASE, b=BASE - 0.02 + NOISE[0], c=BASE - 0.03 + NOISE[1]), False, {"c"}),
        (values(a=BASE, b=BASE), True, set()),
        (values(a=BASE), True, set()),
        (values(a=BASE[:5], b=BASE[:5] - 0.1), True, set()),
        (values(a=[*BASE[:4] + 0.05, *[np.nan] * 26], b=BASE, c=BASE - 0.03 + NOISE[1]), True, {"b"}),
        (values(a=[*BASE[:15] + 0.05, *[np.nan] * 15], b=BASE, c=BASE - 0.03 + NOISE[1]), True, {"a", "b"}),
    ],
    ids=[
        *("one winner", "two", "lower is better", "all tie", "one row", "five patients"),
        *("too few shared patients", "half of the folds"),
    ],
)
def test_bold_is_every_row_not_worse_than_the_best(table, higher, expected):
    assert bold_rows(table, higher_is_better=higher) == expected
    assert bold_rows(table[table.columns[::-1]].iloc[::-1], higher_is_better=higher) == expected


def test_bold_needs_a_difference_that_survives_holm():
    # 7 of 7 patients are worse: p = 2 / 2^7 = 0.016, enough against one row, not against four.
    worse = BASE[:7] - np.arange(1, 8) / 1000
    assert comb(7, 0) * 2 / 2**7 * 3 < 0.05 < 2 / 2**7 * 4
    assert bold_rows(values(a=BASE[:7], b=worse)) == {"a"}
    others = {name: worse - 0.0001 * index for index, name in enumerate("bcde")}
    assert bold_rows(values(a=BASE[:7], **others)) == set()


def test_a_row_of_too_few_patients_to_be_found_worse_is_not_bold():
    """Far worse in each of its seven patients, which Holm over four rows lets nobody see."""
    best, noise = BASE[:14], np.arange(14) % 3 / 1000
    hopeless = {name: np.where(np.arange(14) < 7, best - 0.4 - place / 100, np.nan) for place, name in enumerate("cde")}
    assert bold_rows(values(a=best, b=best - 0.1 - noise, **hopeless)) == {"a"}
    assert bold_rows(values(a=best, b=best - 0.1 - noise, f=best + noise - 0.001)) == {"a", "f"}


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 500), size=st.sampled_from([6, 9, 30]), scale=st.floats(0.5, 50))
def test_tests_depend_neither_on_the_order_nor_on_the_unit(seed, size, scale):
    sample = np.round(differences(size, seed), 6)
    other = np.random.default_rng(seed).permutation(sample)
    one, two = (compare([each], MARGIN).iloc[0] for each in (sample, other * 2 ** round(np.log2(scale))))
    assert one["p_wilcoxon"] == pytest.approx(two["p_wilcoxon"])
    assert one["effect_size"] == pytest.approx(two["effect_size"])
    assert one["p_permutation"] == pytest.approx(two["p_permutation"], abs=1e-12 if size < 14 else 0.03)
    assert compare([-sample], MARGIN)["p_wilcoxon"].iloc[0] == pytest.approx(one["p_wilcoxon"])
