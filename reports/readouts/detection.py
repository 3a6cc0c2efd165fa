"""Boxes, and structures that were missed or invented."""

import pandas as pd

from reports.chapters.parts import Part
from reports.endpoint import compared_names
from reports.evidence import Evidence
from reports.papers import printed_boxes
from reports.render.blocks import Block
from reports.render.formats import count, has_values, number, pick, spoken
from reports.render.tables import PATIENTS, PERCENT, ROW, Column, Table, wide
from reports.setting import in_order, main_split

BOXES = {"network": "the network's own", "mask": "of its mask"}
STATUSES = ("missed", "false_alarms", "undefined")
TABLE = Table(
    title="Detection, mean over patients",
    caption="Boxes against those of the annotation; a box is right from an IoU of 0.5.",
    main=True,
    columns=[
        ROW,
        Column("box", lambda line: BOXES[line["box"]], kind="words"),
        *(Column(title, name, **PERCENT) for name, title in (("iou", "IoU, %"), ("precision", "precision, %"))),
        Column("recall, %", "recall", **PERCENT),
        PATIENTS,
    ],
)
MISSES = Table(
    title="Missed, invented, undefined",
    caption="Slices on which a structure was missed / invented / undefined (absent from both, or not annotated).",
    columns=[ROW],
)


def detection(evidence: Evidence) -> list[Block]:
    """Boxes against true boxes."""
    table = in_order(evidence, evidence["detection"])
    if not has_values(table, "iou", "precision", "recall"):
        return []
    trivial = "The box of the mask is the trivial one: a detector has to beat it to be of use."
    notes = [trivial] if len(set(table["box"])) > 1 else []
    boxes = printed_boxes(evidence.published)
    values = ", ".join(f"{spoken(name)} {number(value)}" for name, value in boxes.items())
    notes += [f"The paper's box IoU, percent: {values}; mean {number(pd.Series(boxes).mean())}."] if boxes else []
    return [TABLE.of(table, evidence.labels, notes=notes)]


def misses(evidence: Evidence) -> list[Block]:
    """How many slices each structure was missed, invented or undefined on."""
    table = pick(evidence["table"], split=main_split(evidence))
    table = table.loc[table["row"].isin(list(evidence.rows))]
    names = [name for name in compared_names(evidence) if name in set(table["structure"])]

    def column(name: str) -> Column:
        return Column(
            spoken(name), lambda line: " / ".join(count(line.get(f"{name}:{key}")) for key in STATUSES), kind="text"
        )

    lines = wide(table, ["row"], "structure")
    return [MISSES.of(lines, evidence.labels, columns=[column(name) for name in names])] if lines else []


PARTS = [
    Part("detection", 0, detection, gap="No run has box scores, so detection cannot be judged."),
    Part("detection", 1, misses, gap="There is no table from which misses could be counted."),
]
