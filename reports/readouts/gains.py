"""What a varied setting gains on each structure, against how large the structure is."""

from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from reports.readouts.varied import TESTED, varied_rows
from reports.sources import Sources
from reports.statistics.comparisons import compare, holm
from reports.statistics.intervals import intervals
from reports.statistics.patients import MEAN, over_seeds, seed_spread

GAINS = (
    *("path", "value", "control", "structure", "area_mm2", "dice_control", "dice", *TESTED, "p_holm", "seed_sd"),
    *("correlation", "correlation_low", "correlation_high", "correlation_interval", "num_correlated"),
)
FEWEST_STRUCTURES = 3  # fewer have no rank correlation worth the name
FILES = {"varied_gains": "What the values of a setting gain by structure (`build_gains`)."}


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`varied_gains`."""
    cases, scores = sources.tested(sources.cases), sources.tested(sources.scores)
    return {"varied_gains": build_gains(cases, scores, sources.rows, sources.published)}


def build_gains(
    cases: pd.DataFrame, scores: pd.DataFrame, rows: Sequence[str], published: pd.DataFrame
) -> pd.DataFrame:
    """`varied_gains.csv`: Dice at the paper's own value minus that at the smallest, with GAINS.

    A line a structure from the smallest up, then `mean`, whose line has the correlation: Spearman's, of a patient's
    gain and mean area over the structures, mean over patients; below 0 small structures gain more. `area_mm2` is the
    true one where the structure is there (slice, patient, cohort). `seed_sd` is that of the gain. `p_holm` adjusts over
    the structures.

    Args:
        cases: Case tables of the own tests of one split.
        scores: `patient_scores` of the same.
        rows: Rows of the table.
        published: The paper's table.
    """
    frames = []
    for (base, path), by_value in varied_rows(rows, published).items():
        value = next((value for value, row in by_value.items() if row == base), "")
        control = next(iter(by_value))
        if not value or value == control:
            continue
        areas = _areas(cases.loc[cases["row"] == base])
        frame = _structures(scores, base, by_value[control], areas)
        frame = frame.assign(path=path, value=value, control=control)
        frames.append(frame.reindex(columns=list(GAINS)))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(GAINS))


def rank_correlations(gains: pd.DataFrame, areas: pd.DataFrame) -> np.ndarray:
    """Spearman's correlation of gain and area over the structures of each patient who has three or more of both.

    Both are tables of a patient a line and a structure a column, NaN where it is not there.
    """
    found = []
    names = [name for name in gains.columns if name in areas.columns]
    areas = areas.reindex(index=gains.index, columns=names)
    for gain, area in zip(gains[names].to_numpy(dtype=float), areas.to_numpy(dtype=float), strict=True):
        known = ~np.isnan(gain) & ~np.isnan(area)
        if known.sum() < FEWEST_STRUCTURES or not np.ptp(gain[known]) or not np.ptp(area[known]):
            continue
        found.append(float(np.corrcoef(rankdata(gain[known]), rankdata(area[known]))[0, 1]))
    return np.array(found)


def patient_areas(cases: pd.DataFrame) -> pd.DataFrame:
    """Mean true area over the slices that have a structure: a patient a line, a structure a column."""
    there = cases.loc[cases["area_true_mm2"] > 0]
    table: Any = there.pivot_table(index="patient", columns="structure", values="area_true_mm2", aggfunc="mean")
    return table


def _areas(cases: pd.DataFrame) -> pd.DataFrame:
    areas = patient_areas(cases)
    order = areas.mean().sort_values(kind="stable").index
    return pd.DataFrame({str(name): areas[name] for name in order})


def _structures(scores: pd.DataFrame, row: str, control: str, areas: pd.DataFrame) -> pd.DataFrame:
    own = scores.loc[(scores["metric"] == "dice") & scores["row"].isin([row, control])]
    tables = over_seeds(own).pivot(index=["structure", "patient"], columns="row", values="value")
    gap = (tables[row] - tables[control]).dropna()
    names = [name for name in (*areas.columns, MEAN) if name in set(gap.index.get_level_values("structure"))]
    frame = compare([gap.loc[name].to_numpy(dtype=float) for name in names], 0.0).reindex(columns=list(TESTED))
    frame.insert(0, "structure", names)
    frame["area_mm2"] = [areas[name].mean() if name in areas else nan for name in names]
    for column, side in (("dice", row), ("dice_control", control)):
        frame[column] = [tables.loc[name, side].mean() for name in names]
    whole = (frame["structure"] == MEAN).to_numpy()
    frame["p_holm"] = np.where(whole, frame["p_wilcoxon"], nan)
    frame.loc[~whole, "p_holm"] = holm(frame.loc[~whole, "p_wilcoxon"].to_numpy())
    frame["seed_sd"] = [_seed_sd(own.loc[own["structure"] == name], row, control) for name in names]
    by_structure: Any = gap.unstack("structure")
    found = rank_correlations(by_structure, areas)
    middle = intervals([found]).loc[0]
    frame.loc[whole, "correlation"] = middle["mean"]
    frame.loc[whole, ["correlation_low", "correlation_high"]] = np.clip([middle["low"], middle["high"]], -1, 1)
    frame.loc[whole, "correlation_interval"] = str(middle["interval"])
    frame.loc[whole, "num_correlated"] = len(found)
    return frame


def _seed_sd(scores: pd.DataFrame, row: str, control: str) -> float:
    """SD over seeds of the mean gain, on the seeds and patients that both have; NaN with one seed."""
    table = scores.pivot(index=["patient", "seed"], columns="row", values="value").dropna()
    gains = table.assign(value=table[row] - table[control]).reset_index()
    return seed_spread(gains)[0] if len(gains) else nan
