"""Spaces between neighbours: which points of a contour face the next contour, how far off it is, and where.

After the abstract of Castro-Mateos et al. (2015): vectors between what faces each other, length and direction apart,
each a manifold of its own. A vector leads from a point of one contour, along its normal, to the other contour. Its
length is told by the logarithm and its direction by the angle to the spine, so that whatever is said in both gives a
length above 0 in about the right direction again: contours that have crossed are parted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.shape_model.contours import encloses, outward_normals
from models.shape_model.procrustes import as_complex, as_points

Contour = Float[np.ndarray, "p 2"]


@dataclass(frozen=True, kw_only=True)
class Facing:
    """Where points of a contour look at another one.

    Attributes:
        edge: Edge of the other contour, from its point of this number to the next; -1 where there is none.
        share: How far along the edge, 0..1.
        along_mm: Distance along the outward normal, below 0 where the contours have crossed; NaN where there is none.
    """

    edge: Int[np.ndarray, " q"]
    share: Float[np.ndarray, " q"]
    along_mm: Float[np.ndarray, " q"]


@dataclass(frozen=True, kw_only=True)
class Interspace:
    """The space that one structure leaves to a neighbour, as training cases have it.

    Attributes:
        source: Number of the structure whose points look.
        target: Number of the structure that they look at.
        points: Those of the source that face the target in most training cases.
        mean: Logarithm of the length in mm, and angle from the spine's direction in radians, of the vector of each.
        sd: Their standard deviations, of the angle on the circle.
    """

    source: int
    target: int
    points: Int[np.ndarray, " q"]
    mean: Float[np.ndarray, "q 2"]
    sd: Float[np.ndarray, "q 2"]

    def parted(
        self, source: Contour, target: Contour, tangent: Float[np.ndarray, " 2"], *, limit_sd: float, reach_mm: float
    ) -> tuple[Contour, Contour]:
        """Both contours moved, each half of the way, to a space that training cases could have.

        Args:
            source: Points (x, y) in mm.
            target: Of the neighbour.
            tangent: Unit vector along the spine between them, to the feet.
            limit_sd: How many standard deviations from the mean length and angle are left alone.
            reach_mm: How far a point looks.
        """
        ways = outward_normals(source[None])[0, self.points]
        seen = facing(source[self.points], ways, target, reach_mm)
        met = seen.edge >= 0
        points, mean, reach = self.points[met], self.mean[met], limit_sd * self.sd[met]
        vectors = seen.along_mm[met, None] * ways[met]
        off = log_vectors(vectors, tangent) - mean
        off[:, 1] = wrapped(off[:, 1])
        missing = vectors_of(mean + np.clip(off, -reach, reach), tangent) - vectors
        moved = source.copy()
        moved[points] -= missing / 2
        edge, share = seen.edge[met], seen.share[met, None]
        ends, weights = np.concatenate([edge, (edge + 1) % len(target)]), np.concatenate([1 - share, share])
        total, weight = np.zeros_like(target), np.zeros((len(target), 1))
        np.add.at(total, ends, weights * np.concatenate([missing, missing]) / 2)
        np.add.at(weight, ends, weights)
        return moved, target + total / np.maximum(weight, 1e-9)


def log_vectors(vectors: Float[np.ndarray, "q 2"], tangent: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "q 2"]:
    """Logarithm of the length (mm) of vectors, and their angle (radians, -pi to pi) from the spine's direction.

    Args:
        vectors: (x, y) in mm.
        tangent: Unit vector along the spine.
    """
    along = as_complex(vectors) / complex(*tangent)
    return np.stack([np.log(np.maximum(np.abs(along), 1e-9)), np.angle(along)], axis=1)


def vectors_of(told: Float[np.ndarray, "q 2"], tangent: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "q 2"]:
    """The vectors that `log_vectors` tells of."""
    return as_points(np.exp(told[:, 0] + 1j * told[:, 1]) * complex(*tangent))


def wrapped(angles: Float[np.ndarray, "*q"]) -> Float[np.ndarray, "*q"]:
    """Angles in radians from -pi to pi."""
    return np.angle(np.exp(1j * angles))


def facing(
    source: Float[np.ndarray, "q 2"], ways: Float[np.ndarray, "q 2"], target: Contour, reach_mm: float
) -> Facing:
    """Where points of a contour look at another one: along their normals, to the side that looks back.

    Contours that touch or have crossed are met inside, at a distance below 0.

    Args:
        source: Points (x, y) in mm.
        ways: Their outward normals.
        target: The other contour, in the order of `contours.ring`.
        reach_mm: How far a point looks, outward and inward.
    """
    way, edge = ways[:, None], (np.roll(target, -1, axis=0) - target)[None]
    across, corner = _cross(way, edge), target[None] - source[:, None]
    looks_back = across > 1e-9  # an edge of the far side runs the other way
    across = np.where(looks_back, across, 1.0)
    along_mm, share = _cross(corner, edge) / across, _cross(corner, way) / across
    met = looks_back & (share >= 0) & (share <= 1) & (np.abs(along_mm) <= reach_mm)
    rows, nearest = np.arange(len(source)), np.where(met, np.abs(along_mm), np.inf).argmin(axis=1)
    found = met.any(axis=1)
    return Facing(
        edge=np.where(found, nearest, -1),
        share=np.where(found, share[rows, nearest], 0.0),
        along_mm=np.where(found, along_mm[rows, nearest], np.nan),
    )


def pushed_out(points: Contour, other: Contour, floor_mm: float) -> Contour:
    """A contour with the points that lie inside of another one moved out of it, `floor_mm` beyond the nearest place."""
    inside = encloses(other, points)
    if not inside.any():
        return points
    edge, corner = np.roll(other, -1, axis=0) - other, points[:, None] - other
    share = np.clip((corner * edge).sum(axis=2) / np.maximum((edge**2).sum(axis=1), 1e-12), 0, 1)
    feet = other + share[..., None] * edge
    nearest = np.linalg.norm(feet - points[:, None], axis=2).argmin(axis=1)
    way = feet[np.arange(len(points)), nearest] - points
    length_mm = np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    return np.where(inside[:, None], points + way * (1 + floor_mm / length_mm), points)


def interspace_of(
    place: tuple[int, int],
    contours: Sequence[tuple[Contour, Contour]],
    tangents: Sequence[Float[np.ndarray, " 2"]],
    *,
    reach_mm: float,
    floor_mm: float,
) -> Interspace:
    """The space that a structure leaves to a neighbour in training cases that have both.

    Args:
        place: Numbers of the structure and of its neighbour.
        contours: Of both, of every case; at least one.
        tangents: Unit vector along the spine between them, of every case.
        reach_mm: How far a point looks.
        floor_mm: Length of whatever is shorter: masks that touch leave a space of no logarithm, and what of their
            outlines crosses by a part of a pixel is no space at all.
    """
    normals = outward_normals(np.stack([source for source, _ in contours]))
    pairs = zip(contours, normals, strict=True)
    along_mm = np.stack([facing(source, ways, target, reach_mm).along_mm for (source, target), ways in pairs])
    points = np.flatnonzero(np.isfinite(along_mm).sum(axis=0) * 2 > len(contours))
    told = []
    for ways, tangent, own in zip(normals[:, points], tangents, along_mm[:, points], strict=True):
        told.append(log_vectors(np.maximum(own, floor_mm)[:, None] * ways, tangent))
    length, angle = np.moveaxis(np.stack(told), 2, 0)
    direction = np.nanmean(np.exp(1j * angle), axis=0)
    angle_sd = np.sqrt(-2 * np.log(np.clip(np.abs(direction), 1e-12, 1)))  # of a wrapped normal distribution
    mean = np.stack([np.nanmean(length, axis=0), np.angle(direction)], axis=1)
    sd = np.stack([np.nanstd(length, axis=0), angle_sd], axis=1)
    return Interspace(source=place[0], target=place[1], points=points, mean=mean, sd=sd)


def _cross(a: Float[np.ndarray, "*s 2"], b: Float[np.ndarray, "*t 2"]) -> Float[np.ndarray, "*u"]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
