"""Step 1: who the patient is. Effects shared by the whole body are drawn before those of levels and sides."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.random import Generator, default_rng

from datamodules.phantom import templates
from datamodules.phantom.templates import LEVELS

Array = np.ndarray
SIDES = {"left": 1, "right": -1}
MUSCLES = ("psoas", "multifidus", "erector_spinae", "quadratus_lumborum")
_SHARED = 0.5  # part of the variance that all levels of a patient have in common
_STREAM = 1


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One synthetic patient; arrays run over `LEVELS`.

    Attributes:
        index: Number of the patient in the cohort.
        seed: Seed of the cohort; later steps draw from (seed, index) too.
        sex: "F" or "M".
        age: Years.
        height_m: Height.
        weight_kg: Weight.
        bone_scale: Factor on every skeletal length.
        area_mm2: Area of each structure; paired ones as `psoas_left`. 0 where absent.
        fat: Fat fraction (0..1) of each muscle, by the same names.
        fascia_contrast: 1 where a bright cleft parts multifidus from erector spinae, 0 where nothing does.
        hydration: 1 for a young disc, 0 for a dry one.
        bulge_mm: How far the disc stands out into the canal.
        disc_height_mm: Height in the middle of the disc.
        subcutaneous_mm: Thickness of the fat behind the fascia.
        wedge: Part of the radius of the erector spinae that fat fills below the fascia.
        disc_distance_mm: Distance from each disc to the next.
        disc_tilt_deg: Tilt of each disc; positive: its front is lower.
        crest_level: Level coordinate at which the iliac crest appears.
    """

    index: int
    seed: int
    sex: str
    age: float
    height_m: float
    weight_kg: float
    bone_scale: float
    area_mm2: Mapping[str, Float[Array, "4"]]
    fat: Mapping[str, Float[Array, "4"]]
    fascia_contrast: Float[Array, "4"]
    hydration: Float[Array, "4"]
    bulge_mm: Float[Array, "4"]
    disc_height_mm: Float[Array, "4"]
    subcutaneous_mm: Float[Array, "4"]
    wedge: Float[Array, "4"]
    disc_distance_mm: Float[Array, "3"]
    disc_tilt_deg: Float[Array, "4"]
    crest_level: float

    @property
    def name(self) -> str:
        """Name in the cohort."""
        return f"p{self.index:03d}"

    @property
    def body_mass_index(self) -> float:
        """Weight over squared height, kg/m2."""
        return self.weight_kg / self.height_m**2

    def rng(self, stream: int, *more: int) -> Generator:
        """The random numbers of one purpose, the same in whatever order patients are made."""
        return default_rng([self.seed, self.index, stream, *more])


def draw_patient(seed: int, index: int) -> Patient:
    """Draws a patient from (seed, index) alone."""
    rng = default_rng([seed, index, _STREAM])
    male = bool(rng.random() < 0.5)
    age = float(np.clip(rng.normal(52, 16), 19, 88))
    height = float(np.clip(rng.normal(1.76 if male else 1.63, 0.065), 1.45, 2.02))
    body_mass = float(np.clip(rng.normal(26.5, 4.2), 18, 42))
    bone = height / 1.69 * np.exp(rng.normal(0, 0.025))
    degeneration = _sigmoid((age - 52) / 14 + np.array([-0.5, -0.3, 0.4, 0.5]) + _effect(rng, 1.3))
    muscularity = (0.11 if male else -0.11) + 0.0025 * (52 - age) + 0.008 * (body_mass - 26) + rng.normal(0, 0.10)
    fatness = 0.5 * _scaled(age, 52.0, 16.0) + 0.25 * _scaled(body_mass, 26.5, 4.2) + rng.normal(0, 0.75)
    return Patient(
        index=index,
        seed=seed,
        sex="M" if male else "F",
        age=round(age, 1),
        height_m=round(height, 3),
        weight_kg=round(body_mass * height**2, 1),
        bone_scale=float(bone),
        area_mm2=_areas(rng, bone, muscularity, degeneration),
        fat=_fat(rng, male, age, fatness),
        fascia_contrast=np.clip(
            0.62 + 0.05 * fatness + np.array([-0.1, 0.0, 0.08, 0.12]) + _effect(rng, 0.24), 0.03, 1
        ),
        hydration=1 - degeneration,
        bulge_mm=np.clip(3.0 * degeneration + _effect(rng, 0.8) - 0.6, 0, 4.5),
        disc_height_mm=np.array(templates.DISC_HEIGHT_MM) * bone * (1 - 0.45 * degeneration),
        subcutaneous_mm=np.array(templates.SUBCUTANEOUS_MM)
        * np.exp(0.085 * (body_mass - 26.5) + (-0.15 if male else 0.15) + _effect(rng, 0.22)),
        wedge=np.clip(np.array([0.02, 0.04, 0.09, 0.2]) * np.exp(0.35 * fatness + _effect(rng, 0.4)), 0, 0.45),
        disc_distance_mm=np.array(templates.DISC_DISTANCE_MM) * bone,
        disc_tilt_deg=np.array(templates.DISC_TILT_DEG)
        + rng.normal(0, 3) * np.array([-0.6, 0.2, 0.8, 1.4])
        + rng.normal(0, 1.5, 4),
        crest_level=float(rng.normal(2.05, 0.22)),
    )


def _areas(rng: Generator, bone: float, muscularity: float, degeneration: Array) -> dict[str, Array]:
    """Area of every structure: patient, then muscle group, then level, then side."""
    areas = {}
    spread = {
        "psoas": (1.7, 0.17),
        "multifidus": (0.8, 0.14),
        "erector_spinae": (0.8, 0.14),
        "quadratus_lumborum": (0.9, 0.2),
    }
    for muscle, (response, sd) in spread.items():
        both = np.array(templates.AREA_MM2[muscle]) * np.exp(response * muscularity + _effect(rng, sd))
        if muscle == "quadratus_lumborum":
            both *= _quadratus_present(rng)
        lean = 0.012 if muscle == "multifidus" else 0.0  # slightly larger on the right in most people
        side = rng.normal(lean, 0.03) + rng.normal(0, 0.025, len(LEVELS))
        areas[f"{muscle}_right"], areas[f"{muscle}_left"] = both * np.exp(side), both * np.exp(-side)
    areas["disc"] = np.array(templates.AREA_MM2["disc"]) * bone**2 * np.exp(_effect(rng, 0.06))
    narrowing = np.exp(-0.5 * degeneration * rng.uniform(0, 1) - 0.25 * degeneration**2 + 0.18)
    areas["canal"] = np.array(templates.AREA_MM2["canal"]) * bone * np.exp(_effect(rng, 0.13)) * np.sqrt(narrowing)
    sac = np.array(templates.AREA_MM2["dural_sac"]) * bone * np.exp(_effect(rng, 0.16)) * narrowing
    areas["dural_sac"] = np.minimum(sac, 0.82 * areas["canal"])
    return areas


def _quadratus_present(rng: Generator) -> Array:
    """Which levels show quadratus lumborum: it ends on the iliac crest, above or below the disc L4/5."""
    return np.array([1.0, 1.0, float(rng.random() < 0.45), 0.0]) * (rng.random(4) < (0.97, 0.93, 1.0, 1.0))


def _fat(rng: Generator, male: bool, age: float, fatness: float) -> dict[str, Array]:
    """Fat fraction of every muscle; sex, age slope and level after Crawford 2016, Si 2023 and Sollmann 2020."""
    slope = {"multifidus": 0.0018, "erector_spinae": 0.0010, "psoas": 0.0004, "quadratus_lumborum": 0.0004}
    mean = {"multifidus": 0.20, "erector_spinae": 0.155, "psoas": 0.05, "quadratus_lumborum": 0.07}
    fat = {}
    for muscle in MUSCLES:
        caudal = np.array([0.85, 0.92, 1.1, 1.5]) if muscle in ("multifidus", "erector_spinae") else np.ones(4)
        both = (mean[muscle] + slope[muscle] * (age - 50)) * (0.88 if male else 1.12) * caudal
        both = both * np.exp(0.42 * fatness + _effect(rng, 0.15))
        for side in SIDES:
            fat[f"{muscle}_{side}"] = np.clip(both * np.exp(rng.normal(0, 0.08)), 0.025, 0.75)
    return fat


def _effect(rng: Generator, sd: float) -> Float[Array, "4"]:
    """A random effect on every level, part of it common to all levels of the patient."""
    return sd * (np.sqrt(_SHARED) * rng.normal() + np.sqrt(1 - _SHARED) * rng.normal(size=len(LEVELS)))


def _scaled(value: float, mean: float, sd: float) -> float:
    return (value - mean) / sd


def _sigmoid(value: Array) -> Array:
    return 1 / (1 + np.exp(-value))
