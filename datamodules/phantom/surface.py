"""Closed surfaces that change smoothly down the spine, built from contours at the discs."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.random import Generator
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.ndimage import map_coordinates

Array = np.ndarray

_NUM_ANGLES = 128
ANGLES = np.arange(_NUM_ANGLES) * (2 * np.pi / _NUM_ANGLES)
_KNOTS_PER_LEVEL = 8


@dataclass(frozen=True)
class RadialSurface:
    """A surface that is star-shaped around a centre line.

    The level coordinate counts discs downward: 0 is the first level of the patient, 1 the next. Beyond the ends the
    surface continues unchanged.

    Attributes:
        centre_mm: (x, y) of the centre line at every knot.
        radius_mm: Distance of the surface from the centre line for angles from +x toward +y.
        obliquity: Factor that turns a radial distance into a distance from the surface.
    """

    centre_mm: Float[Array, "knots 2"]
    radius_mm: Float[Array, "knots angles"]
    obliquity: Float[Array, "knots angles"]

    @classmethod
    def through(cls, centre_mm: Float[Array, "levels 2"], radius_mm: Float[Array, "levels angles"]) -> "RadialSurface":
        """The smooth surface through contours at every level, without overshoot between them."""
        levels = np.arange(len(centre_mm))
        knots = np.linspace(0, levels[-1], levels[-1] * _KNOTS_PER_LEVEL + 1)
        centre, radius = PchipInterpolator(levels, centre_mm)(knots), PchipInterpolator(levels, radius_mm)(knots)
        slope = (np.roll(radius, -1, axis=1) - np.roll(radius, 1, axis=1)) / (2 * ANGLES[1])
        obliquity = 1 / np.sqrt(1 + (slope / np.maximum(radius, 1e-3)) ** 2)
        wrap = ((0, 0), (0, 1))
        return cls(centre, np.pad(radius, wrap, "wrap"), np.pad(obliquity, wrap, "wrap"))

    def centre_at(self, level: Float[Array, "h w"]) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
        """Centre (x, y) in mm at level coordinates."""
        knot, index = level * _KNOTS_PER_LEVEL, np.arange(len(self.centre_mm))
        return np.interp(knot, index, self.centre_mm[:, 0]), np.interp(knot, index, self.centre_mm[:, 1])

    def size_mm(self, level: Float[Array, "h w"]) -> Float[Array, "h w"]:
        """Mean radius at level coordinates."""
        return np.interp(level * _KNOTS_PER_LEVEL, np.arange(len(self.radius_mm)), self.radius_mm.mean(axis=1))

    def edge_mm(self, level: float | int, angle: float) -> float:
        """How far the surface reaches along y in the direction of +y or -y, at a level coordinate (to an eighth)."""
        knot, column = round(level * _KNOTS_PER_LEVEL), round(angle / ANGLES[1]) % _NUM_ANGLES
        return float(self.centre_mm[knot, 1] + self.radius_mm[knot, column] * np.sin(angle))

    @property
    def back_mm(self) -> Float[Array, " levels"]:
        """Largest y at every level."""
        back = self.centre_mm[:, 1] + (self.radius_mm[:, :-1] * np.sin(ANGLES)).max(axis=1)
        return back[::_KNOTS_PER_LEVEL]

    @property
    def reach_mm(self) -> float:
        """Largest radius."""
        return float(self.radius_mm.max())

    def widened(self, factor: Float[Array, "levels angles"]) -> "RadialSurface":
        """The surface with its radius at every level multiplied by a factor."""
        levels = slice(None, None, _KNOTS_PER_LEVEL)
        return RadialSurface.through(self.centre_mm[levels], self.radius_mm[levels, :-1] * factor)

    def distance_mm(
        self, x: Float[Array, "h w"], y: Float[Array, "h w"], level: Float[Array, "h w"]
    ) -> Float[Array, "h w"]:
        """Distance from the surface, in mm, negative inside."""
        where, away = self.polar(x, y, level)
        return (away - self.looked_up(self.radius_mm, where)) * self.looked_up(self.obliquity, where)

    def polar(
        self, x: Float[Array, "h w"], y: Float[Array, "h w"], level: Float[Array, "h w"]
    ) -> tuple[Float[Array, "2 h w"], Float[Array, "h w"]]:
        """Indices into `radius_mm` and the distance from the centre line."""
        knot = np.clip(level * _KNOTS_PER_LEVEL, 0, len(self.centre_mm) - 1)
        centre_x, centre_y = self.centre_at(level)
        dx, dy = x - centre_x, y - centre_y
        angle = np.arctan2(dy, dx) / ANGLES[1]
        return np.stack([knot, np.where(angle < 0, angle + _NUM_ANGLES, angle)]), np.hypot(dx, dy)

    @staticmethod
    def looked_up(values: Float[Array, "knots angles"], where: Float[Array, "2 h w"]) -> Float[Array, "h w"]:
        """Values over knots and angles at places between them."""
        return map_coordinates(values, where, order=1, mode="nearest")


def through_contours(
    points_mm: Float[Array, "levels p 2"],
    area_mm2: Float[Array, " levels"],
    *,
    anchor_mm: Float[Array, "levels 2"],
    side: int = 1,
    wobble: Float[Array, "levels angles"] | float = 0.0,
) -> RadialSurface:
    """A surface through drawn contours, each scaled about its anchor to a given area.

    Args:
        points_mm: Corners of each contour on the patient's left, in order around it.
        area_mm2: Area that the contour shall enclose at each level; 0 where the structure is absent.
        anchor_mm: Point of each contour that stays where it is, usually where the structure touches bone.
        side: 1 for the patient's left, -1 for the right.
        wobble: Logarithm of a random factor on the radius.
    """
    mirrored = np.array([side, 1.0])
    centre, radius = zip(*(_polar(points * mirrored) for points in points_mm), strict=True)
    radius = np.array(radius) * np.exp(wobble)
    scale = np.sqrt(area_mm2 / (0.5 * (radius**2).sum(axis=1) * ANGLES[1]))[:, None]
    anchor = anchor_mm * mirrored
    return RadialSurface.through(anchor + scale * (np.array(centre) - anchor), scale * radius)


def wobble(rng: Generator, num_levels: int, amount: float, *, shared: float = 0.6) -> Float[Array, "levels angles"]:
    """Smooth random log-radius: harmonics 2 to 7, a `shared` part of their variance common to all levels."""
    harmonics = np.arange(2, 8)
    waves = np.concatenate([np.cos(harmonics[:, None] * ANGLES), np.sin(harmonics[:, None] * ANGLES)])
    sd = amount * np.tile(harmonics.astype(float) ** -1.2, 2)
    common, own = rng.normal(size=len(sd)), rng.normal(size=(num_levels, len(sd)))
    return (sd * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own)) @ waves


def bump(angle: float, width: float) -> Float[Array, " angles"]:
    """A bell of height 1 over the angles (radians) of a surface."""
    away = (ANGLES - angle + np.pi) % (2 * np.pi) - np.pi
    return np.exp(-((away / width) ** 2))


def capsule_mm(
    x: Float[Array, "h w"], y: Float[Array, "h w"], start: tuple, end: tuple, radius: tuple
) -> Float[Array, "h w"]:
    """Distance from a thick line whose radius changes from one end to the other, in mm, negative inside.

    Ends and radii may differ from pixel to pixel.
    """
    (x0, y0), (x1, y1) = start, end
    length2 = np.maximum((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-6)
    along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length2, 0, 1)
    away = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
    return away - (radius[0] + along * (radius[1] - radius[0]))


def _polar(points_mm: Float[Array, "p 2"]) -> tuple[Float[Array, "2"], Float[Array, " angles"]]:
    """Centre of a contour and its radius at every angle, rounded by a spline through its corners."""
    closed = np.concatenate([points_mm, points_mm[:1]])
    curve = CubicSpline(np.linspace(0, 1, len(closed)), closed, bc_type="periodic")(np.linspace(0, 1, 257)[:-1])
    centre = points_mm.mean(axis=0)
    offset = curve - centre
    angle = np.arctan2(offset[:, 1], offset[:, 0])
    order = np.argsort(angle)
    radius = np.interp(ANGLES, angle[order], np.hypot(*offset.T)[order], period=2 * np.pi)
    return centre, radius
