"""What the published split, dealt by image, adds to Dice (`reports.summaries.build_inflation`)."""

from reports.chapters.parts import Part
from reports.evidence import Evidence
from reports.render.blocks import Block
from reports.render.tables import PATIENTS, PERCENT, POINTS, ROW, Column, Table
from reports.setting import in_order, main_split, splits_by_image
from reports.statistics.patients import MEAN

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
