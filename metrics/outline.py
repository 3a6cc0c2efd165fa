"""The outline of one structure on one slice as a polygon in millimetres, and chords through it."""

import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Float


def outline_mm(mask: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float]) -> Float[np.ndarray, "p 2"] | None:
    """Corners (x, y) of the largest closed outline of a mask, from the centre of the image's first pixel.

    The line runs half-way between the centres of pixels inside and outside, so that straight edges lie where the pixels
    end and the steps of oblique ones are cut. None where the mask is empty, or touches the edge of the image: nobody
    knows how far the structure goes on.

    Args:
        mask: Pixels of the structure; smaller pieces and holes are left out.
        spacing_mm: Size of a pixel, (row, column).
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if (
        not len(rows)
        or rows[0] == 0
        or columns[0] == 0
        or rows[-1] == len(mask) - 1
        or columns[-1] == mask.shape[1] - 1
    ):
        return None
    part = mask[rows[0] - 1 : rows[-1] + 2, columns[0] - 1 : columns[-1] + 2]
    lines = contour_generator(z=part.astype(np.float64)).lines(0.5)
    largest = np.asarray(max(lines, key=lambda line: area_mm2(np.asarray(line))), dtype=np.float64)
    first_corner = np.array([columns[0] - 1, rows[0] - 1])
    return (largest[:-1] + first_corner) * np.array([spacing_mm[1], spacing_mm[0]])


def area_mm2(corners: Float[np.ndarray, "p 2"]) -> float:
    """Area inside a closed polygon."""
    x, y = corners.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def chords(
    along: Float[np.ndarray, " p"], across: Float[np.ndarray, " p"], at: Float[np.ndarray, " q"]
) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """Where lines across a polygon enter and leave it.

    Args:
        along: First coordinate of the polygon's corners.
        across: Their second coordinate.
        at: First coordinate of each line; strictly between the smallest and the largest of the corners.

    Returns:
        Smallest and largest second coordinate of the polygon on each line.
    """
    next_along, next_across = np.roll(along, -1), np.roll(across, -1)
    low, high = np.minimum(along, next_along), np.maximum(along, next_along)
    crossed = (low <= at[:, None]) & (at[:, None] < high)
    share = (at[:, None] - along) / np.where(high > low, next_along - along, 1)
    met = across + share * (next_across - across)
    return np.where(crossed, met, np.inf).min(axis=1), np.where(crossed, met, -np.inf).max(axis=1)
