"""Tables of what happens inside the proposed system: its boxes, its preliminary mask, where its attention lies."""

from dataclasses import replace
from math import nan

import numpy as np
import pandas as pd

from records.row_names import is_box_arm
from reports.claims.samples import correlation, paired
from reports.claims.sides import PREDICTED, GapError, Side
from reports.claims.values import PatientValues
from reports.evidence import Evidence
from reports.statistics.comparisons import compare, holm
from reports.statistics.intervals import intervals

ARMS = ("arm", "num_patients", "dice", "difference", "difference_low", "difference_high", "p_holm")
PRELIMINARY = (
    *("row", "preliminary_dice", "ceiling_dice", "box_iou"),
    *("correlation", "correlation_low", "correlation_high", "num_patients"),
)
SALIENCY = ("row", "share_inside", "area_share", "enrichment", "ci95_low", "ci95_high", "num_patients")


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
    values = PatientValues(evidence)
    preliminary = [record for row in evidence.rows for record in _preliminary(values, row)]
    saliency = [record for row in evidence.rows for record in _saliency(values, row)]
    return {
        "arms": _arms(values, evidence.reference),
        "preliminary": pd.DataFrame(preliminary, columns=list(PRELIMINARY)),
        "saliency": pd.DataFrame(saliency, columns=list(SALIENCY)),
    }


def _arms(values: PatientValues, row: str) -> pd.DataFrame:
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
