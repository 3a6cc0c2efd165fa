"""What happens inside the proposed system: its boxes, its preliminary mask, where its attention lies."""

from dataclasses import replace
from math import nan

import numpy as np
import pandas as pd

from records.row_names import is_box_arm
from reports.chapters.parts import Part
from reports.claims.claim import PREDICTED, GapError, Side
from reports.claims.samples import correlation, paired
from reports.claims.values import PatientValues
from reports.evidence import Evidence
from reports.plots.intervals import arms
from reports.render.blocks import Block, Figures
from reports.render.formats import has_values
from reports.render.tables import P_HOLM, PATIENTS, PERCENT, POINTS, ROW, Column, Table
from reports.setting import in_order, prints_boxes
from reports.statistics.comparisons import compare, holm
from reports.statistics.intervals import intervals

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
        *(P_HOLM, PATIENTS),
    ],
)
MASK = Table(
    title="Preliminary mask, and how its Dice goes with the box IoU",
    columns=[
        *(ROW, Column("preliminary Dice, %", "preliminary_dice", **PERCENT)),
        *(Column("ceiling of its scale, %", "ceiling_dice", **PERCENT), Column("box IoU, %", "box_iou", **PERCENT)),
        Column("correlation of the two", "correlation", digits=2, signed=True, interval="correlation"),
        PATIENTS,
    ],
    notes=["Ceiling: the annotation itself, averaged down to the grid of the mask and brought back."],
)
GATE = Table(
    title="Share of the saliency that lies inside annotated structures",
    columns=[
        *(ROW, Column("saliency inside, %", "share_inside", **PERCENT)),
        Column("area of the structures, %", "area_share", **PERCENT),
        *(Column("enrichment", "enrichment", digits=2, interval="ci95"), PATIENTS),
    ],
    notes=["A flat map has an enrichment of 1: as much saliency inside the structures as their share of the area."],
)


def arms_table(evidence: Evidence) -> pd.DataFrame:
    """The reference row with each kind of boxes, `predicted` first, with ARMS; Dice as a fraction, patient means.

    `difference` is the arm's Dice minus that of the predicted boxes on the same patients, `p_holm` its Wilcoxon test
    after Holm over the arms. Intervals are ranges below six patients, here and in the other two tables.
    """
    values, own = PatientValues(evidence), Side(row=evidence.reference, metric="dice", structure="mean")
    names = [arm for arm in values.arms(evidence.reference) if is_box_arm(arm)]
    if not names:
        return pd.DataFrame(columns=list(ARMS))
    table = compare([paired(values, replace(own, arm=arm), own) for arm in names], 0.0)
    found = table[["difference", "difference_low", "difference_high"]].assign(
        arm=names,
        num_patients=table["num_pairs"],
        dice=[values.of(replace(own, arm=arm)).mean() for arm in names],
        p_holm=holm(table["p_wilcoxon"].to_numpy()),
    )
    everyone = values.of(own)
    first = dict.fromkeys(ARMS, nan) | {"arm": PREDICTED, "num_patients": len(everyone), "dice": everyone.mean()}
    return pd.DataFrame([first, *found.to_dict("records")], columns=list(ARMS))


def preliminary_table(evidence: Evidence) -> pd.DataFrame:
    """Rows with a preliminary mask, with PRELIMINARY; means over patients and structures, as fractions.

    `ceiling_dice` is what the mask's size allows, `correlation` Spearman's of `preliminary_dice` and `box_iou` over
    slices, within structures.
    """
    values, records = PatientValues(evidence), []
    for row in evidence.rows:
        side = Side(row=row, metric="preliminary_dice", structure="mean")
        dice = _known(values, side)
        if len(dice):
            found = intervals([correlation(values, side, "box_iou")])[["mean", "low", "high"]].to_numpy(dtype=float)
            others = [_mean(values, side, name) for name in ("preliminary_ceiling_dice", "box_iou")]
            records.append((row, dice.mean(), *others, *found[0].clip(-1, 1), len(dice)))
    return pd.DataFrame(records, columns=list(PRELIMINARY))


def saliency_table(evidence: Evidence) -> pd.DataFrame:
    """Rows with an attention map, with SALIENCY; means over patients and structures, as fractions.

    `share_inside` is the part of the map's sum inside the structures, `area_share` what a flat map would get,
    `enrichment` the one over the other, slice by slice, with its interval.
    """
    values, records = PatientValues(evidence), []
    for row in evidence.rows:
        side = Side(row=row, metric="saliency_enrichment", structure="mean")
        enrichment = _known(values, side)
        if len(enrichment):
            ends = intervals([enrichment]).loc[0, ["mean", "low", "high"]]
            shares = [_mean(values, side, name) for name in ("saliency_inside", "area_inside")]
            records.append((row, *shares, *ends, len(enrichment)))
    return pd.DataFrame(records, columns=list(SALIENCY))


def _known(values: PatientValues, side: Side) -> np.ndarray:
    """Values of patients; none where the row's network has nothing of the kind."""
    try:
        return values.of(side).to_numpy(dtype=float)
    except GapError:
        return np.zeros(0)


def _mean(values: PatientValues, side: Side, metric: str) -> float:
    known = _known(values, replace(side, metric=metric))
    return float(known.mean()) if len(known) else nan


def boxes(evidence: Evidence) -> list[Block]:
    """The reference with each kind of boxes."""
    table = arms_table(evidence)
    others = table.loc[table["arm"] != PREDICTED]
    text = "If shuffled boxes change nothing, the gate does not use them."
    drawn: list[Block] = [Figures(figures=lambda: [arms(others)], caption=text)]
    drawn = [BOXES.of(table, evidence.labels), *(drawn if has_values(others, "difference") else [])]
    return drawn if has_values(table, "dice") else []


def preliminary(evidence: Evidence) -> list[Block]:
    """What the preliminary mask is worth."""
    table = in_order(evidence, preliminary_table(evidence))
    return [MASK.of(table, evidence.labels)] if has_values(table, "preliminary_dice") else []


def saliency(evidence: Evidence) -> list[Block]:
    """Where the gate looks."""
    table = in_order(evidence, saliency_table(evidence))
    return [GATE.of(table, evidence.labels)] if has_values(table, "share_inside") else []


SAID = (
    (boxes, "Boxes at test time", "No run was tested with other boxes than its own.", "sweep=bs_esnet_boxes"),
    (preliminary, "Preliminary mask", "No run has a preliminary mask that was scored.", "sweep=bs_esnet_mechanism"),
    (saliency, "Where the gate looks", "No run has a saliency map that was scored.", "experiment=bs_esnet"),
)
PARTS = [
    Part("mechanism", place, build, title, gap, f"python run.py {command}", prints_boxes)
    for place, (build, title, gap, command) in enumerate(SAID)
]
