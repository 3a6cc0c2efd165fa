"""Step 1: who the patient is. Effects shared by the whole body are drawn before those of levels and sides."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.random import Generator, default_rng

from datamodules.phantom import templates
from datamodules.phantom.settings import Population
from datamodules.phantom.skeleton import Skeleton, draw_skeleton, effect
from datamodules.phantom.templates import NUM_LEVELS

Array = np.ndarray
SIDES = {"left": 1, "right": -1}
MUSCLES = ("psoas", "multifidus", "erector_spinae", "quadratus_lumborum")
PARASPINAL = tuple(f"{muscle}_{side}" for muscle in ("multifidus", "erector_spinae") for side in SIDES)
# The names of their fat, where it is told apart: "multifidus_fat_left".
FAT_OF = {name: "_fat_".join(name.rsplit("_", 1)) for name in PARASPINAL}
_FATTEST, _LEANEST = 0.85, 0.025  # means of a whole muscle
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
        skeleton: Bones and discs.
        area_mm2: Area of each structure; paired ones as `psoas_left`. 0 where absent.
        fat: Fat fraction (0..1) of each muscle, by the same names.
        fascia_contrast: 1 where a bright cleft parts multifidus from erector spinae, 0 where nothing does.
        subcutaneous_mm: Thickness of the fat behind the fascia.
        wedge: Part of the radius of the erector spinae that fat fills below the fascia.
        individuality: Factor on how far shapes depart from the average ones.
        rater_noise: Factor on the displacement of the second rater's boundaries.
    """

    index: int
    seed: int
    sex: str
    age: float
    height_m: float
    weight_kg: float
    skeleton: Skeleton
    area_mm2: Mapping[str, Float[Array, " levels"]]
    fat: Mapping[str, Float[Array, " levels"]]
    fascia_contrast: Float[Array, " levels"]
    subcutaneous_mm: Float[Array, " levels"]
    wedge: Float[Array, " levels"]
    individuality: float
    rater_noise: float

    @property
    def name(self) -> str:
        """Name in the cohort."""
        return f"p{self.index:03d}"

    @property
    def body_mass_index(self) -> float:
        """Weight over squared height, kg/m2."""
        return self.weight_kg / self.height_m**2

    @property
    def back_fat(self) -> float:
        """Mean fat fraction of multifidus and erector spinae over sides and levels, weighted by area."""
        fat, area = (np.stack([values[name] for name in PARASPINAL]) for values in (self.fat, self.area_mm2))
        return float(np.average(fat, weights=area))

    def rng(self, stream: int, *more: int) -> Generator:
        """The random numbers of one purpose, the same in whatever order patients are made."""
        return default_rng([self.seed, self.index, stream, *more])


def draw_patient(seed: int, index: int, population: Population) -> Patient:
    """Draws a patient of a population from (seed, index) alone."""
    rng = default_rng([seed, index, _STREAM])
    male = bool(rng.random() < 0.5) if population.sex == "any" else population.sex == "M"
    age = float(np.clip(rng.normal(population.age_mean, population.age_sd), population.age_min, population.age_max))
    height = float(np.clip(rng.normal(1.76 if male else 1.63, 0.065), 1.45, 2.02))
    body_mass = float(np.clip(rng.normal(26.5, 4.2), 18, 42))
    skeleton = draw_skeleton(rng, male=male, age=age, height_m=height)
    muscularity = (0.11 if male else -0.11) + 0.008 * (body_mass - 26) + rng.normal(0, 0.10)
    muscularity += 0.09 - 0.014 * max(age - 50, 0)  # patients of 68 years have 0.7 to 0.8 of a volunteer's muscle
    fatness = 0.5 * _scaled(age, 52.0, 16.0) + 0.25 * _scaled(body_mass, 26.5, 4.2) + rng.normal(0, 0.75)
    area = _areas(rng, skeleton, muscularity)
    fat = _fat(rng, male, age, fatness)
    if population.muscle_fat is not None:
        _rescale_fat(fat, area, rng.uniform(*population.muscle_fat))
    # Fat on both sides of a fascia hides it.
    contrast = 0.6 - 0.14 * fatness + np.array([-0.2, -0.15, -0.1, 0.0, 0.08, 0.12, 0.1])
    contrast = contrast + effect(rng, 0.24)
    usual_wedge = np.array([0.01, 0.01, 0.02, 0.04, 0.09, 0.2, 0.3])
    return Patient(
        index=index,
        seed=seed,
        sex="M" if male else "F",
        age=round(age, 1),
        height_m=round(height, 3),
        weight_kg=round(body_mass * height**2, 1),
        skeleton=skeleton,
        area_mm2=area,
        fat=fat,
        fascia_contrast=np.clip(contrast, 0.03, 1),
        subcutaneous_mm=np.array(templates.SUBCUTANEOUS_MM)
        * np.exp(0.085 * (body_mass - 26.5) + (-0.15 if male else 0.15) + effect(rng, 0.22)),
        wedge=np.clip(usual_wedge * np.exp(0.35 * fatness + effect(rng, 0.4)), 0, 0.45),
        individuality=float(np.exp(rng.normal(0, 0.12))),
        rater_noise=round(float(np.exp(rng.normal(0, 0.25))), 3),
    )


def _areas(rng: Generator, skeleton: Skeleton, muscularity: float) -> dict[str, Array]:
    """Area of every structure: patient, then muscle group, then level, then side."""
    areas = {}
    spread = {
        "psoas": (1.7, 0.17),
        "multifidus": (0.8, 0.14),
        "erector_spinae": (0.8, 0.14),
        "quadratus_lumborum": (0.9, 0.2),
    }
    for muscle, (response, sd) in spread.items():
        both = np.array(templates.AREA_MM2[muscle]) * np.exp(response * muscularity + effect(rng, sd))
        if muscle == "quadratus_lumborum":
            both *= _quadratus_present(rng)
        lean = 0.012 if muscle == "multifidus" else 0.0  # slightly larger on the right in most people
        side = rng.normal(lean, 0.03) + rng.normal(0, 0.025, NUM_LEVELS)
        areas[f"{muscle}_right"], areas[f"{muscle}_left"] = both * np.exp(side), both * np.exp(-side)
    bone, degeneration = skeleton.scale, skeleton.degeneration
    areas["disc"] = np.array(templates.AREA_MM2["disc"]) * bone**2 * np.exp(effect(rng, 0.06))
    narrowing = np.exp(-0.5 * degeneration * rng.uniform(0, 1) - 0.25 * degeneration**2 + 0.18)
    areas["canal"] = np.array(templates.AREA_MM2["canal"]) * bone * np.exp(effect(rng, 0.13)) * np.sqrt(narrowing)
    sac = np.array(templates.AREA_MM2["dural_sac"]) * bone * np.exp(effect(rng, 0.16)) * narrowing
    areas["dural_sac"] = np.minimum(sac, 0.82 * areas["canal"])
    return areas


def _quadratus_present(rng: Generator) -> Array:
    """Which levels show quadratus lumborum: it ends on the iliac crest, above or below the disc L4/5."""
    at_crest = float(rng.random() < 0.45)
    present = (rng.random(NUM_LEVELS) < (1.0, 1.0, 0.97, 0.93, 1.0, 1.0, 1.0)).astype(float)
    return np.minimum.accumulate(np.array([1.0, 1.0, 1.0, 1.0, at_crest, 0.0, 0.0]) * present)


def _fat(rng: Generator, male: bool, age: float, fatness: float) -> dict[str, Array]:
    """Fat fraction of every muscle; sex, age slope and level after Crawford 2016, Si 2023 and Sollmann 2020."""
    slope = {"multifidus": 0.0018, "erector_spinae": 0.0010, "psoas": 0.0004, "quadratus_lumborum": 0.0004}
    mean = {"multifidus": 0.20, "erector_spinae": 0.155, "psoas": 0.05, "quadratus_lumborum": 0.07}
    caudal = np.array([0.75, 0.78, 0.8, 0.87, 1.18, 1.75, 1.9])
    fat = {}
    for muscle in MUSCLES:
        at_level = caudal if muscle in ("multifidus", "erector_spinae") else np.ones(NUM_LEVELS)
        both = (mean[muscle] + slope[muscle] * (age - 50)) * (0.88 if male else 1.12) * at_level
        both = both * np.exp(0.42 * fatness + effect(rng, 0.15))
        for side in SIDES:
            fat[f"{muscle}_{side}"] = np.clip(both * np.exp(rng.normal(0, 0.08)), _LEANEST, 0.75)
    return fat


def _rescale_fat(fat: dict[str, Array], area: Mapping[str, Array], mean: float) -> None:
    """Shifts the log-odds of the back muscles' fat until its mean over area, levels and sides is what was asked for."""
    fractions, weights = (np.stack([values[name] for name in PARASPINAL]) for values in (fat, area))
    odds = np.log(fractions / (1 - fractions))

    def shifted(by: float) -> Array:
        return np.clip(1 / (1 + np.exp(-(odds + by))), _LEANEST, _FATTEST)

    low, high = -8.0, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if np.average(shifted(middle), weights=weights) < mean else (low, middle)
    fat.update(zip(PARASPINAL, shifted((low + high) / 2), strict=True))


def _scaled(value: float, mean: float, sd: float) -> float:
    return (value - mean) / sd
