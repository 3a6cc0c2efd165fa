"""How a network came to its mask: its preliminary mask, and where its attention lies."""

from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Bool, Float, Integer

from metrics.cases import MECHANISM_COLUMNS, Row
from metrics.overlap import count_overlap


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """What a network shows of its own working on one slice, on the native grid; None where it has none.

    Attributes:
        preliminary_mask: Class index of its coarse mask.
        ceiling_mask: Class index of the truth, taken to the coarse mask's grid and back: no mask of that grid does
            better but by luck.
        saliency: Attention map, zero outside the network's field.
        field: Pixels that the network sees.
    """

    preliminary_mask: Integer[np.ndarray, "h w"] | None = None
    ceiling_mask: Integer[np.ndarray, "h w"] | None = None
    saliency: Float[np.ndarray, "h w"] | None = None
    field: Bool[np.ndarray, "h w"] | None = None


def score_mechanism(
    mechanism: Mechanism, *, true_mask: Integer[np.ndarray, "h w"], labelled: Bool[np.ndarray, " c"]
) -> list[Row]:
    """One row per structure with the keys MECHANISM_COLUMNS.

    * `preliminary_dice`, `preliminary_ceiling_dice`: Dice of these masks, with the conventions of `count_overlap`.
    * `saliency_share`: share of the saliency's sum that lies inside the structure, in 0..1.
    * `area_share`: share of the field's pixels that the structure covers, in 0..1: what a flat map would get.

    NaN where the network has no such part, or the annotator did not draw the structure. The two shares are NaN too
    where the structure is absent.
    """
    rows: list[Row] = []
    for index in range(1, len(labelled)):
        row: Row = dict.fromkeys(MECHANISM_COLUMNS, nan)
        if labelled[index]:
            true = true_mask == index
            masks = {"preliminary": mechanism.preliminary_mask, "preliminary_ceiling": mechanism.ceiling_mask}
            row |= {
                f"{name}_dice": count_overlap(true, mask == index).dice
                for name, mask in masks.items()
                if mask is not None
            }
            row |= _shares(true, mechanism)
        rows.append(row)
    return rows


def _shares(true: Bool[np.ndarray, "h w"], mechanism: Mechanism) -> Row:
    saliency, field = mechanism.saliency, mechanism.field
    if saliency is None or field is None or not true.any():
        return {}
    total = float(saliency[field].sum(dtype=np.float64))
    return {
        "saliency_share": float(saliency[true & field].sum(dtype=np.float64)) / total if total > 0 else nan,
        "area_share": float((true & field).sum() / field.sum()) if field.any() else nan,
    }
