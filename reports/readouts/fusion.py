"""Fusions of several models beside the single models, with which they never share a table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.chapters.parts import Part
from reports.endpoint import with_averaged
from reports.evidence import Evidence
from reports.render.blocks import Block
from reports.render.tables import P_HOLM, PATIENTS, PERCENT, POINTS, Column, Table
from reports.setting import is_sagittal, label_of
from reports.sources import Sources
from reports.statistics.comparisons import compare, holm
from reports.statistics.intervals import intervals
from reports.statistics.patients import MEAN, over_seeds, patient_scores

SUFFIX = "_fused"
COLUMNS = (
    *("row", "single", "num_patients", "dice", "ci95_low", "ci95_high", "interval", "single_dice", "num_pairs"),
    *("difference", "difference_low", "difference_high", "difference_interval", "p_wilcoxon", "p_holm"),
)
TESTED = ("difference", "difference_low", "difference_high", "difference_interval", "p_wilcoxon", "num_pairs")
FILES = {"fusion": "Fusions beside single models (`build_fusion`)."}
TABLE = Table(
    title="Fusions of several models, apart from single ones",
    caption="Patient mean over structures.",
    columns=[
        Column("fusion", "row", kind="row"),
        Column("Dice, %", "dice", interval="ci95", **PERCENT),
        Column("single model", "single_name", kind="text"),
        Column("its Dice, %", "single_dice", **PERCENT),
        Column("difference, points", "difference", interval="difference", **POINTS),
        P_HOLM,
        PATIENTS,
    ],
    notes=["A fusion costs as many trainings as it has models; it takes no part in the table above."],
)


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`fusion`."""
    fused, regions = sources.fused_cases, sources.regions
    own = regions.loc[regions["row"].isin([run.row for run in sources.runs.fused])]
    scores = sources.scores.loc[sources.scores["split"] == sources.split]
    cases = with_averaged(fused, own, sources.averaged)
    return {"fusion": build_fusion(cases, scores, sources.rows, sources.averaged)}


def build_fusion(
    fused: pd.DataFrame, scores: pd.DataFrame, rows: Sequence[str], averaged: Sequence[str] | None = None
) -> pd.DataFrame:
    """`fusion.csv`: each fusion against each single model of its name, paired by patient; with COLUMNS.

    Args:
        fused: Case tables of the fusions joined.
        scores: Values of the table's patients, of one split.
        rows: Rows of the table.
        averaged: What the mean of either is over; None for every structure.
    """
    if fused.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    values = _primary(patient_scores(fused, ("dice",), averaged))
    singles = _primary(scores)
    records, samples, gaps = [], [], []
    for row in values.columns:
        own = values[row].dropna()
        for single in [name for name in rows if name.split(" ")[0] == row.removesuffix(SUFFIX)] or [""]:
            other = singles[single].reindex(own.index) if single else pd.Series(np.nan, index=own.index)
            differences = (own - other).dropna()
            mean = float(np.mean(other.dropna())) if other.notna().to_numpy().any() else np.nan
            records.append({"row": row, "single": single, "single_dice": mean, "num_patients": len(own)})
            samples.append(own.to_numpy(dtype=float))
            gaps.append(differences.to_numpy(dtype=float))
    table = pd.DataFrame(records)
    table[["dice", "ci95_low", "ci95_high", "interval"]] = intervals(samples)
    table[list(TESTED)] = compare(gaps, 0.0)[list(TESTED)]
    adjusted = table.groupby("row", sort=False)["p_wilcoxon"]
    table["p_holm"] = adjusted.transform(lambda p_values: holm(p_values.to_numpy()))
    return table.loc[:, list(COLUMNS)]


def _primary(scores: pd.DataFrame) -> pd.DataFrame:
    """Dice, mean over structures: a patient a line, a row a column."""
    chosen = (scores["arm"] == "") & (scores["metric"] == "dice") & (scores["structure"] == MEAN)
    return over_seeds(scores.loc[chosen]).pivot(index="patient", columns="row", values="value")


def fusions(evidence: Evidence) -> list[Block]:
    """Fusions beside the single models that they are of."""
    table = evidence["fusion"]
    named = table.assign(single_name=[label_of(evidence, row) for row in table["single"]])
    return [TABLE.of(named, evidence.labels)] if len(table) else []


GAP, FUSE = "No fusion of models was scored.", "python run.py task=fuse runs=DIR output=DIR"
PARTS = [Part("table", 5, fusions, gap=GAP, command=FUSE, missed_by=is_sagittal)]
