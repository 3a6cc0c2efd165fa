"""Unions of structures (overall muscle = muscle tissue + fat), scored as if each were one.

Of the one mask of a run, from confusion.csv: overlaps of parts do not add up to that of their union, for what is taken
for another part of it is right there; the counts of pairs of labels do. Of overlapping outputs, each judged on its own,
from region_outputs.csv.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from metrics.levels import SLICE
from metrics.muscles import BOTH
from records.readout_files import TRUE
from records.run import Run

FACTORS = ("site", "fat_fraction", "fascia_contrast", "quadratus_lumborum", "snr")
PLACE = ("case", "patient", "level", "slice", *FACTORS)
SCORES = (
    *("structure", "status", "dice", "precision", "recall", "tp", "fp", "fn", "area_true_mm2", "area_pred_mm2"),
    *("csa_error_percent", "csa_error_mm2", "csa_bias_percent", "csa_bias_mm2", "segmented_percent"),
)
RUN = ("row", "split", "arm", "seed", "fold")
COLUMNS = (*PLACE, "true_fat_share", *SCORES, *RUN)


def region_cases(runs: Sequence[Run]) -> pd.DataFrame:
    """A row per slice and region of every run that has both, with COLUMNS; `structure` is the name of the region.

    Scores, areas and statuses are those of `metrics.cases.score_slice`, of the union. Beside them, in mm2 and, where
    the truth is not empty, in percent of it: `csa_error_*`, the size of the difference of both areas, and `csa_bias_*`,
    prediction minus truth; `true_fat_share` is that of the
    slice's muscles in morphometry.csv, both sides together, NaN without one; `segmented_percent` is 100 where the
    prediction is not empty and 0 where it is. A region of which a part was not annotated has the status `unlabelled`
    and no numbers.
    """
    return _joined([_regions_of(run) for run in runs])


def region_output_cases(runs: Sequence[Run]) -> pd.DataFrame:
    """The same of what a network judges region by region, before it is made one mask; empty where none does."""
    return _joined([_region_outputs_of(run) for run in runs])


def region_names(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Structures of each region, as the anatomy of the runs says; {} where it has none."""
    regions = next((run.config["anatomy"].get("regions") for run in runs if run.config["anatomy"].get("regions")), {})
    return {str(name): list(parts) for name, parts in (regions or {}).items()}


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))


def _regions_of(run: Run) -> pd.DataFrame:
    pairs, regions = run.readouts.confusion, region_names([run])
    if pairs is None:
        return pd.DataFrame(columns=list(COLUMNS))
    return _scored(run, {name: _counts(pairs, parts) for name, parts in regions.items()})


def _region_outputs_of(run: Run) -> pd.DataFrame:
    counts = run.readouts.region_outputs
    if counts is None:
        return pd.DataFrame(columns=list(COLUMNS))
    names = ["case", "slice", "tp", "fp", "fn"]
    found: dict[str, Any] = {str(name): own[names] for name, own in counts.groupby("region", sort=False)}
    return _scored(run, found)


def _scored(run: Run, counts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """COLUMNS, from the pixels of every region on the slices that have any."""
    regions = region_names([run])
    slices = _slices(run.cases).merge(_true_fat(run), on=["case", "slice"], how="left")
    undrawn = run.cases.loc[run.cases["status"] == "unlabelled"]
    frames = []
    for name, own in counts.items():
        table = slices.merge(own, on=["case", "slice"])
        hidden = undrawn.loc[undrawn["structure"].isin(regions[name]), ["case", "slice"]].drop_duplicates()
        unlabelled = table.merge(hidden, on=["case", "slice"], how="left", indicator=True)["_merge"] == "both"
        frames.append(table.assign(structure=name, **_scores(table, unlabelled.to_numpy())))
    known = {"row": run.row, "split": run.split, "arm": run.arm, "seed": run.seed, "fold": run.fold}
    return _joined(frames).assign(**known).loc[:, list(COLUMNS)]


def _slices(cases: pd.DataFrame) -> pd.DataFrame:
    """What names each slice, and the area of one of its pixels; NaN where no structure has a pixel."""
    true, predicted = (cases["tp"] + cases[name] for name in ("fn", "fp"))
    area, count = cases["area_true_mm2"] + cases["area_pred_mm2"], true + predicted
    sized: Any = cases.assign(pixel_mm2=area / count.where(count > 0)).groupby(["case", "slice"])
    pixel = sized["pixel_mm2"].agg("first").reset_index()
    slices: Any = cases.drop_duplicates(["case", "slice"]).reindex(columns=list(PLACE))
    return slices.merge(pixel, on=["case", "slice"], how="left")


def _true_fat(run: Run) -> pd.DataFrame:
    """case, slice and true_fat_share of every slice that was measured."""
    table = run.readouts.morphometry
    if table is None or "fat_pixel_share" not in table:
        return pd.DataFrame({"case": pd.Series(dtype=str), "slice": pd.Series(dtype=int), "true_fat_share": []})
    whole = table.loc[(table["source"] == TRUE) & (table["side"] == BOTH)]
    means = whole.rename(columns={"fat_pixel_share": "true_fat_share"}).groupby(["case", "slice"])["true_fat_share"]
    return means.agg("mean").reset_index()


def _counts(pairs: pd.DataFrame, parts: Sequence[str]) -> pd.DataFrame:
    """Pixels of each slice inside both masks, the predicted one alone, the true one alone."""
    true, predicted = (pairs[name].isin(list(parts)) for name in ("truth", "prediction"))
    where = {"tp": true & predicted, "fp": ~true & predicted, "fn": true & ~predicted}
    counts = pairs[list(SLICE)].assign(**{name: pairs["pixels"] * inside for name, inside in where.items()})
    return counts.groupby(["case", "slice"])[list(where)].agg("sum").reset_index()


def _scores(table: pd.DataFrame, unlabelled: np.ndarray) -> Mapping[str, Any]:
    tp, fp, fn = (table[name].to_numpy(dtype=float) for name in ("tp", "fp", "fn"))
    pixel = table["pixel_mm2"].fillna(0.0).to_numpy(dtype=float)  # without a pixel anywhere every area is 0
    true, predicted = (tp + fn) * pixel, (tp + fp) * pixel
    scores = {
        **{"tp": tp, "fp": fp, "fn": fn, "area_true_mm2": true, "area_pred_mm2": predicted},
        "dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "csa_error_percent": 100 * _ratio(np.abs(predicted - true), true),
        "csa_error_mm2": np.abs(predicted - true),
        "csa_bias_percent": 100 * _ratio(predicted - true, true),
        "csa_bias_mm2": predicted - true,
        "segmented_percent": 100.0 * (tp + fp > 0),
    }
    conditions = [unlabelled, (tp + fn > 0) & (tp + fp > 0), tp + fn > 0, tp + fp > 0]
    status = np.select(conditions, ["unlabelled", "scored", "missed", "false_alarm"], default="absent")
    return {"status": status} | {name: np.where(unlabelled, np.nan, values) for name, values in scores.items()}


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
