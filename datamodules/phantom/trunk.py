"""The trunk round the spine: skin, muscle wall and cavity from the chest to the buttocks, and where organs lie."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.random import Generator
from scipy.ndimage import gaussian_filter1d

from datamodules.phantom.patient import Patient
from datamodules.phantom.spine import Spine
from datamodules.phantom.surface import ANGLES, RadialSurface, bump, wobble

Array = np.ndarray
_STREAM = 17
_BACK = np.pi / 2
_QUARTERS = tuple(len(ANGLES) * quarter // 4 for quarter in range(4))  # left, back, right, front
_STEP_MM, _LOWEST_MM, _HIGHEST_MM = 30.0, -300.0, 330.0
STATIONS_MM = np.arange(_LOWEST_MM, _HIGHEST_MM + 1, _STEP_MM)  # heights above the disc L3/4

# A person of 1.69 m and a body-mass index of 26.5, mm over height above the disc L3/4; ours, between volunteers on
# Dixon pictures (breadth 330-360, depth 185-200 in slim ones) and waist breadths and depths of anthropometric surveys.
_HEIGHT_MM = (-300, -200, -150, -100, -60, -20, 40, 100, 160, 220, 330)
_HALF_BREADTH_MM = (156, 158, 155, 149, 144, 138, 135, 137, 141, 145, 152)
_BREADTH_PER_BODY_MASS = (1.6, 1.6, 1.7, 1.8, 2.0, 2.1, 2.1, 1.9, 1.6, 1.5, 1.3)
_FRONT_MM = (-92, -104, -107, -111, -115, -117, -117, -119, -123, -128, -126)  # in front of the back of the disc L3/4
_FRONT_PER_BODY_MASS = (2.0, 2.6, 3.0, 3.4, 3.8, 3.9, 3.8, 3.4, 2.6, 2.0, 1.6)
_WIDEST_MM = (-5, -8, -12, -18, -24, -28, -32, -36, -40, -44, -44)  # y of the widest place
_SIDE_FAT = (1.5, 1.5, 1.4, 1.3, 1.15, 1.05, 1.0, 0.85, 0.7, 0.6, 0.5)  # of that at the waist
_FRONT_FAT = (1.2, 1.5, 1.5, 1.4, 1.25, 1.1, 1.0, 0.8, 0.6, 0.5, 0.5)
_THICKEST_FAT_MM = 58.0
_KIDNEY_MM = (27.0, 23.0, 55.0)  # half of breadth, depth and length: 100-120 mm long
KIDNEY_LEAN = (0.22, 0.16)  # mm outward and forward per mm downward: lower poles lie farther out and in front, on psoas
_CLEARANCE_MM = 2.0  # from the fascia of the back to the fat behind it


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """Closed outlines of the trunk of one patient, over heights above the disc L3/4.

    Attributes:
        skin: Outline of the body.
        envelope: Outline of muscles and bones, below the subcutaneous fat.
        cavity: Inside of the muscle wall.
        back_mm: y of the skin in the midline, at the stations.
        fat_mm: Thickness of the subcutaneous fat at the sides of the waist.
        scale: Factor on lengths.
        fatness: 0 for a body-mass index of 18, 1 for 35: how much fat there is between the organs.
        shift: Standard normal numbers of the patient, by organ, which move or resize it.
    """

    skin: RadialSurface
    envelope: RadialSurface
    cavity: RadialSurface
    back_mm: Float[Array, " stations"]
    fat_mm: float
    scale: float
    fatness: float
    shift: dict[str, Float[Array, "6"]]

    @classmethod
    def around(cls, patient: Patient, spine: Spine, fascia_mm: Float[Array, " levels"]) -> "Trunk":
        """The trunk of a patient whose fascia of the back reaches `fascia_mm` behind the discs."""
        rng = patient.rng(_STREAM)
        male, scale = patient.sex == "M", patient.skeleton.scale
        body_mass = patient.body_mass_index - 26.5
        wide, deep = np.exp(rng.normal(0, (0.04, 0.09)))
        common, side, front, hips = np.exp(rng.normal(0, (0.15, 0.15, 0.2, 0.03)))

        def along(values: tuple[float | int, ...]) -> Float[Array, " stations"]:
            return np.interp(STATIONS_MM / scale, _HEIGHT_MM, values)

        female = np.interp(STATIONS_MM / scale, (-150, -40, 60, 160), (5, 3, -5, -8)) * (not male)
        breadth = (along(_HALF_BREADTH_MM) + female) * scale * wide + along(_BREADTH_PER_BODY_MASS) * body_mass
        breadth *= np.where(STATIONS_MM < 0, hips, 1.0)
        ahead = along(_FRONT_MM) * scale * deep - along(_FRONT_PER_BODY_MASS) * body_mass
        widest = along(_WIDEST_MM) * scale
        fascia, behind = _backs(patient, spine, fascia_mm)
        side_fat = (13 if male else 19) * np.exp(0.07 * body_mass) * common * side
        front_fat = (15 if male else 20) * np.exp(0.07 * body_mass) * common * front
        beside, before = _bounded(side_fat * along(_SIDE_FAT)), _bounded(front_fat * along(_FRONT_FAT))
        wave = wobble(rng, len(STATIONS_MM), 0.02, shared=0.85)
        centre = np.stack([np.zeros(len(STATIONS_MM)), widest], axis=1)
        inner = _outline(breadth, widest - ahead, fascia - widest, back_power=1.75) * np.exp(wave)
        outer = _outline(breadth + beside, widest - ahead + before, behind - widest, back_power=2.4) * np.exp(wave)
        outer = np.maximum(_grooved(outer, spine, behind - fascia), inner + 2.5)
        wall = (
            _wall(inner, STATIONS_MM / scale)
            * scale
            * np.exp(np.clip(rng.normal(0, 0.2), -0.3, 0.3) + (0.12 if male else -0.08))
        )
        organs = ("kidneys", "liver", "spleen", "stomach", "bowel", "bladder", "uterus", "diaphragm", "ribs", "arms")
        return cls(
            skin=RadialSurface.through(centre, outer),
            envelope=RadialSurface.through(centre, inner),
            cavity=RadialSurface.through(centre, inner - wall),
            back_mm=behind,
            fat_mm=float(np.interp(0, STATIONS_MM, beside)),
            scale=scale,
            fatness=float(np.clip((body_mass + 8.5) / 17, 0, 1)),
            shift={name: _shift(rng) for name in organs},
        )

    def distances_mm(
        self, x: Float[Array, "h w"], y: Float[Array, "h w"], z: Float[Array, "h w"]
    ) -> tuple[Float[Array, "h w"], Float[Array, "h w"], Float[Array, "h w"]]:
        """Distances from skin, envelope and cavity, negative inside."""
        where, away = self.skin.polar(x, y, self.station(z))
        obliquity = self.skin.looked_up(self.skin.obliquity, where)
        skin, envelope, cavity = (
            ((away - surface.looked_up(surface.radius_mm, where)) * obliquity).astype(np.float32)
            for surface in (self.skin, self.envelope, self.cavity)  # around one centre
        )
        return skin, envelope, cavity

    def size_mm(self, z: float) -> tuple[float, float]:
        """Breadth and depth of the body at a height."""
        right, back, left, front = (float(self._reach_mm(self.skin, np.array(z), angle)) for angle in _QUARTERS)
        return right + left, back + front

    def fat_thickness_mm(self, z: float) -> dict[str, float]:
        """Thickness of the fat below the skin at a height, at the side and in front."""
        outer, inner = (
            [float(self._reach_mm(surface, np.array(z), angle)) for angle in (_QUARTERS[0], _QUARTERS[3])]
            for surface in (self.skin, self.envelope)
        )
        return {"side": outer[0] - inner[0], "front": outer[1] - inner[1]}

    def kidney_mm(self, side: str) -> tuple[float, float, float]:
        """Half of the breadth, depth and length of a kidney."""
        own = self.shift["kidneys"][0 if side == "left" else 3]
        size = (0.4 + 0.6 * self.scale) * (1 + 0.03 * own)
        return _KIDNEY_MM[0] * size, _KIDNEY_MM[1] * size, _KIDNEY_MM[2] * size

    @staticmethod
    def station(z: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """Coordinate along the outlines at a height."""
        return np.asarray((z - _LOWEST_MM) / _STEP_MM, np.float32)

    def breadth_mm(self, z: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """How far the skin reaches to either side at a height."""
        return self._reach_mm(self.skin, z, _QUARTERS[0])

    def cavity_breadth_mm(self, z: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """How far the cavity reaches to either side at a height."""
        return self._reach_mm(self.cavity, z, _QUARTERS[0])

    def front_mm(self, z: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """Y of the front of the cavity at a height."""
        middle = self._at(self.cavity.centre_mm[:, 1], z)
        return np.asarray(middle - self._reach_mm(self.cavity, z, _QUARTERS[3]))

    def front_at(self, z: float) -> float:
        """Y of the front of the cavity at one height."""
        return float(self.front_mm(np.array(z * self.scale)))

    def _reach_mm(self, surface: RadialSurface, z: Float[Array, "*any"], angle: int) -> Float[Array, "*any"]:
        return self._at(surface.radius_mm[:, angle], z)

    def _at(self, values: Float[Array, " knots"], z: Float[Array, "*any"]) -> Float[Array, "*any"]:
        knot = self.station(z) * ((len(values) - 1) / (len(STATIONS_MM) - 1))
        return np.asarray(np.interp(knot, np.arange(len(values)), values), np.float32)


def _shift(rng: Generator) -> Float[Array, "6"]:
    return np.clip(rng.normal(size=6), -2, 2)


def _bounded(thickness_mm: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """A thickness of fat that grows slower the thicker it is."""
    return _THICKEST_FAT_MM * np.tanh(thickness_mm / _THICKEST_FAT_MM)


def _backs(
    patient: Patient, spine: Spine, fascia_mm: Float[Array, " levels"]
) -> tuple[Float[Array, " stations"], Float[Array, " stations"]]:
    """Y in the midline of the fascia and of the skin of the back: of a person who lies on a table."""
    levels = np.arange(-6.0, 12.5, 0.5)
    sacral = (6.0, 7.0, 8.0, 9.0, 10.0, 12.0)
    reach = np.interp(levels, (*range(6), *sacral), (*fascia_mm[:6], fascia_mm[6] - 8, 36, 28, 22, 12, 9))
    places = np.array([spine.point(level, 0.0, far) for level, far in zip(levels, reach, strict=True)])
    heights = np.arange(_LOWEST_MM, _HIGHEST_MM + 1, 5.0)
    order = np.argsort(places[:, 2])
    fascia = np.interp(heights, places[order, 2], places[order, 1]) + _CLEARANCE_MM
    tip = spine.point(11.5, 0.0, 8.0)[2]
    fascia += 0.35 * np.clip(tip + 25 - heights, 0, 60)  # the buttocks stand out below the sacrum
    thickness = _bounded(np.interp(levels, np.arange(7), patient.subcutaneous_mm))
    fat = np.interp(heights, places[order, 2], thickness[order])
    skin = gaussian_filter1d(fascia + fat, 4.0, mode="nearest")
    fascia = gaussian_filter1d(fascia, 2.0, mode="nearest")
    skin = np.maximum(skin, fascia + 3.5)
    return np.interp(STATIONS_MM, heights, fascia), np.interp(STATIONS_MM, heights, skin)


def _outline(
    breadth: Float[Array, " stations"],
    front: Float[Array, " stations"],
    back: Float[Array, " stations"],
    *,
    back_power: float,
) -> Float[Array, "stations angles"]:
    """Radius of an oval that reaches so far to the sides, forward and backward; a higher power is flatter."""
    across, along = np.abs(np.cos(ANGLES)), np.abs(np.sin(ANGLES))
    behind = np.sin(ANGLES) > 0
    power = np.where(behind, back_power, 2.25)
    depth = np.where(behind, back[:, None], front[:, None])
    return ((across / breadth[:, None]) ** power + (along / depth) ** power) ** (-1 / power)


def _grooved(
    radius: Float[Array, "stations angles"], spine: Spine, fat_mm: Float[Array, " stations"]
) -> Float[Array, "stations angles"]:
    """The outline with the groove of the back, which fat fills, and the cleft between the buttocks."""
    groove = 5 * np.exp(-fat_mm / 25)
    top, tip = spine.point(8.0)[2], spine.point(11.5)[2]
    cleft = np.interp(STATIONS_MM, (tip - 60, tip, top), (48.0, 26.0, 0.0))
    return radius - groove[:, None] * bump(_BACK, 0.13) - cleft[:, None] * bump(_BACK, 0.09)


def _wall(inner: Float[Array, "stations angles"], height: Float[Array, " stations"]) -> Float[Array, "stations angles"]:
    """Thickness of the muscle wall: rectus in front, three layers at the sides, ribs above, thin behind."""
    x = inner * np.abs(np.cos(ANGLES))
    ahead = np.sin(ANGLES) < 0.2
    front = np.interp(x, (0, 3, 6, 30, 56, 66, 80, 100, 125), (3.5, 4.0, 8.0, 9.5, 8.5, 5.5, 9.0, 13.0, 17.0))
    back = np.interp(x, (60, 85, 115), (6.0, 9.0, 17.0))
    belly = np.where(ahead, front, back)
    chest = np.where(ahead, 13.5, np.interp(x, (60, 85), (9.0, 13.5)))
    thoracic = np.interp(height, (100, 150), (0.0, 1.0))[:, None]
    return belly * (1 - thoracic) + chest * thoracic
