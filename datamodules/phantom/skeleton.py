"""Step 1a: the bones and discs of a patient, from their age and height."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator

from datamodules.phantom.templates import (
    DISC_HEIGHT_MM,
    DISC_TILT_DEG,
    LEVELS,
    NUM_LEVELS,
    VERTEBRA_HEIGHT_MM,
)

Array = np.ndarray
_SHARED = 0.5  # part of the variance that all levels of a patient have in common
_LUMBOSACRAL, _SACRAL = LEVELS.index("L5/S1"), LEVELS.index("S1/2")
VARIANTS = ("", "sacralised_L5", "lumbarised_S1")
_VARIANT_PROBABILITY = (0.92, 0.045, 0.035)  # Tins 2016: 3.3 % transitional, 7.7 % other variants of the count


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """Bones and discs of one patient; arrays run over `LEVELS`, those of vertebrae over `VERTEBRAE`.

    Attributes:
        scale: Factor on every skeletal length.
        vertebra_height_mm: Height in the middle of each vertebral body.
        disc_height_mm: Height in the middle of each disc.
        disc_tilt_deg: Tilt of each disc; positive: its front is lower.
        bend_mm: Displacement of each disc to the patient's left: scoliosis.
        turn_deg: Axial rotation at each disc, which goes with the bend.
        hydration: 1 for a young disc, 0 for a dry one.
        bulge_mm: How far each disc stands out into the canal.
        modic: Modic-like change of the marrow beside each disc: 0 none, 1 oedema, 2 fat, 3 sclerosis.
        compression: Part of its height that each vertebra has lost in front.
        crest_level: Level coordinate at which the iliac crest appears.
        conus_level: Level coordinate at which the spinal cord ends.
        variant: One of `VARIANTS`: how the count of vertebrae departs from five.
    """

    scale: float
    vertebra_height_mm: Float[Array, " levels"]
    disc_height_mm: Float[Array, " levels"]
    disc_tilt_deg: Float[Array, " levels"]
    bend_mm: Float[Array, " levels"]
    turn_deg: Float[Array, " levels"]
    hydration: Float[Array, " levels"]
    bulge_mm: Float[Array, " levels"]
    modic: Int[Array, " levels"]
    compression: Float[Array, " levels"]
    crest_level: float
    conus_level: float
    variant: str

    @property
    def gap_mm(self) -> Float[Array, " gaps"]:
        """Distance from the middle of each disc to that of the next."""
        half = self.disc_height_mm / 2
        return self.vertebra_height_mm[1:] + half[:-1] + half[1:]

    @property
    def degeneration(self) -> Float[Array, " levels"]:
        """0 for a young disc, 1 for a dry one."""
        return 1 - self.hydration

    @property
    def scoliosis_deg(self) -> float:
        """Largest angle between the slopes of the spine in the coronal plane, as Cobb measured it."""
        slope = np.degrees(np.arctan(np.diff(self.bend_mm) / self.gap_mm))
        return float(slope.max() - slope.min())


def draw_skeleton(rng: Generator, *, male: bool, age: float, height_m: float) -> Skeleton:
    """Draws the skeleton of a patient."""
    scale = height_m / 1.69 * np.exp(rng.normal(0, 0.025))
    usual = np.array([-1.2, -0.9, -0.5, -0.3, 0.4, 0.5, -1.5])
    degeneration = 1 / (1 + np.exp(-((age - 52) / 14 + usual + effect(rng, 1.3))))
    variant = VARIANTS[rng.choice(len(VARIANTS), p=_VARIANT_PROBABILITY)]
    height = np.array(DISC_HEIGHT_MM) * scale * 1.22 * (1 - 0.42 * degeneration)
    if variant == "sacralised_L5":
        height[_LUMBOSACRAL], degeneration[_LUMBOSACRAL] = 3.5 * scale, 0.6
    if variant == "lumbarised_S1":
        height[_SACRAL], degeneration[_SACRAL] = 8.5 * scale, 0.3
    bend = _bend_mm(rng)
    return Skeleton(
        scale=float(scale),
        vertebra_height_mm=np.array(VERTEBRA_HEIGHT_MM) * scale * np.exp(effect(rng, 0.035)) * (1.01 if male else 0.99),
        disc_height_mm=height,
        disc_tilt_deg=np.array(DISC_TILT_DEG)
        + rng.normal(2, 4)  # of the pelvis
        + rng.normal(0, 3.6) * np.array([-1.1, -1.0, -0.6, 0.2, 0.8, 1.4, 1.4])
        + rng.normal(0, 1.2, NUM_LEVELS),
        bend_mm=bend,
        turn_deg=0.45 * bend + rng.normal(0, 0.7, NUM_LEVELS),
        hydration=1 - degeneration,
        bulge_mm=np.clip(3.0 * degeneration + effect(rng, 0.8) - 0.6, 0, 4.5),
        modic=np.where(rng.random(NUM_LEVELS) < 0.28 * degeneration**2, rng.choice([1, 2, 2, 3], NUM_LEVELS), 0),
        compression=_compression(rng, age),
        crest_level=float(rng.normal(4.05, 0.22)),
        conus_level=float(np.clip(rng.normal(0.6, 0.35), -0.4, 1.3)),
        variant=variant,
    )


def effect(rng: Generator, sd: float) -> Float[Array, " levels"]:
    """A random effect on every level, part of it common to all levels of the patient."""
    return sd * (np.sqrt(_SHARED) * rng.normal() + np.sqrt(1 - _SHARED) * rng.normal(size=NUM_LEVELS))


def _bend_mm(rng: Generator) -> Float[Array, " levels"]:
    """Scoliosis with its apex in the middle: slight in most people, enough to leave the mid slice in every eighth."""
    marked = rng.random() < 0.12
    apex, width = rng.uniform(1.5, 3.5), rng.uniform(1.6, 2.4)
    amount = rng.choice([-1, 1]) * rng.uniform(9, 20) if marked else rng.normal(0, 1.5)
    bell = np.exp(-(((np.arange(NUM_LEVELS) - apex) / width) ** 2))
    return amount * (bell - bell.mean())


def _compression(rng: Generator, age: float) -> Float[Array, " levels"]:
    """Wedge deformities: some in the old, most at T12 and L1."""
    probability = np.clip((age - 45) / 40, 0, 1) * np.array([0.12, 0.12, 0.05, 0.04, 0.03, 0.02, 0.0])
    return np.where(rng.random(NUM_LEVELS) < probability, rng.uniform(0.15, 0.35, NUM_LEVELS), 0.0)
