"""What a paper varies in one system: what each value of the setting gives, and whether that is more than seeds give.

What is said of it is in `reports.readouts.varied_tables`.
"""

from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from reports.papers import varied_settings
from reports.sources import Sources
from reports.statistics.comparisons import NUM_FLIPS, compare, holm
from reports.statistics.intervals import SEED, intervals
from reports.statistics.patients import MEAN, over_seeds, seed_spread

VALUES = (
    *("path", "value", "row", "published", "mean", "ci95_low", "ci95_high", "interval", "num_patients"),
    *("num_seeds", "seed_sd", "control", "difference", "difference_low", "difference_high", "difference_interval"),
    *("num_pairs", "p_wilcoxon", "p_holm"),
)
NOISE = ("path", "num_values", "best", "worst", "range", "noise_range", "p", "seed_sd", "num_seeds", "num_folds")
TESTED = ("difference", "difference_low", "difference_high", "difference_interval", "num_pairs", "p_wilcoxon")
LIMIT = 0.95  # of the ranges that chance alone gives
FEWEST_SEEDS = 2  # below, nothing tells noise from effect
FILES = {
    "varied": "Settings that the paper varies (`build_values`).",
    "varied_noise": "Whether these differ by more than seeds do (`build_noise`).",
}


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """FILES, of the own tests of the first table's split."""
    cases, scores = sources.tested(sources.cases), sources.tested(sources.scores)
    values = build_values(scores, sources.rows, sources.published)
    return {"varied": values, "varied_noise": build_noise(cases, scores, values)}


def varied_rows(rows: Sequence[str], published: pd.DataFrame) -> dict[tuple[str, str], dict[str, str]]:
    """Rows by value of each setting that the paper varies, in order; keys are (row without a setting, dotted path).

    Rows that differ in something else, too, are left out.
    """
    found = {}
    for base, (path, usual) in varied_settings(published).items():
        start = f"{base} {path}="
        values = {row.removeprefix(start): row for row in rows if row.startswith(start) and row.count(" ") == 1}
        values |= {usual: base} if base in rows else {}
        if values:
            found[base, path] = dict(sorted(values.items(), key=lambda item: _order(item[0])))
    return found


def build_values(scores: pd.DataFrame, rows: Sequence[str], published: pd.DataFrame) -> pd.DataFrame:
    """`varied.csv`: a line a value, with VALUES; Dice as a share of 1, the published one in percent.

    `difference` is to `control`, the smallest value (the paper's own, such as a weight of 0), paired by patient;
    `p_holm` adjusts over the values.

    Args:
        scores: `patient_scores` of the own tests of one split.
        rows: Rows of the table.
        published: The paper's table.
    """
    own = scores.loc[(scores["metric"] == "dice") & (scores["structure"] == MEAN)]
    means = dict(zip(published["row"], published["mean"], strict=True))
    frames = []
    for (_, path), values in varied_rows(rows, published).items():
        control = next(iter(values))
        table = over_seeds(own).pivot(index="patient", columns="row", values="value")
        samples = [table[row].dropna().to_numpy(dtype=float) for row in values.values()]
        gaps = [_gaps(table, row, values[control]) for row in values.values()]
        spreads = [seed_spread(own.loc[own["row"] == row]) for row in values.values()]
        frame = pd.DataFrame({"path": path, "value": list(values), "row": list(values.values()), "control": control})
        frame["published"] = [means.get(row, nan) for row in values.values()]
        frame[["mean", "ci95_low", "ci95_high", "interval"]] = intervals(samples)[["mean", "low", "high", "interval"]]
        frame["num_patients"] = [len(sample) for sample in samples]
        frame["seed_sd"], frame["num_seeds"] = [sd for sd, _ in spreads], [count for _, count in spreads]
        frame[list(TESTED)] = compare(gaps, 0.0)[list(TESTED)]
        frame["p_holm"] = holm(frame["p_wilcoxon"].to_numpy())
        frames.append(frame.loc[:, list(VALUES)])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(VALUES))


def build_noise(cases: pd.DataFrame, scores: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """`varied_noise.csv`: whether values differ by more than seeds do; a line a setting, with NOISE.

    `range` is the largest mean Dice minus the smallest. Were the setting without effect, the trainings of a fold could
    have any of its values: `p` is the share of 9 999 draws that deal the values anew among the trainings of each fold,
    whatever their seed, and give a range as large, `noise_range` what 95 % of them stay below. What a seed does to all
    values alike counts as noise, so the test is on the safe side. It takes the folds and seeds that all values have;
    with fewer than two seeds p and noise are NaN. `seed_sd` is that of one value, pooled.

    Args:
        cases: Case tables of the own tests of one split, for the folds of the patients.
        scores: `patient_scores` of the same.
        values: `build_values` of them.
    """
    folds = {str(patient): fold for patient, fold in zip(cases["patient"], cases["fold"], strict=True)}
    own = scores.loc[(scores["metric"] == "dice") & (scores["structure"] == MEAN)]
    records: list[dict[str, Any]] = []
    for path, part in values.groupby("path", sort=False):
        chosen = own.loc[own["row"].isin(part["row"])]
        table = chosen.pivot(index="patient", columns=["row", "seed"], values="value")
        # Seeds that every value has, and patients whom all their trainings tested.
        seeds = sorted(set.intersection(*(set(table[row].columns) for row in part["row"])))
        table = table.reindex(columns=[(row, seed) for row in part["row"] for seed in seeds]).dropna()
        if len(part) == 1 or table.empty:  # one value differs from none
            continue
        by_fold = table.groupby([folds[str(patient)] for patient in table.index])
        means = by_fold.mean().to_numpy(dtype=float).reshape(-1, len(part), len(seeds))
        weights, num_seeds = by_fold.size().to_numpy(dtype=float), len(seeds)
        names, totals = list(part["value"]), np.average(means.mean(axis=2), axis=0, weights=weights)
        limit, p = _dealt_anew(means, weights) if num_seeds >= FEWEST_SEEDS else (nan, nan)
        record = {"path": path, "num_values": len(part), "num_seeds": num_seeds, "num_folds": len(means)}
        record |= {"best": names[int(totals.argmax())], "worst": names[int(totals.argmin())]}
        record |= {"range": float(np.ptp(totals)), "noise_range": limit, "p": p}
        records.append(record | {"seed_sd": _pooled(part["seed_sd"].to_numpy(dtype=float))})
    return pd.DataFrame(records, columns=list(NOISE))


def _dealt_anew(means: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Range that chance stays below, and p of the one found; `means` [fold, value, seed], `weights` [fold]."""
    num_folds, num_values, num_seeds = means.shape
    trainings = means.reshape(num_folds, -1)
    centred = trainings - trainings.mean(axis=1, keepdims=True)
    rng = np.random.default_rng(SEED)
    drawn = np.zeros((NUM_FLIPS, num_values))
    for fold, weight in zip(centred, weights / weights.sum(), strict=True):
        dealt = rng.permuted(np.tile(fold, (NUM_FLIPS, 1)), axis=1)
        drawn += weight * dealt.reshape(NUM_FLIPS, num_values, num_seeds).mean(axis=2)
    found = np.ptp(np.average(means.mean(axis=2), axis=0, weights=weights))
    larger = np.count_nonzero(np.ptp(drawn, axis=1) >= found - 1e-12)
    return float(np.quantile(np.ptp(drawn, axis=1), LIMIT)), (1 + larger) / (1 + NUM_FLIPS)


def _gaps(table: pd.DataFrame, row: str, control: str) -> np.ndarray:
    """Differences of the patients that both have; none of the control to itself."""
    return np.zeros(0) if row == control else (table[row] - table[control]).dropna().to_numpy(dtype=float)


def _pooled(spreads: np.ndarray) -> float:
    known = spreads[~np.isnan(spreads)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else nan


def _order(value: str) -> tuple[float, str]:
    try:
        return float(value), ""
    except ValueError:
        return np.inf, value
