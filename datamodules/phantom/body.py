"""The body of a patient: surfaces and random fields in three dimensions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from datamodules.phantom import templates
from datamodules.phantom.noise import SpectralNoise
from datamodules.phantom.patient import SIDES, Patient
from datamodules.phantom.segments import posterior_segments, whole_column
from datamodules.phantom.spine import Spine
from datamodules.phantom.structures import BodyKind
from datamodules.phantom.surface import RadialSurface, bump, through_contours, wobble
from datamodules.phantom.templates import NUM_LEVELS
from datamodules.phantom.trunk import Trunk

Array = np.ndarray
_STREAM = 2
_BACK, _FRONT = np.pi / 2, -np.pi / 2  # angles from +x (patient's left) toward +y (posterior)


class Body:
    """Surfaces and random fields of one patient; everything is drawn on construction.

    Lengths in front of and behind the disc scale with the patient's bones; areas are those of the patient. The trunk of
    a whole body is drawn last, from random numbers of its own; a posterior one has none.
    """

    def __init__(self, patient: Patient, kind: BodyKind = "posterior") -> None:
        rng = patient.rng(_STREAM)
        self.patient = patient
        self.warp = [SpectralNoise.draw(rng, wavelength_mm=(40.0, 140.0), num_waves=48) for _ in "xy"]
        self.ripple = [SpectralNoise.draw(rng, wavelength_mm=(7.0, 22.0), num_waves=48) for _ in "xy"]
        self.streak = SpectralNoise.draw(rng, wavelength_mm=(2.8, 10.0), num_waves=160, stretch=(2.5, 1.0, 4.0))
        self.patch = SpectralNoise.draw(rng, wavelength_mm=(8.0, 30.0), stretch=(1, 1, 2))
        self.region = SpectralNoise.draw(rng, wavelength_mm=(20.0, 70.0), num_waves=48, stretch=(1, 1, 2))
        self.blob = SpectralNoise.draw(rng, wavelength_mm=(18.0, 45.0), num_waves=64)
        self.grain = SpectralNoise.draw(rng, wavelength_mm=(1.6, 6.0), num_waves=160, stretch=(1, 1, 2))
        skeleton = patient.skeleton
        whole = kind == "whole"
        self.segments, ends = whole_column(patient) if whole else (posterior_segments(patient), None)
        self.spine = Spine.through(skeleton.gap_mm, skeleton.disc_tilt_deg, skeleton.bend_mm, skeleton.turn_deg, ends)
        self.roots = rng.normal(0, 1, (14, 2))
        self.kidney_mm = rng.normal((58, -20, 20), (4, 4, 2))
        self.raters = [SpectralNoise.draw(rng, wavelength_mm=(12.0, 45.0), num_waves=64) for _ in "xy"]
        self.fat_thresholds: dict[int, dict[str, float]] = {}  # filled by `muscles`, disc by disc
        self._surfaces(rng)
        self.trunk = Trunk.around(patient, self.spine, self.fascia_mm) if whole else None

    def _surfaces(self, rng: Generator) -> None:
        area = self.patient.area_mm2
        bulge = self.patient.skeleton.bulge_mm[:, None] / 17 * bump(_BACK, 0.75)
        self.disc = self._surface("disc", area["disc"], wobble=wobble(rng, NUM_LEVELS, 0.025) + bulge)
        self.canal = self._surface("canal", area["canal"], wobble=wobble(rng, NUM_LEVELS, 0.05))
        self.dural_sac = self._surface("dural_sac", area["dural_sac"], wobble=wobble(rng, NUM_LEVELS, 0.05))
        self.psoas, self.quadratus, self.multifidus, self.erector, self.paraspinal = {}, {}, {}, {}, {}
        for side in SIDES:
            self.psoas[side] = self._muscle(rng, "psoas", side, area[f"psoas_{side}"])
            quadratus = area[f"quadratus_lumborum_{side}"]
            self.quadratus[side] = self._muscle(rng, "quadratus_lumborum", side, quadratus)
            # Laminae and fascia cover a rim of both muscles.
            multifidus = area[f"multifidus_{side}"] + 25
            self.multifidus[side] = self._muscle(rng, "multifidus", side, multifidus)
            gap = self.patient.wedge[:, None] * bump(_BACK - 0.35 * SIDES[side], 0.8) + 0.015
            both = area[f"erector_spinae_{side}"] + 0.97 * multifidus + 6
            self.erector[side] = self._muscle(rng, "paraspinal", side, both, shape=np.log(1 - gap))
            self.paraspinal[side] = self.erector[side].widened(1 / (1 - gap))

    def _muscle(
        self, rng: Generator, name: str, side: str, area_mm2: Float[Array, " levels"], shape: Array | float = 0.0
    ) -> RadialSurface:
        return self._surface(
            name, area_mm2, wobble=wobble(rng, NUM_LEVELS, 0.085 * self.patient.individuality) + shape, side=SIDES[side]
        )

    def _surface(self, name: str, area_mm2: Float[Array, " levels"], **options) -> RadialSurface:
        bone = self.patient.skeleton.scale
        anchor = np.tile(templates.ANCHOR_MM[name], (NUM_LEVELS, 1))
        return through_contours(templates.contour_mm(name) * bone, area_mm2, anchor_mm=anchor * bone, **options)

    @staticmethod
    def along(values: Sequence[float] | Float[Array, " levels"], level: Float[Array, "h w"]) -> Float[Array, "h w"]:
        """A quantity given at the discs, at the level coordinate of every pixel."""
        return np.interp(level, np.arange(NUM_LEVELS), values).astype(np.float32)

    @property
    def canal_back_mm(self) -> Float[Array, " levels"]:
        """How far the canal reaches behind the disc, at the discs."""
        return np.array([self.canal.edge_mm(level, _BACK) for level in range(NUM_LEVELS)])

    @property
    def disc_front_mm(self) -> Float[Array, " levels"]:
        """How far the disc reaches forward (negative), at the discs."""
        return np.array([self.disc.edge_mm(level, _FRONT) for level in range(NUM_LEVELS)])

    @property
    def fascia_mm(self) -> Float[Array, " levels"]:
        """How far the thoracolumbar fascia reaches backward, at the discs."""
        return np.mean([surface.back_mm for surface in self.paraspinal.values()], axis=0)

    @staticmethod
    def disc_half_mm(height_mm: Float[Array, "*any"] | float, ahead: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """Half the height of a disc of this height in its middle, from its back (ahead = 0) to its front (1).

        Taller in front, as lordosis wants it, and in the middle, between hollow endplates.
        """
        profile = (0.8 + 0.4 * ahead) * (0.86 + 0.56 * ahead * (1 - ahead))
        return height_mm / 2 * profile

    def endplate_tilt_deg(self, disc: int) -> float:
        """Tilt of the upper endplate of the vertebra below a disc; positive: its front is lower."""
        back, front = self.disc_half_mm(self.patient.skeleton.disc_height_mm[disc], np.array([0.0, 1.0]))
        level = disc + (back + front) / 2 / self.patient.skeleton.gap_mm[disc]
        wedge = np.arctan2(front - back, -self.disc_front_mm[disc])
        return float(np.degrees(self.spine.tilt_at(level) + wedge))
