"""How bright every tissue is: by the signal equation of a drawn sequence, or at random, tissue by tissue.

A pixel of fat fraction f shows | water (1 - f) lean + fat f F |, lean and F being what its tissue and fat give. So one
formula is a Dixon water (1, 0), fat (0, 1), in-phase (1, 1) or opposed-phase (1, -1) picture, fat-suppressed or not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.random import Generator
from torch import Tensor

from datamodules.synthesis.ranges import Number, Range, check_number, check_range, log_uniform, uniform
from datamodules.synthesis.tissues import AIR, BONE, CORTEX, DISC, VESSEL, NumberedTissues


@dataclass(frozen=True, kw_only=True)
class PulseSequence:
    """A kind of pulse sequence and its ranges.

    Attributes:
        weight: How often it is drawn, beside the others.
        repetition_ms: TR.
        echo_ms: TE.
        flip_degrees: 90 of a spin echo, less of a spoiled gradient echo.
        inverted: Whether an inversion nulls fat (STIR).
        water: Weight of what is not fat.
        fat: Weight of fat: below 0 where it is opposed, near 0 where it is suppressed.
    """

    weight: Number
    repetition_ms: Range
    echo_ms: Range
    flip_degrees: Range = (90.0, 90.0)
    inverted: bool = False
    water: Range = (1.0, 1.0)
    fat: Range = (1.0, 1.0)

    def check(self, name: str) -> None:
        """Refuses impossible ranges."""
        check_number(f"{name}.weight", self.weight, 0, 1e6)
        check_range(f"{name}.repetition_ms", self.repetition_ms, 1, 20000)
        check_range(f"{name}.echo_ms", self.echo_ms, 0, 500)
        check_range(f"{name}.flip_degrees", self.flip_degrees, 1, 90)
        for weight in ("water", "fat"):
            check_range(f"{name}.{weight}", getattr(self, weight), -1, 1)


def magnitude(
    values: Float[np.ndarray, "*t 3"],
    *,
    repetition_ms: float,
    echo_ms: float,
    flip_degrees: Number = 90.0,
    inversion_ms: float | None = None,
) -> Float[np.ndarray, "*t"]:
    """Signal of (density, T1 ms, T2 ms): spoiled gradient echo, which at 90 degrees is saturation recovery."""
    density, t1, t2 = np.moveaxis(values, -1, 0)
    recovered, angle = np.exp(-repetition_ms / t1), np.radians(flip_degrees)
    longitudinal = (1 - recovered) / (1 - np.cos(angle) * recovered)
    if inversion_ms is not None:
        longitudinal = np.abs(1 - 2 * np.exp(-inversion_ms / t1) + recovered)
    return density * np.sin(angle) * longitudinal * np.exp(-echo_ms / t2)


@dataclass(frozen=True, kw_only=True)
class ContrastRanges:
    """From which ranges the brightness of tissues is drawn.

    Attributes:
        sequences: Pulse sequences by name, each a mapping of the fields of `PulseSequence`.
        random_share: Share of pictures whose tissues have random intensities instead.
        tissue_spread: Standard deviation of the logarithm of density, T1 and T2 of a tissue between people.
        structure_spread: The same between structures of one tissue.
        disc_spread: The same of T2 between discs, beside it: they dry out one by one.
        t1_factor: Of T1, which is shorter at a lower field.
        fat_t2_ms: Apparent T2 of fat.
        vessel_density: Density of vessels: blood that leaves its slice is dark, blood that enters it bright.
        gamma: Exponent of intensities, of pictures by signal equation.
        tissue_jitter: Largest difference of a tissue from the random mean of its group, in 0..1.
        structure_jitter: Largest difference of a structure from its tissue.
        disc_jitter: The same of discs, beside it.
        rim_probability: That the cortex of bones, and their endplates, are darker than bone by a random share.
        air: Largest intensity of air.
        coarse_texture: Standard deviation of shades within tissues, a share of their intensity.
        coarse_mm: Their size.
        fine_texture: The same from pixel to pixel.
        soft_mm: Width over which the tissues of a disc pass into each other.

    Raises:
        ValueError: If a range is impossible.
    """

    sequences: Mapping[str, Mapping[str, Any]]
    random_share: Number
    tissue_spread: Number
    structure_spread: Number
    disc_spread: Number
    t1_factor: Range
    fat_t2_ms: Range
    vessel_density: Range
    gamma: Range
    tissue_jitter: Number
    structure_jitter: Number
    disc_jitter: Number
    rim_probability: Number
    air: Number
    coarse_texture: Range
    coarse_mm: Number
    fine_texture: Range
    soft_mm: Range
    kinds: Mapping[str, PulseSequence] = field(init=False)

    def __post_init__(self) -> None:
        kinds = {name: PulseSequence(**{str(k): v for k, v in each.items()}) for name, each in self.sequences.items()}
        for name, kind in kinds.items():
            kind.check(f"sequences.{name}")
        if not kinds or not sum(kind.weight for kind in kinds.values()) > 0:
            raise ValueError("augmentation: synthesis.sequences has none with a weight above 0; give one")
        object.__setattr__(self, "kinds", kinds)
        for name in ("random_share", "rim_probability", "air", "tissue_jitter", "structure_jitter", "disc_jitter"):
            check_number(name, getattr(self, name), 0, 1)
        for name in ("tissue_spread", "structure_spread", "disc_spread"):
            check_number(name, getattr(self, name), 0, 2)
        check_range("t1_factor", self.t1_factor, 0.1, 2)
        check_range("fat_t2_ms", self.fat_t2_ms, 1, 1000)
        check_range("vessel_density", self.vessel_density, 1e-3, 2)
        check_range("gamma", self.gamma, 0.1, 10)
        check_number("coarse_mm", self.coarse_mm, 1, 100)
        check_range("soft_mm", self.soft_mm, 0, 20)
        for name in ("coarse_texture", "fine_texture"):
            check_range(name, getattr(self, name), 0, 1)

    def draw(self, rng: Generator, tissues: NumberedTissues) -> dict[str, Any]:
        """The contrast of one picture: "lean" of every tissue number, "fat", and the weights "water" and "of_fat"."""
        by_sequence, at_random = rng.spawn(2)
        if rng.random() < self.random_share:
            found = self.draw_random(at_random, tissues)
        else:
            names = list(self.kinds)
            weights = np.array([self.kinds[name].weight for name in names])
            found = self.draw_sequence(by_sequence, tissues, names[rng.choice(len(names), p=weights / weights.sum())])
        textures = {name: uniform(rng, getattr(self, name)) for name in ("coarse_texture", "fine_texture", "soft_mm")}
        return {**found, **textures}

    def draw_sequence(self, rng: Generator, tissues: NumberedTissues, name: str) -> dict[str, Any]:
        """The contrast of a sequence, its timing and the tissues' values drawn."""
        kind = self.kinds[name]
        values, fat = self._draw_values(rng, tissues)
        timing = {
            "repetition_ms": uniform(rng, kind.repetition_ms),
            "echo_ms": uniform(rng, kind.echo_ms),
            "flip_degrees": uniform(rng, kind.flip_degrees),
            "inversion_ms": float(np.log(2) * fat[1]) if kind.inverted else None,
        }
        *lean, of_fat = magnitude(np.vstack([values, fat]), **timing)
        water, weight = uniform(rng, kind.water), uniform(rng, kind.fat)
        gamma = log_uniform(rng, self.gamma)
        return {"lean": np.array(lean), "fat": of_fat, "water": water, "of_fat": weight, "gamma": gamma}

    def _draw_values(self, rng: Generator, tissues: NumberedTissues) -> tuple[np.ndarray, np.ndarray]:
        """(Density, T1, T2) of every number and of fat, in one person at one field strength."""
        spread = self.tissue_spread * rng.standard_normal((tissues.tissue.max() + 1, 3))[tissues.tissue]
        spread = spread + self.structure_spread * rng.standard_normal(tissues.values.shape)
        discs = tissues.of_group(DISC)
        spread[discs, 2] += self.disc_spread * rng.standard_normal(len(discs))
        scale, vessels = uniform(rng, self.t1_factor), tissues.of_group(VESSEL)
        values = tissues.values * np.exp(spread) * (1, scale, 1)
        values[vessels, 0] = log_uniform(rng, self.vessel_density) * np.exp(spread[vessels, 0])
        fat = np.array([tissues.fat_values[0], tissues.fat_values[1] * scale, uniform(rng, self.fat_t2_ms)])
        return values, fat

    def draw_random(self, rng: Generator, tissues: NumberedTissues) -> dict[str, Any]:
        """Random intensities in 0..1: a mean of each group, from which tissues and structures differ."""
        means = rng.random(tissues.group.max() + 1)
        jitter = self.tissue_jitter * rng.random() * rng.uniform(-1, 1, tissues.tissue.max() + 1)
        lean = means[tissues.group] + jitter[tissues.tissue]
        cortex, bone = tissues.of_group(CORTEX), tissues.of_group(BONE)
        if rng.random() < self.rim_probability and len(cortex) and len(bone):
            lean[cortex] = means[tissues.group[bone[0]]] * rng.random()
        lean += self.structure_jitter * rng.uniform(-1, 1, len(lean))
        discs = tissues.of_group(DISC)
        lean[discs] += self.disc_jitter * rng.uniform(-1, 1, len(discs))
        lean[tissues.of_group(AIR)] = rng.uniform(0, self.air)
        return {"lean": np.abs(lean), "fat": rng.random(), "water": 1.0, "of_fat": 1.0, "gamma": 1.0}


def mixed(
    lean: Float[Tensor, "b h w"],
    fraction: Float[Tensor, "b h w"],
    displaced: Float[Tensor, "b h w"],
    contrast: Mapping[str, Tensor],
) -> Float[Tensor, "b h w"]:
    """Magnitude of lean tissue and fat together.

    Args:
        lean: What the tissue of every pixel gives without fat.
        fraction: Fat fraction of every pixel.
        displaced: The fat fraction that shows there, displaced by its chemical shift.
        contrast: As drawn: "water", "fat" and "of_fat" of every slice.
    """
    water, fat = contrast["water"], contrast["fat"] * contrast["of_fat"]
    return torch.addcmul(lean * (1 - fraction) * water[:, None, None], displaced, fat[:, None, None]).abs_()
