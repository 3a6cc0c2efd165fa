"""The curved spine: from a point in the scanner to its level and its place on the plane of that level, and back."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter, map_coordinates

from datamodules.phantom.templates import NUM_LEVELS

Array = np.ndarray
_FIRST, _LAST = -2.0, NUM_LEVELS + 2.0  # level coordinates that a point may have
_KNOTS = np.linspace(_FIRST, _LAST, 441)
_GRID_MM = 2.0
_Y_MM, _Z_MM = np.arange(-170.0, 191.0, _GRID_MM), np.arange(-330.0, 231.0, _GRID_MM)
# Planes of neighbouring levels converge behind a lordotic spine. Farther out than this they run parallel, or they
# would cross below the skin.
_BEHIND_MM, _BEFORE_MM, _SMOOTH_MM = 42.0, 55.0, 4.0
_MIDDLE_MM = 16.5  # of the vertebral bodies, in front of their backs
_SACRAL_TURN_DEG = 14.0  # the lower sacrum is more upright again


@dataclass(frozen=True)
class Spine:
    """A curve through the middle of the back of every disc, with a tilted plane at every point of it.

    Level coordinates count discs downward: 0 is the first of `LEVELS`; vertebrae lie between whole numbers. Positions
    are (x, y, z) in millimetres toward the patient's left, posterior and up, with disc L3/4 at the origin.

    Attributes:
        centre_mm: Position at every knot.
        tilt_rad: Tilt of the plane at every knot; positive: its front is lower.
        turn_rad: Axial rotation of the vertebrae at every knot.
        level_of: Level coordinate over a grid of y and z.
    """

    centre_mm: Float[Array, "knots 3"]
    tilt_rad: Float[Array, " knots"]
    turn_rad: Float[Array, " knots"]
    level_of: Float[Array, "y z"]

    @classmethod
    def through(
        cls,
        gap_mm: Float[Array, " gaps"],
        tilt_deg: Float[Array, " levels"],
        bend_mm: Float[Array, " levels"],
        turn_deg: Float[Array, " levels"],
    ) -> "Spine":
        """The spine with these distances between discs, tilts, displacements to the left and axial rotations."""
        tilt = np.radians(np.concatenate([tilt_deg[:1], tilt_deg, tilt_deg[-1:] - _SACRAL_TURN_DEG]))
        middle = (tilt[:-1] + tilt[1:]) / 2
        gap = np.concatenate([gap_mm[:1], gap_mm, gap_mm[-1:]])
        # Gaps are those in the middle of the bodies; a lordotic spine is shorter behind them.
        gap = gap - _MIDDLE_MM * np.diff(tilt)
        steps = gap[:, None] * np.stack([np.sin(middle), -np.cos(middle)], axis=1)
        discs = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        discs -= discs[4]
        levels = np.arange(-1, NUM_LEVELS + 1)
        curve = CubicSpline(levels, discs, bc_type="natural")(_KNOTS)
        inner = np.clip(_KNOTS, 0, NUM_LEVELS - 1)
        bend, turn = (CubicSpline(np.arange(NUM_LEVELS), values)(inner) for values in (bend_mm, turn_deg))
        tilts = CubicSpline(levels, tilt)(np.clip(_KNOTS, levels[0], levels[-1]))
        return cls(np.column_stack([bend, curve]), tilts, np.radians(turn), _level_grid(curve, tilts))

    def locate(
        self, x: Float[Array, "h w"], y: Float[Array, "h w"], z: Float[Array, "h w"]
    ) -> tuple[Float[Array, "h w"], Float[Array, "h w"], Float[Array, "h w"]]:
        """Place (across, behind, level) of points: millimetres on the plane of their level, and that level."""
        where = np.stack([(y - _Y_MM[0]) / _GRID_MM, (z - _Z_MM[0]) / _GRID_MM])
        level = map_coordinates(self.level_of, where, order=1, mode="nearest")
        centre_x, centre_y, tilt, turn = (
            self._at(level, values)
            for values in (self.centre_mm[:, 0], self.centre_mm[:, 1], self.tilt_rad, self.turn_rad)
        )
        behind = y - centre_y
        on_plane = np.sign(behind) * np.hypot(behind, _bounded(behind) * np.tan(tilt))
        across = x - centre_x
        return across * np.cos(turn) + on_plane * np.sin(turn), on_plane * np.cos(turn) - across * np.sin(turn), level

    def point(self, level: float | int, across_mm: float = 0.0, behind_mm: float = 0.0) -> Float[Array, "3"]:
        """Position of a place near the spine, the inverse of `locate`."""
        centre = np.array([self._at(level, self.centre_mm[:, axis]) for axis in range(3)])
        tilt, turn = self._at(level, self.tilt_rad), self._at(level, self.turn_rad)
        x = across_mm * np.cos(turn) - behind_mm * np.sin(turn)
        y = behind_mm * np.cos(turn) + across_mm * np.sin(turn)
        return centre + np.array([x, y * np.cos(tilt), y * np.sin(tilt)])

    def tilt_at(self, level: float | int) -> float:
        """Tilt of the plane of a level, radians."""
        return float(self._at(level, self.tilt_rad))

    @staticmethod
    def _at(level: Float[Array, "*any"] | float | int, values: Float[Array, " knots"]) -> Float[Array, "*any"]:
        return np.asarray(np.interp(level, _KNOTS, values))


def _bounded(behind_mm: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """Distance behind the spine over which planes keep their tilt."""
    return np.clip(behind_mm, -_BEFORE_MM, _BEHIND_MM)


def _level_grid(curve: Float[Array, "knots 2"], tilt: Float[Array, " knots"]) -> Float[Array, "y z"]:
    """For every (y, z), the level whose plane passes through it."""
    heights = curve[:, 1] + _bounded(_Y_MM[:, None] - curve[:, 0]) * np.tan(tilt)
    falling = np.minimum.accumulate(heights, axis=1) - 1e-6 * np.arange(len(_KNOTS))
    levels = np.stack([np.interp(-_Z_MM, -row, _KNOTS) for row in falling])
    return gaussian_filter(levels, _SMOOTH_MM / _GRID_MM, mode="nearest")  # no fold where planes crowd
