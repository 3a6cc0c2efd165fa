"""Key-point errors of each structure, structures that carry a wrong number, and what is taken for what."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from records.readout_files import HEATMAP, MASK
from records.run import Run
from reports.spines.levels import LABEL, OFFSET
from reports.statistics.intervals import intervals
from reports.statistics.patients import MEAN, over_seeds, patient_scores

KEYPOINT_COLUMNS = (
    *("row", "source", "structure", "num_patients", "mean_mm", "ci95_low", "ci95_high", "interval", "median_mm"),
    *("p95_mm", "num_points", "num_missing", "num_one_off", "num_further_off", "num_astray"),
)
LEVEL_COLUMNS = (
    *("row", "structure", "num_patients", "level_error", "ci95_low", "ci95_high", "interval"),
    *("num_structures", "num_right", "num_one_off", "num_further_off", "num_other_kind", "num_missed"),
    "num_patients_off",
)
CONFUSION_COLUMNS = ("row", "truth", "prediction", "share", "pixels", "num_patients")
BACKGROUND = "background"
METRIC_OF = {HEATMAP: "keypoint_error_mm", MASK: "mask_keypoint_error_mm"}


def build_keypoints(runs: Sequence[Run], cases: pd.DataFrame, structures: Sequence[str]) -> pd.DataFrame:
    """`keypoints.csv`: distance between true and predicted key points, by row, source and structure ("mean": all).

    `mean_mm` and its interval are over patients, `median_mm` and the 95th percentile `p95_mm` over points. A visible
    key point without a prediction is in `num_missing` and in no mean. Of the others, `num_one_off` and
    `num_further_off` lie nearest to the true point of a neighbour, or of another structure, `num_astray` near none.

    Args:
        runs: Whose key points are counted, arms left out.
        cases: Their case tables joined (`reports.spines.levels.with_readouts`).
        structures: In the anatomy's order.
    """
    points = _joined(runs, "keypoints")
    if points.empty:
        return pd.DataFrame(columns=list(KEYPOINT_COLUMNS))
    points = points.loc[points["visible"]]
    series = _series(runs)
    records = []
    key: Any
    for key, part in points.groupby(["row", "source"], sort=False):
        row, source = key
        metric = METRIC_OF[str(source)]
        means = _patient_means(cases.loc[cases["row"] == row], metric)
        for structure in (MEAN, *(name for name in structures if name in set(part["structure"]))):
            own = part if structure == MEAN else part.loc[part["structure"] == structure]
            errors = own["error_mm"].dropna().to_numpy(dtype=float)
            found = own.dropna(subset=["x"])  # with a nominal spacing, those that were found have no error in mm either
            median, p95 = np.quantile(errors, [0.5, 0.95]) if len(errors) else (nan, nan)
            records.append(
                {"row": row, "source": source, "structure": structure, **means(structure, "mean_mm")}
                | {"median_mm": median, "p95_mm": p95, "num_points": len(own), "num_missing": len(own) - len(found)}
                | _nearest(found, series)
            )
    return pd.DataFrame(records, columns=list(KEYPOINT_COLUMNS))


def build_levels(cases: pd.DataFrame, structures: Sequence[str]) -> pd.DataFrame:
    """`levels.csv`: true structures by the number that their prediction carries, by row and structure ("mean": all).

    `level_error` is the share of the found ones that carry another level's number, mean over patients with its
    interval; `num_patients_off` counts patients in whom this happened at all. `num_other_kind` were taken for a
    structure of another series, as a vertebra for a disc. Counts are over all seeds.

    Args:
        cases: Case tables joined (`reports.spines.levels.with_readouts`).
        structures: Those that have a place in a series, in the anatomy's order.
    """
    records = []
    true = cases.loc[cases["status"].isin(["scored", "missed"]) & cases["structure"].isin(list(structures))]
    for row, part in true.groupby("row", sort=False):
        if part["level_error"].isna().all():
            continue
        means = _patient_means(part, "level_error")
        for structure in (MEAN, *structures):
            own = part if structure == MEAN else part.loc[part["structure"] == structure]
            offset, named = own[OFFSET].abs(), own[LABEL] != ""
            records.append(
                {"row": row, "structure": structure, **_share(means(structure, "level_error"))}
                | {"num_structures": len(own), "num_right": np.count_nonzero(offset == 0)}
                | {"num_one_off": np.count_nonzero(offset == 1), "num_further_off": np.count_nonzero(offset > 1)}
                | {"num_other_kind": np.count_nonzero(offset.isna() & named), "num_missed": np.count_nonzero(~named)}
                | {"num_patients_off": own.loc[offset > 0, "patient"].nunique()}
            )
    return pd.DataFrame(records, columns=list(LEVEL_COLUMNS))


def build_confusion(runs: Sequence[Run], structures: Sequence[str]) -> pd.DataFrame:
    """`confusion.csv`: which share of a true structure's pixels carries which label, background included.

    Pixels are added up over a patient's slices and seeds; `share` is the mean over the patients who have the structure,
    `pixels` and `num_patients` are what it rests on. Every pair of labels has a line.
    """
    pixels = _joined(runs, "confusion")
    names = [BACKGROUND, *structures]
    records = []
    for row, part in pixels.groupby("row", sort=False) if len(pixels) else ():
        for truth in (name for name in names if name in set(part["truth"])):
            own = part.loc[part["truth"] == truth]
            table = own.pivot_table(index="patient", columns="prediction", values="pixels", aggfunc="sum")
            counts = table.reindex(columns=names).fillna(0).to_numpy(dtype=float)
            shares, totals = (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0), counts.sum(axis=0)
            rest = zip(names, shares.tolist(), totals.astype(int).tolist(), strict=True)
            records += [(row, truth, *values, len(counts)) for values in rest]
    return pd.DataFrame(records, columns=list(CONFUSION_COLUMNS))


def _joined(runs: Sequence[Run], name: str) -> pd.DataFrame:
    tables = [(run, getattr(run.readouts, name)) for run in runs if not run.arm]
    frames = [table.assign(row=run.row, seed=run.seed) for run, table in tables if table is not None]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _patient_means(cases: pd.DataFrame, metric: str):
    """Function of structure and column name: that row's mean over patients, with its interval."""
    scores = over_seeds(patient_scores(cases, (metric,)))

    def means(structure: str, name: str) -> dict[str, Any]:
        values = scores.loc[scores["structure"] == structure, "value"].to_numpy(dtype=float)
        found = intervals([values]).loc[0]
        ends = {"ci95_low": found["low"], "ci95_high": found["high"], "interval": found["interval"]}
        return {name: found["mean"], **ends, "num_patients": len(values)}

    return means


def _share(entry: dict[str, Any]) -> dict[str, Any]:
    """An interval of a share ends at 0 and 1."""
    return entry | {name: np.clip(entry[name], 0, 1) for name in ("ci95_low", "ci95_high")}


def _series(runs: Sequence[Run]) -> dict[str, tuple[str, int]]:
    known: Mapping[str, Sequence[str]] = next((run.series for run in runs if run.series), {})
    return {name: (kind, place) for kind, names in known.items() for place, name in enumerate(names)}


def _nearest(points: pd.DataFrame, series: Mapping[str, tuple[str, int]]) -> dict[str, int]:
    """How many lie at another structure: a neighbour in the series, any other, or none at all."""
    counts = {"num_one_off": 0, "num_further_off": 0, "num_astray": 0}
    for structure, nearest in zip(points["structure"], points["nearest"], strict=True):
        if not nearest:
            counts["num_astray"] += 1
        elif nearest != structure:
            mine, found = series.get(structure, ("", 0)), series.get(nearest, ("?", 0))
            neighbour = mine[0] == found[0] and abs(mine[1] - found[1]) == 1
            counts["num_one_off" if neighbour else "num_further_off"] += 1
    return counts
