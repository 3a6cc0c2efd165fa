"""Tables of what happens inside the proposed system: its boxes, its preliminary mask, where its attention lies."""

from dataclasses import replace
from math import nan

import numpy as np
import pandas as pd

from records.row_names import is_box_arm
from reports.chapters.parts import Part
from reports.claims.samples import correlation, paired
from reports.claims.sides import PREDICTED, GapError, Side
from reports.claims.values import PatientValues
from reports.comparisons import compare, holm
from reports.evidence import Evidence
from reports.intervals import intervals
from reports.pictures.plots import arms
from reports.render.blocks import Block, Figures
from reports.render.formats import has_values
from reports.render.tables import COUNT, PERCENT, POINTS, ROW, Column, Table
from reports.setting import in_order, prints_boxes

ARMS = ("arm", "num_patients", "dice", "difference", "difference_low", "difference_high", "p_holm")
PRELIMINARY = (
    *("row", "preliminary_dice", "ceiling_dice", "box_iou"),
    *("correlation", "correlation_low", "correlation_high", "num_patients"),
)
SALIENCY = ("row", "share_inside", "area_share", "enrichment", "ci95_low", "ci95_high", "num_patients")


BOXES = Table(
    title="The reference's trained networks, tested with other boxes",
    columns=[
        Column("boxes given to the gate", "arm", kind="words", tone="name"),
        Column("Dice, %", "dice", **PERCENT),
        Column("difference to predicted, points", "difference", interval="difference", **POINTS),
        Column("p after Holm", "p_holm", kind="p"),
        Column("patients", "num_patients", **COUNT),
    ],
)
MASK = Table(
    title="Preliminary mask, and how its Dice goes with the box IoU",
    columns=[
        ROW,
        Column("preliminary Dice, %", "preliminary_dice", **PERCENT),
        Column("ceiling of its scale, %", "ceiling_dice", **PERCENT),
        Column("box IoU, %", "box_iou", **PERCENT),
        Column("correlation of the two", "correlation", digits=2, signed=True, interval="correlation"),
        Column("patients", "num_patients", **COUNT),
    ],
    notes=["Ceiling: the annotation itself, averaged down to the grid of the mask and brought back."],
)
GATE = Table(
    title="Share of the saliency that lies inside annotated structures",
    columns=[
        ROW,
        Column("saliency inside, %", "share_inside", **PERCENT),
        Column("area of the structures, %", "area_share", **PERCENT),
        Column("enrichment", "enrichment", digits=2, interval="ci95"),
        Column("patients", "num_patients", **COUNT),
    ],
    notes=["A flat map has an enrichment of 1: as much saliency inside the structures as their share of the area."],
)


def mechanism_tables(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Tables `arms`, `preliminary` and `saliency`, each empty where the evidence has nothing for it.

    All values are means over patients and over all structures, as fractions. Intervals are ranges below six patients.

    * `arms` (ARMS): the reference row with each kind of boxes, `predicted` first; `difference` is the arm's Dice minus
      that of the predicted boxes on the same patients, `p_holm` its Wilcoxon test after Holm over the arms.
    * `preliminary` (PRELIMINARY): rows with a preliminary mask; `ceiling_dice` is what the mask's size allows,
      `correlation` Spearman's of `preliminary_dice` and `box_iou` over slices, within structures.
    * `saliency` (SALIENCY): rows with an attention map; `share_inside` is the part of its sum inside the structures,
      `area_share` what a flat map would get, `enrichment` the one over the other, slice by slice, with its interval.
    """
    return {"arms": _arms(evidence), "preliminary": _masks(evidence), "saliency": _maps(evidence)}


def _masks(evidence: Evidence) -> pd.DataFrame:
    values = PatientValues(evidence)
    records = [record for row in evidence.rows for record in _preliminary(values, row)]
    return pd.DataFrame(records, columns=list(PRELIMINARY))


def _maps(evidence: Evidence) -> pd.DataFrame:
    values = PatientValues(evidence)
    return pd.DataFrame([record for row in evidence.rows for record in _saliency(values, row)], columns=list(SALIENCY))


def _arms(evidence: Evidence) -> pd.DataFrame:
    values, row = PatientValues(evidence), evidence.reference
    own = Side(row=row, metric="dice", structure="mean")
    arms = [arm for arm in values.arms(row) if is_box_arm(arm)]
    if not arms:
        return pd.DataFrame(columns=list(ARMS))
    samples = [paired(values, replace(own, arm=arm), own) for arm in arms]
    table = compare(samples, 0.0)
    records = pd.DataFrame(
        {
            "arm": arms,
            "num_patients": table["num_pairs"],
            "dice": [values.of(replace(own, arm=arm)).mean() for arm in arms],
            **{name: table[name] for name in ("difference", "difference_low", "difference_high")},
            "p_holm": holm(table["p_wilcoxon"].to_numpy()),
        }
    )
    everyone = values.of(own)
    first = dict.fromkeys(ARMS, nan) | {"arm": PREDICTED, "num_patients": len(everyone), "dice": everyone.mean()}
    return pd.DataFrame([first, *records.to_dict("records")], columns=list(ARMS))


def _preliminary(values: PatientValues, row: str) -> list[dict[str, object]]:
    """One record, or none where the row's network has no preliminary mask."""
    side = Side(row=row, metric="preliminary_dice", structure="mean")
    try:
        dice = values.of(side)
    except GapError:
        return []
    found = intervals([correlation(values, side, "box_iou")])[["mean", "low", "high"]].to_numpy(dtype=float)
    middle, low, high = found[0].clip(-1, 1)
    return [
        {
            "row": row,
            "preliminary_dice": dice.mean(),
            "ceiling_dice": _mean(values, replace(side, metric="preliminary_ceiling_dice")),
            "box_iou": _mean(values, replace(side, metric="box_iou")),
            "correlation": middle,
            "correlation_low": low,
            "correlation_high": high,
            "num_patients": len(dice),
        }
    ]


def _saliency(values: PatientValues, row: str) -> list[dict[str, object]]:
    """One record, or none where the row's network has no attention map."""
    side = Side(row=row, metric="saliency_enrichment", structure="mean")
    try:
        enrichment = values.of(side)
    except GapError:
        return []
    interval = intervals([enrichment.to_numpy(dtype=float)]).loc[0]
    return [
        {
            "row": row,
            "share_inside": _mean(values, replace(side, metric="saliency_inside")),
            "area_share": _mean(values, replace(side, metric="area_inside")),
            "enrichment": interval["mean"],
            "ci95_low": interval["low"],
            "ci95_high": interval["high"],
            "num_patients": len(enrichment),
        }
    ]


def _mean(values: PatientValues, side: Side) -> float:
    try:
        return float(np.mean(values.of(side)))
    except GapError:
        return nan


def boxes(evidence: Evidence) -> list[Block]:
    """The reference with each kind of boxes."""
    table = _arms(evidence)
    if not has_values(table, "dice"):
        return []
    others = table.loc[table["arm"] != "predicted"]
    text = "If shuffled boxes change nothing, the gate does not use them."
    drawn: list[Block] = [Figures(figures=lambda: [arms(others)], caption=text)]
    return [BOXES.of(table, evidence.labels), *(drawn if has_values(others, "difference") else [])]


def preliminary(evidence: Evidence) -> list[Block]:
    """What the preliminary mask is worth."""
    table = in_order(evidence, _masks(evidence))
    return [MASK.of(table, evidence.labels)] if has_values(table, "preliminary_dice") else []


def saliency(evidence: Evidence) -> list[Block]:
    """Where the gate looks."""
    table = in_order(evidence, _maps(evidence))
    return [GATE.of(table, evidence.labels)] if has_values(table, "share_inside") else []


PARTS = [
    Part(
        chapter="mechanism",
        place=place,
        title=title,
        blocks=blocks,
        gap=gap,
        command=f"python run.py {command}",
        missed_by=prints_boxes,
    )
    for place, (title, blocks, gap, command) in enumerate(
        [
            ("Boxes at test time", boxes, "No run was tested with other boxes than its own.", "sweep=bs_esnet_boxes"),
            (
                "Preliminary mask",
                preliminary,
                "No run has a preliminary mask that was scored.",
                "sweep=bs_esnet_mechanism",
            ),
            ("Where the gate looks", saliency, "No run has a saliency map that was scored.", "experiment=bs_esnet"),
        ]
    )
]
