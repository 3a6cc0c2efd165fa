"""What the published split, dealt by image, adds to Dice."""

from collections.abc import Sequence

import pandas as pd

from records.runs import AS_PUBLISHED, BY_PATIENT
from reports.chapters.parts import Part
from reports.evidence import Evidence
from reports.render.blocks import Block
from reports.render.tables import PATIENTS, PERCENT, POINTS, ROW, Column, Table
from reports.setting import in_order, main_split, splits_by_image
from reports.sources import Sources
from reports.statistics.intervals import intervals
from reports.statistics.patients import MEAN, over_seeds

TABLE = Table(
    title="What folds dealt by image add to Dice",
    caption="As published minus by patient. It is no progress of a method.",
    columns=[
        ROW,
        Column("structure", "structure", kind="words"),
        Column("by patient, %", "by_patient", **PERCENT),
        Column("as published, %", "as_published", **PERCENT),
        Column("inflation, points", "difference", interval="ci95", **POINTS),
        PATIENTS,
    ],
)


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`inflation`, over what the primary endpoint averages and of every structure."""
    names = tuple(dict.fromkeys((*sources.averaged, *sources.runs.structures)))
    return {"inflation": build_inflation(sources.scores, sources.rows, names)}


def build_inflation(scores: pd.DataFrame, rows: Sequence[str], structures: Sequence[str]) -> pd.DataFrame:
    """`inflation`: patient-level means of Dice under both splits, and their paired difference.

    Of rows that have both splits; paired on the patients that both have.
    """
    columns = ["row", "structure", "by_patient", "as_published", "difference", "ci95_low", "ci95_high", "interval"]
    own = over_seeds(scores.loc[(scores["arm"] == "") & (scores["metric"] == "dice")])
    records, differences = [], []
    for row in rows:
        for structure in (*structures, MEAN):
            part = own.loc[(own["row"] == row) & (own["structure"] == structure)]
            table = part.pivot(index="patient", columns="split", values="value").dropna()
            if {BY_PATIENT, AS_PUBLISHED} <= set(table.columns) and len(table):
                records.append((row, structure, table[BY_PATIENT].mean(), table[AS_PUBLISHED].mean()))
                differences.append((table[AS_PUBLISHED] - table[BY_PATIENT]).to_numpy())
    table = pd.DataFrame(records, columns=columns[:4])
    found = intervals(differences)
    table[["difference", "ci95_low", "ci95_high", "interval"]] = found[["mean", "low", "high", "interval"]]
    table["num_patients"] = [len(sample) for sample in differences]
    return table.loc[:, [*columns, "num_patients"]]


def inflation(evidence: Evidence) -> list[Block]:
    """Over all structures, then of each."""
    table = in_order(evidence, evidence["inflation"])
    whole = table["structure"] == MEAN
    return TABLE.first_and_rest(table.loc[whole], table.loc[~whole], evidence.labels) if len(table) else []


def split_twice(evidence: Evidence) -> bool:
    """Whether runs have both splits."""
    return (
        splits_by_image(evidence) and main_split(evidence) == "by patient" and len(set(evidence["table"]["split"])) > 1
    )


GAP = "The inflation by the published split needs the same row in both splits."
PARTS = [Part("table", 2, inflation, gap=GAP, missed_by=split_twice)]
