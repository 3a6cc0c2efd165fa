"""Overlap of bounding boxes."""

import numpy as np
from jaxtyping import Float


def box_iou(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Intersection over union of the boxes of each row, in 0..1; NaN where either box has a NaN.

    Boxes are (cx, cy, w, h). The ratio is the same in pixels, in mm and in 0..1 of the image, as scaling an axis scales
    both areas. Boxes are not clipped to the image. A box without area (a network may regress a width below zero)
    overlaps nothing: 0.
    """
    assert a.shape == b.shape, f"boxes must come in pairs: {a.shape} and {b.shape}"
    (low_a, high_a), (low_b, high_b) = _corners(a), _corners(b)
    intersection = np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None).prod(axis=1)
    union = (high_a - low_a).prod(axis=1) + (high_b - low_b).prod(axis=1) - intersection
    iou = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return np.where(np.isnan(a).any(axis=1) | np.isnan(b).any(axis=1), np.nan, iou)


def _corners(boxes: Float[np.ndarray, "n 4"]) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]]:
    """Near and far (x, y) of each box; they change places where a size is negative, so nothing intersects it."""
    centre, half = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64) / 2
    return centre - half, centre + half
