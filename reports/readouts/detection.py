"""Boxes, and structures that were missed or invented."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from metrics.aggregate import summarise
from reports.chapters.parts import Part
from reports.endpoint import compared_names
from reports.evidence import Evidence
from reports.papers import printed_boxes
from reports.render.blocks import Block
from reports.render.formats import count, has_values, number, pick, spoken
from reports.render.tables import PATIENTS, PERCENT, ROW, Column, Table, wide
from reports.setting import in_order, main_split
from reports.sources import Sources
from reports.summaries import mean_of

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


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`detection`, of the first table's split."""
    return {"detection": build_detection(sources.tested(sources.cases), sources.rows)}


def build_detection(cases: pd.DataFrame, rows: Sequence[str]) -> pd.DataFrame:
    """`detection`: box IoU, and precision and recall at IoU 0.5, means over patients and seeds.

    "network" are the boxes that a network reports itself, in rows that report any; "mask" the tight boxes of its masks.
    """
    records = []
    for row in rows:
        part = cases.loc[cases["row"] == row]
        seeds: list[Any] = [summarise(each, ("box_iou", "mask_box_iou")) for _, each in part.groupby("seed")]
        own, mask = (part[name].fillna(-1.0).to_numpy() for name in ("box_iou", "mask_box_iou"))
        boxes = {"network": ("own_box", "box_iou")} if not np.allclose(own, mask) else {}
        for box, (shares, metric) in {**boxes, "mask": ("mask_box", "mask_box_iou")}.items():
            values: dict[str, Any] = {"iou": mean_of([seed[metric]["mean"] for seed in seeds])}
            for name in ("precision", "recall"):
                values[name] = mean_of([seed["detection"][shares][name] for seed in seeds])
            records.append({"row": row, "box": box, **values, "num_patients": part["patient"].nunique()})
    return pd.DataFrame(records, columns=["row", "box", "iou", "precision", "recall", "num_patients"])


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
