"""Key points: from heat maps to points, and how far they are from where they should be."""

from collections.abc import Sequence
from math import nan
from typing import Literal

import numpy as np
from jaxtyping import Float, Integer

from metrics.cases import Row

Source = Literal["heatmap", "mask"]

KEYPOINT_COLUMNS = (*("structure", "source", "visible", "true_x", "true_y", "x", "y", "peak", "error_mm", "nearest"),)
# Heat maps are Gaussians of 3 mm (docs/protocol.md, "Mixed supervision, fairly"), on coarse grids wider: at least 1.5
# pixels here. Within three sigma lies all that there is of one, and nothing yet of its neighbour, whose centre is about
# 17 mm away.
SIGMA_MM, SMALLEST_SIGMA_PX, REACH_SIGMAS = 3.0, 1.5, 3.0
NOISE_SHARE = 0.1  # ours: of the peak; what is below does not pull
NUM_STEPS = 10  # ours: after five, nothing moves by more than 0.01 pixels


def decode_heatmaps(
    heatmaps: Float[np.ndarray, "k h w"], spacing_mm: tuple[float, float]
) -> tuple[Float[np.ndarray, "k 2"], Float[np.ndarray, " k"]]:
    """Points (x, y) in pixels of the maps, and the height of each peak.

    The highest pixel, then the centre of mass of the values around it, around that centre, and so on (mean shift).
    Networks enlarge their maps four times: the highest pixel is then 1 to 2 mm off, a parabola through its neighbours
    no better, and the centre of mass 0.2 mm.

    Args:
        heatmaps: Peaks of about 1.
        spacing_mm: Size of a pixel, (row, column).

    Returns:
        NaN for a map that is flat or not finite: it shows no point.
    """
    points = np.full((len(heatmaps), 2), np.nan)
    peaks = np.full(len(heatmaps), np.nan)
    radius_mm = REACH_SIGMAS * max(SIGMA_MM, SMALLEST_SIGMA_PX * max(spacing_mm))
    for index, heatmap in enumerate(heatmaps.astype(np.float64)):
        if np.isfinite(heatmap).all() and np.ptp(heatmap) > 0:
            points[index], peaks[index] = _refined_peak(heatmap, spacing_mm, radius_mm), heatmap.max()
    return points, peaks


def _refined_peak(
    heatmap: Float[np.ndarray, "h w"], spacing_mm: tuple[float, float], radius_mm: float
) -> tuple[float, float]:
    row, column = (int(number) for number in np.unravel_index(heatmap.argmax(), heatmap.shape))
    if heatmap[row, column] <= 0:
        return float(column), float(row)
    # All that ten steps could reach; the rest of the map is left alone.
    reach = [int(np.ceil(2 * radius_mm / size)) for size in spacing_mm]
    rows = slice(max(row - reach[0], 0), row + reach[0] + 1)
    columns = slice(max(column - reach[1], 0), column + reach[1] + 1)
    values = heatmap[rows, columns]
    mass = np.where(values > NOISE_SHARE * heatmap[row, column], values, 0)
    y, x = np.ogrid[rows.start : rows.start + values.shape[0], columns.start : columns.start + values.shape[1]]
    at_x, at_y = float(column), float(row)
    for _ in range(NUM_STEPS):
        near = np.hypot((x - at_x) * spacing_mm[1], (y - at_y) * spacing_mm[0]) <= radius_mm
        weight = mass * near
        at_x, at_y = float((weight * x).sum() / weight.sum()), float((weight * y).sum() / weight.sum())
    return at_x, at_y


def centres_of_masks(
    mask: Integer[np.ndarray, "h w"], structures: Sequence[str], names: Sequence[str]
) -> Float[np.ndarray, "k 2"]:
    """Centres of mass (x, y) in pixels of the structures called `names`; NaN where one is absent or no structure."""
    points = np.full((len(names), 2), np.nan)
    for index, name in enumerate(names):
        if name in structures:
            rows, columns = np.nonzero(mask == list(structures).index(name) + 1)
            if len(rows):
                points[index] = columns.mean(), rows.mean()
    return points


def score_keypoints(
    *,
    names: Sequence[str],
    true: Float[np.ndarray, "k 2"],
    found: Float[np.ndarray, "k 2"],
    peaks: Float[np.ndarray, " k"] | None,
    spacing_mm: tuple[float, float],
    source: Source,
) -> list[Row]:
    """Scores every key point of one slice; one row per key point with the keys KEYPOINT_COLUMNS.

    * `visible`: whether the truth has the point on this slice. One that is not has no error, whatever was found.
    * `error_mm`: distance of the found point from the true one; NaN where either is missing. A visible point without
      `x` and `y` was missed: count it, no distance can say how badly.
    * `nearest`: structure whose true point the found one is nearer to than half-way to that one's closest neighbour, so
      that no other can claim it; "" where there is none, or no neighbour to tell by.

    Args:
        names: Structures that the points are the centres of.
        true: (x, y) in pixels, NaN where not visible.
        found: The same of the prediction, NaN where there is none.
        peaks: Heights of the peaks of the heat maps; None where points come from masks.
        spacing_mm: Size of a pixel, (row, column).
        source: What the found points were read from.
    """
    size = np.array(spacing_mm[::-1])
    errors = np.linalg.norm((found - true) * size, axis=1)
    visible = [bool(np.isfinite(point).all()) for point in true]
    nearest = _nearest(names, true * size, found * size)
    return [
        {
            "structure": name,
            "source": source,
            "visible": visible[index],
            "true_x": float(true[index, 0]),
            "true_y": float(true[index, 1]),
            "x": float(found[index, 0]),
            "y": float(found[index, 1]),
            "peak": nan if peaks is None else float(peaks[index]),
            "error_mm": float(errors[index]),
            "nearest": nearest[index],
        }
        for index, name in enumerate(names)
    ]


def _nearest(names: Sequence[str], true_mm: Float[np.ndarray, "k 2"], found_mm: Float[np.ndarray, "k 2"]) -> list[str]:
    """Name of the true point that each found one lies at, see `score_keypoints`."""
    between = np.linalg.norm(true_mm[:, None] - true_mm, axis=2)
    np.fill_diagonal(between, np.nan)
    reach = np.where(np.isnan(between), np.inf, between).min(axis=1, initial=np.inf) / 2
    distance = np.linalg.norm(found_mm[:, None] - true_mm, axis=2)
    at = np.isfinite(reach) & (distance < reach)
    return [names[int(row.argmax())] if row.any() else "" for row in np.asarray(at)]


def mean_error_mm(
    true: Float[np.ndarray, "k 2"],
    found: Float[np.ndarray, "k 2"],
    spacing_mm: tuple[float, float],
    image_size: tuple[int, int],
) -> float:
    """Mean distance over the visible key points of a slice, mm; NaN where none is visible.

    A point that was missed counts with the diagonal of the image, as a missed mask does, so that finding nothing cannot
    look like an advantage.
    """
    size = np.array(spacing_mm[::-1])
    errors = np.linalg.norm((found - true) * size, axis=1)[np.isfinite(true).all(axis=1)]
    diagonal_mm = float(np.hypot(image_size[0] * spacing_mm[0], image_size[1] * spacing_mm[1]))
    return float(np.nan_to_num(errors, nan=diagonal_mm).mean()) if len(errors) else nan
