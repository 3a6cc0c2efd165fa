"""The curved spine: from a point in the scanner to its level and its place on the plane of that level, and back."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter, map_coordinates

from datamodules.phantom.segments import Ends
from datamodules.phantom.templates import NUM_LEVELS

Array = np.ndarray
_KNOTS_PER_LEVEL = 40
_ORIGIN = 3  # level coordinate of the disc at the origin
_GRID_MM = 2.0
_Y_MM = np.arange(-170.0, 191.0, _GRID_MM)
_BOTTOM_MM, _TOP_MM = np.float64(-330.0), 231.0  # double precision: a place is looked up with it
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
        knots: Level coordinate of every knot.
        before_mm: How far in front of every knot its plane keeps its tilt.
    """

    centre_mm: Float[Array, "knots 3"]
    tilt_rad: Float[Array, " knots"]
    turn_rad: Float[Array, " knots"]
    level_of: Float[Array, "y z"]
    knots: Float[Array, " knots"]
    before_mm: Float[Array, " knots"]

    @classmethod
    def through(
        cls,
        gap_mm: Float[Array, " gaps"],
        tilt_deg: Float[Array, " levels"],
        bend_mm: Float[Array, " levels"],
        turn_deg: Float[Array, " levels"],
        ends: Ends | None = None,
    ) -> "Spine":
        """The spine with these distances between discs, tilts, displacements to the left and axial rotations.

        `ends` is how it goes on above and below; without them, by one disc like the outermost ones.
        """
        if ends is None:
            below = tilt_deg[-1:] - _SACRAL_TURN_DEG
            ends = Ends(gap_mm[:1], tilt_deg[:1], gap_mm[-1:], below, past=(1.0, 2.0), top_mm=_TOP_MM)
        first, last = -len(ends.gap_above_mm), NUM_LEVELS - 1 + len(ends.gap_below_mm)
        num_knots = round((last - first + sum(ends.past)) * _KNOTS_PER_LEVEL) + 1
        knots = np.linspace(first - ends.past[0], last + ends.past[1], num_knots)
        tilt = np.radians(np.concatenate([ends.tilt_above_deg, tilt_deg, ends.tilt_below_deg]))
        middle = (tilt[:-1] + tilt[1:]) / 2
        gap = np.concatenate([ends.gap_above_mm, gap_mm, ends.gap_below_mm])
        # Gaps are those in the middle of the bodies; a lordotic spine is shorter behind them.
        gap = gap - _MIDDLE_MM * np.diff(tilt)
        steps = gap[:, None] * np.stack([np.sin(middle), -np.cos(middle)], axis=1)
        discs = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        discs -= discs[_ORIGIN - first]
        levels = np.arange(first, last + 1)
        curve = CubicSpline(levels, discs, bc_type="natural")(knots)
        inner = np.clip(knots, 0, NUM_LEVELS - 1)
        bend, turn = (CubicSpline(np.arange(NUM_LEVELS), values)(inner) for values in (bend_mm, turn_deg))
        tilts = CubicSpline(levels, tilt)(np.clip(knots, levels[0], levels[-1]))
        before = np.interp(knots, *ends.before_mm) if ends.before_mm else np.full(num_knots, _BEFORE_MM)
        level_of = _level_grid(knots, curve, tilts, before, np.arange(_BOTTOM_MM, ends.top_mm, _GRID_MM))
        return cls(np.column_stack([bend, curve]), tilts, np.radians(turn), level_of, knots, before)

    def locate(
        self, x: Float[Array, "h w"], y: Float[Array, "h w"], z: Float[Array, "h w"]
    ) -> tuple[Float[Array, "h w"], Float[Array, "h w"], Float[Array, "h w"]]:
        """Place (across, behind, level) of points: millimetres on the plane of their level, and that level."""
        where = np.stack([(y - _Y_MM[0]) / _GRID_MM, (z - _BOTTOM_MM) / _GRID_MM])
        level = map_coordinates(self.level_of, where, order=1, mode="nearest")
        centre_x, centre_y, tilt, turn = (
            self._at(level, values)
            for values in (self.centre_mm[:, 0], self.centre_mm[:, 1], self.tilt_rad, self.turn_rad)
        )
        behind = y - centre_y
        bounded = np.clip(behind, -self._at(level, self.before_mm), _BEHIND_MM)
        on_plane = np.sign(behind) * np.hypot(behind, bounded * np.tan(tilt))
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

    def _at(self, level: Float[Array, "*any"] | float | int, values: Float[Array, " knots"]) -> Float[Array, "*any"]:
        return np.asarray(np.interp(level, self.knots, values))


def _level_grid(
    knots: Float[Array, " knots"],
    curve: Float[Array, "knots 2"],
    tilt: Float[Array, " knots"],
    before_mm: Float[Array, " knots"],
    z_mm: Float[Array, " z"],
) -> Float[Array, "y z"]:
    """For every (y, z), the level whose plane passes through it."""
    heights = curve[:, 1] + np.clip(_Y_MM[:, None] - curve[:, 0], -before_mm, _BEHIND_MM) * np.tan(tilt)
    falling = np.minimum.accumulate(heights, axis=1) - 1e-6 * np.arange(len(knots))
    levels = np.stack([np.interp(-z_mm, -row, knots) for row in falling])
    return gaussian_filter(levels, _SMOOTH_MM / _GRID_MM, mode="nearest")  # no fold where planes crowd
