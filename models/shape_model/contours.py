"""Outlines of masks as rings of numbered points that mean the same place in every patient, and back to pixels.

Points are (x, y) in millimetres, x to the patient's back and y to the feet: sagittal slices in canonical orientation
show the back on the right. Everything else of a spine is told in frames that follow its line (`spine_line`).
"""

from itertools import pairwise
from typing import Any, Literal

import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Float
from scipy.ndimage import label

Kind = Literal["vertebra", "disc"]
# Directions (to the back, to the head) of the places that every contour has: four corners of a vertebral body, from the
# posterior superior one on, and both ends of a disc, from the posterior one on. Both go round over the head's side.
LANDMARKS: dict[Kind, tuple[tuple[float, float], ...]] = {
    "vertebra": ((1, 1), (-1, 1), (-1, -1), (1, -1)),
    "disc": ((1, 0), (-1, 0)),
}


def outline_mm(mask: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float]) -> Float[np.ndarray, "p 2"] | None:
    """Corners (x, y) of the outline of a mask's largest piece, from the centre of the first pixel; holes are filled.

    None where the mask is empty, or touches the edge of the picture: nobody knows how far the structure goes on.

    Args:
        mask: Pixels of the structure.
        spacing_mm: Size of a pixel, (row, column).
    """
    labelled: Any = label(mask)
    pieces, num_pieces = labelled
    if not num_pieces:
        return None
    largest = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    if largest[[0, -1]].any() or largest[:, [0, -1]].any():
        return None
    lines = contour_generator(z=largest.astype(np.float64)).lines(0.5)
    longest = max((np.asarray(line, dtype=np.float64) for line in lines), key=len)
    return longest[:-1] * np.array([spacing_mm[1], spacing_mm[0]])


def ring(
    outline: Float[np.ndarray, "p 2"], kind: Kind, tangent: Float[np.ndarray, " 2"], num_points: int
) -> Float[np.ndarray, "q 2"]:
    """Points on an outline, numbered from its first landmark on, evenly between one landmark and the next.

    Args:
        outline: Corners of a polygon, mm, in any direction.
        kind: Which landmarks it has.
        tangent: Unit vector along the spine, to the feet.
        num_points: How many; a multiple of the number of landmarks.
    """
    back, head = np.array([tangent[1], -tangent[0]]), -tangent
    own = (outline - outline.mean(axis=0)) @ np.stack([back, head], axis=1)  # columns: to the back, to the head
    if _signed_area(own) < 0:  # from the back over the head to the front is counter-clockwise here
        outline, own = outline[::-1], own[::-1]
    own = (own - own.min(axis=0)) / np.ptp(own, axis=0) - 0.5
    # An end of a disc is flat: of all that lies as far behind, the middle counts.
    middle = 0.5 * np.abs(own[:, 1]) if kind == "disc" else 0.0
    corners = np.array([int((own @ np.array(way) - middle).argmax()) for way in LANDMARKS[kind]])
    outline, corners = np.roll(outline, -corners[0], axis=0), (corners - corners[0]) % len(outline)
    closed = np.concatenate([outline, outline[:1]])
    length = np.concatenate([[0.0], np.linalg.norm(np.diff(closed, axis=0), axis=1).cumsum()])
    ends = np.maximum.accumulate([*length[corners], length[-1]])  # of an odd shape whose corners are out of order
    share = np.arange(num_points // len(corners)) / (num_points // len(corners))
    at = np.concatenate([start + share * (end - start) for start, end in pairwise(ends)])
    return np.stack([np.interp(at, length, closed[:, axis]) for axis in (0, 1)], axis=1)


def outward_normals(contours: Float[np.ndarray, "n p 2"]) -> Float[np.ndarray, "n p 2"]:
    """Unit vectors that point out of each contour of `ring`, across the chord of both neighbours of a point."""
    along = np.roll(contours, -1, axis=1) - np.roll(contours, 1, axis=1)
    out = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    return out / np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-9)


def inside(polygon: Float[np.ndarray, "p 2"], shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Pixels of a picture whose centres lie inside of a polygon (even-odd rule).

    Args:
        polygon: Corners (x, y) in pixels, centres of pixels at whole numbers.
        shape: Rows and columns of the picture.
    """
    filled = np.zeros(shape, bool)
    low = np.maximum(np.floor(polygon.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(polygon.max(axis=0)) + 1, np.array(shape)[::-1]).astype(int)
    if (high <= low).any():
        return filled
    x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    filled[low[1] : high[1], low[0] : high[0]] = encloses(polygon, np.stack([x, y], axis=-1).astype(np.float64))
    return filled


def encloses(polygon: Float[np.ndarray, "p 2"], points: Float[np.ndarray, "*s 2"]) -> Bool[np.ndarray, "*s"]:
    """Which points (x, y) lie inside of a polygon: a ray to the right crosses it an odd number of times."""
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    x, y = points[..., 0, None], points[..., 1, None]
    crossed = (y0 <= y) != (y1 <= y)
    at = x0 + (y - y0) / np.where(y1 == y0, 1.0, y1 - y0) * (x1 - x0)
    return ((at > x) & crossed).sum(axis=-1) % 2 == 1


def _signed_area(corners: Float[np.ndarray, "p 2"]) -> float:
    x, y = corners.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
