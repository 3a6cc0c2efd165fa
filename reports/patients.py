"""One value a patient: the only thing that tests and intervals are computed from."""

from collections.abc import Sequence
from math import nan

import numpy as np
import pandas as pd

from metrics.aggregate import HITS, METRICS, patient_means
from reports.levels import READOUTS
from reports.run_files import MECHANISM

GROUP = ("row", "split", "arm", "seed")
MEAN = "mean"  # the structure that stands for the mean over structures
LOWER_IS_BETTER = ("hd95_mm", "assd_mm", "csa_error_percent", "csa_error_mm2", HITS, *READOUTS)
SEPARATOR = "\x1f"


def scored_metrics(cases: pd.DataFrame) -> tuple[str, ...]:
    """Metrics that a case table has any value of."""
    later = [name for name in (*MECHANISM, *READOUTS) if name in cases and cases[name].notna().to_numpy().any()]
    return (*METRICS, HITS, *later)


def patient_scores(cases: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Slice, then patient: a row per row, split, arm, seed, patient, structure and metric with its `value`.

    `structure` "mean" is the patient's mean over structures. Undefined values have no row. A patient whose slices are
    in several folds of a seed (folds dealt by image) is one patient.

    Args:
        cases: Case tables joined, with the columns GROUP beside their own.
        metrics: Columns of the case table, or `hd95_mm_hits`.
    """
    if cases.empty:
        return pd.DataFrame(columns=[*GROUP, "patient", "structure", "metric", "value"])
    # The names of group and patient as one key: what `patient_means` then takes for a patient is a patient of a run.
    key = cases["patient"].astype(str)
    for name in GROUP:
        key = key + SEPARATOR + cases[name].astype(str)
    keyed = cases.assign(patient=key)
    frames = []
    for metric in metrics:
        means = patient_means(keyed, metric)
        means = means.assign(**{MEAN: means.mean(axis=1)}).reset_index()
        frames.append(means.melt("patient", var_name="structure").assign(metric=metric))
    table = pd.concat(frames, ignore_index=True)
    table = table.loc[table["value"].notna()]
    table[["patient", *GROUP]] = table["patient"].str.split(SEPARATOR, expand=True, regex=False)
    table["seed"] = table["seed"].astype(int)
    return table[[*GROUP, "patient", "structure", "metric", "value"]].reset_index(drop=True)


def over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean over the seeds of each patient's value."""
    keys = [name for name in scores.columns if name not in ("seed", "value")]
    return scores.groupby(keys, sort=True).agg({"value": "mean"}).reset_index()


def seed_spread(scores: pd.DataFrame) -> tuple[float, int]:
    """SD over seeds (n - 1) of the mean of one row's values, on patients that all seeds have; number of seeds."""
    if len(set(scores["seed"])) == 1:
        return nan, 1
    table = scores.pivot(index="patient", columns="seed", values="value")
    means = table.dropna().to_numpy(dtype=float).mean(axis=0) if len(table.dropna()) else np.full(table.shape[1], nan)
    return float(np.std(means, ddof=1)), table.shape[1]
