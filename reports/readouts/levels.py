"""Levels: which structures of a spine carry the number of another one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.case_tables import LABEL, OFFSET
from reports.chapters.parts import Part
from reports.evidence import Evidence
from reports.render.blocks import Block
from reports.render.formats import count, has_values
from reports.render.tables import PERCENT, ROW, Column, Table, counts
from reports.setting import in_order, is_sagittal
from reports.sources import Sources
from reports.statistics.patients import MEAN, means_by_structure

COLUMNS = (
    *("row", "structure", "num_patients", "level_error", "ci95_low", "ci95_high", "interval"),
    *("num_structures", "num_right", "num_one_off", "num_further_off", "num_other_kind", "num_missed"),
    "num_patients_off",
)
FILES = {"levels": "Structures that carry another level's number (`build_levels`)."}
TABLE = Table(
    title="Structures that carry the number of another level",
    caption="True structures by the number that their prediction carries; share: mean over patients.",
    columns=[
        ROW,
        Column("structure", "structure", kind="words"),
        Column("wrong level, %", "level_error", interval="ci95", **PERCENT),
        *counts(num_structures="true structures", num_right="right", num_one_off="one off"),
        *counts(num_further_off="farther off", num_other_kind="other kind", num_missed="missed"),
        Column(
            "patients", lambda line: f"{count(line['num_patients_off'])} of {count(line['num_patients'])}", kind="text"
        ),
    ],
    notes=[
        "A structure is called what most of its predicted pixels are called. Dice per level takes a right outline with "
        "a wrong number for a miss and an invention; here it is counted on its own."
    ],
)


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`levels`, of structures that have a place in a series."""
    runs = sources.runs
    series = next((run.series for run in runs.everything if run.series), {})
    numbered = [name for name in runs.structures if any(name in names for names in series.values())]
    without_masks = [run.row for run in runs.keypoint_only]
    cases = sources.every_case
    return {"levels": build_levels(cases.loc[~cases["row"].isin(without_masks)], numbered)}


def build_levels(cases: pd.DataFrame, structures: Sequence[str]) -> pd.DataFrame:
    """`levels.csv`: true structures by the number that their prediction carries, by row and structure ("mean": all).

    `level_error` is the share of the found ones that carry another level's number, mean over patients with its
    interval; `num_patients_off` counts patients in whom this happened at all. `num_other_kind` were taken for a
    structure of another series, as a vertebra for a disc. Counts are over all seeds.

    Args:
        cases: Case tables joined (`reports.case_tables.joined_cases`).
        structures: Those that have a place in a series, in the anatomy's order.
    """
    records = []
    true = cases.loc[cases["status"].isin(["scored", "missed"]) & cases["structure"].isin(list(structures))]
    for row, part in true.groupby("row", sort=False):
        if part["level_error"].isna().all():
            continue
        means = means_by_structure(part, "level_error")
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
    return pd.DataFrame(records, columns=list(COLUMNS))


def _share(entry: dict[str, Any]) -> dict[str, Any]:
    """An interval of a share ends at 0 and 1."""
    return entry | {name: np.clip(entry[name], 0, 1) for name in ("ci95_low", "ci95_high")}


def levels(evidence: Evidence) -> list[Block]:
    """Over all structures, then of each."""
    table = in_order(evidence, evidence["levels"])
    whole = table["structure"] == MEAN
    lines = (table.loc[whole], table.loc[~whole])
    return TABLE.first_and_rest(*lines, evidence.labels) if has_values(table, "level_error") else []


GAP = "No run folder has a confusion.csv with structures of a series (`series` of the anatomy)."
PARTS = [Part("keypoints", 1, levels, gap=GAP, command="{sweep}", missed_by=is_sagittal)]
