"""Distances between the outlines of one structure on one slice, in millimetres."""

from dataclasses import dataclass
from math import hypot, isfinite, nan

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

# Spacings pass through float32 headers and rotated affines: a pixel of 1 mm may come back as 1.0000001 mm, and its
# neighbour must still count as within a tolerance of 1 mm.
ROUNDING_MM = 1e-4


@dataclass(frozen=True, kw_only=True)
class SurfaceScores:
    """How far two outlines are from each other.

    Attributes:
        hd95_mm: Hausdorff distance at the 95th percentile.
        assd_mm: Average symmetric surface distance.
        nsd_1mm: Normalised surface Dice at a tolerance of 1 mm, in 0..1.
        nsd_2mm: The same at 2 mm.
    """

    hd95_mm: float
    assd_mm: float
    nsd_1mm: float
    nsd_2mm: float


def surface_scores(
    true: Bool[np.ndarray, "h w"], predicted: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float]
) -> SurfaceScores:
    """Compares the outlines of two masks of one grid.

    A *surface pixel* is a pixel of the mask with at least one of its four neighbours outside it; beyond the edge of
    the image is outside. Distances run between pixel centres, from each surface pixel of one mask to the nearest one
    of the other, in both directions. Then

    * HD95 is the larger of the two directed 95th percentiles (linear interpolation between order statistics), not the
      percentile of both directions pooled;
    * ASSD is the mean of all distances of both directions, so that a longer outline weighs more;
    * NSD is the share of the surface pixels of both masks whose distance is at most the tolerance.

    Where the prediction alone is empty (a miss) the distances are the diagonal of the image, which no pair of masks on
    it can exceed, and NSD is 0. Where the truth alone is empty (a false alarm) there is no outline to measure from: the
    distances are NaN, and NSD, a share like Dice, is 0. Where both are empty everything is NaN.

    Args:
        true: Mask of the annotator.
        predicted: Mask of the network on the same grid.
        spacing_mm: Size of a pixel, (row, column).

    Raises:
        ValueError: If a spacing is not a positive number.
    """
    assert true.shape == predicted.shape, f"masks of different size: {true.shape} and {predicted.shape}"
    if not all(isfinite(size) and size > 0 for size in spacing_mm):
        raise ValueError(f"spacing_mm is {spacing_mm}, expected two positive numbers; check the header of the image")
    true_points, predicted_points = surface_points_mm(true, spacing_mm), surface_points_mm(predicted, spacing_mm)
    if not len(true_points):
        share = 0.0 if len(predicted_points) else nan
        return SurfaceScores(hd95_mm=nan, assd_mm=nan, nsd_1mm=share, nsd_2mm=share)
    if not len(predicted_points):
        diagonal_mm = hypot(true.shape[0] * spacing_mm[0], true.shape[1] * spacing_mm[1])
        return SurfaceScores(hd95_mm=diagonal_mm, assd_mm=diagonal_mm, nsd_1mm=0.0, nsd_2mm=0.0)
    # A tree of a few hundred outline points is faster than distance maps, which grow with the area between the masks.
    to_true = KDTree(true_points).query(predicted_points)[0]
    to_predicted = KDTree(predicted_points).query(true_points)[0]
    both = np.concatenate([to_true, to_predicted])
    return SurfaceScores(
        hd95_mm=float(max(np.percentile(to_true, 95), np.percentile(to_predicted, 95))),
        assd_mm=float(both.mean()),
        nsd_1mm=float((both <= 1 + ROUNDING_MM).mean()),
        nsd_2mm=float((both <= 2 + ROUNDING_MM).mean()),
    )


def surface_points_mm(mask: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float]) -> Float[np.ndarray, "p 2"]:
    """Centres (row, column) of the surface pixels in mm, from the first pixel of the image; none if empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.empty((0, 2))
    padded = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    pixels = np.argwhere(padded[1:-1, 1:-1] & ~inner) + np.array([rows[0], columns[0]])
    return pixels * np.asarray(spacing_mm)
