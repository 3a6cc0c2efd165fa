"""One value a patient: the only thing that tests and intervals are computed from."""

from collections.abc import Callable, Sequence
from math import isnan, nan
from typing import Any

import numpy as np
import pandas as pd

from metrics.aggregate import HITS, METRICS, patient_means_of_each
from records.run_files import MECHANISM
from reports.case_tables import READOUTS
from reports.statistics.intervals import intervals

GROUP = ("row", "split", "arm", "seed")
SEEDED = ("patient", "seed", "value")
MEAN = "mean"  # the structure that stands for the mean over structures
LOWER_IS_BETTER = ("hd95_mm", "assd_mm", "csa_error_percent", "csa_error_mm2", HITS, *READOUTS)


def scored_metrics(cases: pd.DataFrame) -> tuple[str, ...]:
    """Metrics that a case table has any value of."""
    later = [name for name in (*MECHANISM, *READOUTS) if name in cases and cases[name].notna().to_numpy().any()]
    return (*METRICS, HITS, *later)


def patient_scores(cases: pd.DataFrame, metrics: Sequence[str], averaged: Sequence[str] | None = None) -> pd.DataFrame:
    """Slice, then patient: a row per row, split, arm, seed, patient, structure and metric with its `value`.

    `structure` "mean" is the patient's mean over what is averaged. Undefined values have no row. A patient whose slices
    are in several folds of a seed (folds dealt by image) is one patient.

    Args:
        cases: Case tables joined, with the columns GROUP beside their own.
        metrics: Columns of the case table, or `hd95_mm_hits`.
        averaged: What "mean" is the mean of; None for everything.
    """
    order = [*GROUP, "patient", "structure", "metric", "value"]
    if cases.empty:
        return pd.DataFrame(columns=order)
    lines = []  # as tuples, since a frame for every metric, of which a report has hundreds, takes most of its time
    for metric, means in patient_means_of_each(cases, metrics, by=("patient", *GROUP)).items():
        own = means if averaged is None else means[[name for name in averaged if name in means]]
        means = means.assign(**{MEAN: own.mean(axis=1)})
        for structure, values in zip(means.columns, means.to_numpy(dtype=float).T.tolist(), strict=True):
            pairs = zip(means.index, values, strict=True)
            lines += [(*who, structure, metric, value) for who, value in pairs if not isnan(value)]
    table = pd.DataFrame(lines, columns=["patient", *GROUP, "structure", "metric", "value"])
    return table.loc[:, order].astype({"seed": int, "value": float})


def patient_table(scores: pd.DataFrame, rows: Sequence[str] | None = None) -> pd.DataFrame:
    """Values of one column, a patient a line (sorted) and a row of the table a column, averaged over seeds.

    Args:
        scores: Of one split, arm, structure and metric.
        rows: The rows to take, in this order; all by name without it. One without a value is left out.
    """
    table = over_seeds(scores).pivot(index="patient", columns="row", values="value")
    return table if rows is None else table.loc[:, [row for row in rows if row in table]]


def primary_values(scores: pd.DataFrame, rows: Sequence[str], split: str, structure: str = MEAN) -> pd.DataFrame:
    """Dice of own tests (of "mean": the primary endpoint): a patient a line, a row a column, NaN where it has none."""
    own = (scores["split"] == split) & (scores["arm"] == "")
    chosen = own & (scores["metric"] == "dice") & (scores["structure"] == structure)
    return patient_table(scores.loc[chosen].dropna(subset=["value"]), rows)


def over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean over the seeds of each patient's value."""
    keys = [name for name in scores.columns if name not in ("seed", "value")]
    return scores.groupby(keys, sort=True).agg({"value": "mean"}).reset_index()


def seed_spread(scores: pd.DataFrame) -> tuple[float, int]:
    """SD over seeds (n - 1) of the mean of one row's values, on patients that all seeds have; number of seeds."""
    return spread_over_seeds(*(scores[name].to_numpy() for name in SEEDED))


def spread_over_seeds(patients: np.ndarray, seeds: np.ndarray, values: np.ndarray) -> tuple[float, int]:
    """`seed_spread` of the columns SEEDED."""
    if len(set(seeds.tolist())) == 1:
        return nan, 1
    names, rows = np.unique(patients.astype(str), return_inverse=True)
    numbers, columns = np.unique(seeds, return_inverse=True)
    table = np.full((len(names), len(numbers)), nan)  # not a pivot, which would be the slowest step of a report
    table[rows, columns] = values
    shared = table[~np.isnan(table).any(axis=1)]
    return (float(np.std(shared.mean(axis=0), ddof=1)) if len(shared) else nan), len(numbers)


def means_by_structure(cases: pd.DataFrame, metric: str) -> Callable[[str, str], dict[str, Any]]:
    """Function of structure and column name: that row's mean over patients, its interval and their number."""
    scores = over_seeds(patient_scores(cases, (metric,)))

    def means(structure: str, name: str) -> dict[str, Any]:
        values = scores.loc[scores["structure"] == structure, "value"].to_numpy(dtype=float)
        found = intervals([values]).loc[0]
        ends = {"ci95_low": found["low"], "ci95_high": found["high"], "interval": found["interval"]}
        return {name: found["mean"], **ends, "num_patients": len(values)}

    return means
