"""Step 2: the body of a patient, as surfaces in three dimensions, and its truth on any plane through it."""

import numpy as np
from jaxtyping import Float

from datamodules.phantom import abdomen, muscles, posterior_elements, templates
from datamodules.phantom.canvas import Canvas, Section
from datamodules.phantom.noise import Plane, SpectralNoise
from datamodules.phantom.patient import SIDES, Patient
from datamodules.phantom.surface import RadialSurface, bump, through_contours, wobble

Array = np.ndarray
_STREAM = 2
_BACK, _FRONT = np.pi / 2, -np.pi / 2  # angles from +x (patient's left) toward +y (posterior)


class Body:
    """Surfaces and random fields of one patient; everything is drawn on construction.

    Lengths in front of and behind the disc scale with the patient's bones; areas are those of the patient.
    """

    def __init__(self, patient: Patient) -> None:
        rng = patient.rng(_STREAM)
        self.patient = patient
        self.warp = [SpectralNoise.draw(rng, wavelength_mm=(30, 120)) for _ in "xy"]
        self.ripple = [SpectralNoise.draw(rng, wavelength_mm=(7, 22)) for _ in "xy"]
        self.streak = SpectralNoise.draw(rng, wavelength_mm=(3.0, 9.0), num_waves=192, stretch=(2.4, 1.0, 4.0))
        self.patch = SpectralNoise.draw(rng, wavelength_mm=(8, 30), stretch=(1, 1, 2))
        self.blob = SpectralNoise.draw(rng, wavelength_mm=(18, 45))
        self.grain = SpectralNoise.draw(rng, wavelength_mm=(1.6, 6), num_waves=192, stretch=(1, 1, 2))
        self.disc_z_mm = -np.concatenate([[0.0], np.cumsum(patient.disc_distance_mm)])
        self.roots = rng.normal(0, 1, (14, 2))
        self.kidney_mm = rng.normal((58, -20, 20), (4, 4, 2))
        self._surfaces(rng)

    def _surfaces(self, rng: np.random.Generator) -> None:
        area = self.patient.area_mm2
        bulge = self.patient.bulge_mm[:, None] / 17 * bump(_BACK, 0.75)
        self.disc = self._surface("disc", area["disc"], wobble=wobble(rng, 4, 0.025) + bulge)
        self.canal = self._surface("canal", area["canal"], wobble=wobble(rng, 4, 0.05))
        self.dural_sac = self._surface("dural_sac", area["dural_sac"], wobble=wobble(rng, 4, 0.05))
        self.psoas, self.quadratus, self.multifidus, self.erector, self.paraspinal = {}, {}, {}, {}, {}
        for side in SIDES:
            erector_and_multifidus = area[f"erector_spinae_{side}"] + 0.97 * area[f"multifidus_{side}"] + 30
            gap = self.patient.wedge[:, None] * bump(_BACK - 0.35 * SIDES[side], 0.8) + 0.015
            common = {"side": SIDES[side]}
            self.psoas[side] = self._surface("psoas", area[f"psoas_{side}"], wobble=wobble(rng, 4, 0.10), **common)
            self.quadratus[side] = self._surface(
                "quadratus_lumborum", area[f"quadratus_lumborum_{side}"], wobble=wobble(rng, 4, 0.10), **common
            )
            self.multifidus[side] = self._surface(
                "multifidus", area[f"multifidus_{side}"] + 25, wobble=wobble(rng, 4, 0.10), **common
            )
            shape = wobble(rng, 4, 0.07) + np.log(1 - gap)
            self.erector[side] = self._surface("paraspinal", erector_and_multifidus, wobble=shape, **common)
            self.paraspinal[side] = self.erector[side].widened(1 / (1 - gap))

    def _surface(self, name: str, area_mm2: Float[Array, "4"], **options) -> RadialSurface:
        bone = self.patient.bone_scale
        anchor = np.tile(templates.ANCHOR_MM[name], (4, 1))
        return through_contours(templates.contour_mm(name) * bone, area_mm2, anchor_mm=anchor * bone, **options)

    def at_level(self, values: Float[Array, "4"], level: Float[Array, "*any"] | float) -> Float[Array, "*any"]:
        """A quantity given at the discs, at any level coordinate."""
        return np.interp(level, np.arange(4), values)

    @property
    def canal_back_mm(self) -> Float[Array, "4"]:
        """How far the canal reaches behind the disc, at the discs."""
        return np.array([self.canal.edge_mm(level, _BACK) for level in range(4)])

    @property
    def disc_front_mm(self) -> Float[Array, "4"]:
        """How far the disc reaches forward (negative), at the discs."""
        return np.array([self.disc.edge_mm(level, _FRONT) for level in range(4)])

    @property
    def fascia_mm(self) -> Float[Array, "4"]:
        """How far the thoracolumbar fascia reaches backward, at the discs."""
        return np.mean([surface.back_mm for surface in self.paraspinal.values()], axis=0)

    def section(self, plane: Plane) -> Section:
        """The truth on a plane of the straightened spine."""
        x, y, z = plane.coordinates()
        shift = [2.0 * wide.on(plane) + 0.3 * fine.on(plane) for wide, fine in zip(self.warp, self.ripple, strict=True)]
        # Bones bend less than soft tissue, and the sides of the body more than its middle.
        free = np.clip(np.hypot(x, y - 8) / 40, 0.25, 1)
        level = np.interp(-z, -self.disc_z_mm, np.arange(4)).astype(np.float32)
        canvas = Canvas(plane=plane, x=x + free * shift[0], y=y + free * shift[1], z=z, level=level)
        depth = abdomen.paint_wall(canvas, self)
        abdomen.paint_organs(canvas, self)
        muscles.paint_anterior(canvas, self)
        muscles.paint_paraspinal(canvas, self)
        posterior_elements.paint_arch(canvas, self)
        posterior_elements.paint_canal(canvas, self)
        posterior_elements.paint_column(canvas, self)
        abdomen.paint_vessels(canvas, self)
        return Section(canvas.labels, np.clip(canvas.fat, 0, 1), tuple(canvas.layers), depth)
