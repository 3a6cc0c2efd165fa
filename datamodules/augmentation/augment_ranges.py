"""From which ranges the random changes of a slice are drawn; both augmentations draw them here, in one order."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import cos, log, radians, sin

import numpy as np
import torch

from datamodules.anatomy import Anatomy
from datamodules.augmentation.warp import SPLINE_SIGMA, Warp, check_folding, num_knots


@dataclass(frozen=True, kw_only=True)
class Recolouring:
    """Change of intensities of one slice; arrays hold one value per input channel.

    Attributes:
        gamma: Exponent applied between the minimum and the maximum of the channel.
        gain: Factor about 0, which is the mean of a z-scored slice.
        offset: Added afterwards, in standard deviations of the slice.
    """

    gamma: np.ndarray
    gain: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True, kw_only=True)
class AugmentationRanges:
    """Ranges and probabilities of the random changes. Every draw is uniform (of `gamma`: of its logarithm).

    Whatever happens, the same numbers are drawn in the same order, so that changing one range does not reshuffle the
    others. Lengths are in millimetres of the patient and rotations keep right angles on pixels that are not square.

    Attributes:
        anatomy: Says whether slices have a left and a right (view axial), and what changes sides in a flip.
        rotate_degrees: Largest rotation to either side.
        scale: Smallest and largest magnification.
        shift_fraction: Largest shift along each axis, as a fraction of the image's size.
        elastic_sigma_mm: Smoothness of the elastic displacement: standard deviation of the bell (a cubic B-spline) that
            random displacements are smoothed with.
        elastic_magnitude_mm: Largest possible elastic displacement along each axis; the typical one is a quarter of it.
        optical_distortion: Largest share, in 0..0.1, by which a lens would displace the corners, outwards or inwards;
            it comes with the affine part.
        gamma: Smallest and largest exponent of intensities; (1, 1) for none.
        brightness: Largest change of intensity, in standard deviations of the slice.
        contrast: Largest relative change of contrast.
        noise_std: Largest standard deviation of added Gaussian noise, in standard deviations of the slice.
        flip_probability: Of a flip left to right, where the view is axial; sagittal slices are never flipped.
        affine_probability: Of rotation, scale and shift together.
        elastic_probability: Of the elastic displacement.
        intensity_probability: Of gamma, brightness and contrast together.
        noise_probability: Of noise.

    Raises:
        ValueError: If a value is out of its range or the elastic displacement could fold the image.
    """

    anatomy: Anatomy
    rotate_degrees: float
    scale: Sequence[float]
    shift_fraction: float
    elastic_sigma_mm: float
    elastic_magnitude_mm: float
    gamma: Sequence[float]
    brightness: float
    contrast: float
    noise_std: float
    flip_probability: float
    affine_probability: float
    elastic_probability: float
    intensity_probability: float
    noise_probability: float
    optical_distortion: float = 0.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.name.endswith("_probability")):
            self._require(name, 0 <= getattr(self, name) <= 1, "a probability in 0..1")
        for name in ("rotate_degrees", "elastic_magnitude_mm", "brightness", "noise_std"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        for name in ("scale", "gamma"):
            pair = getattr(self, name)
            self._require(name, len(pair) == 2 and 0 < pair[0] <= pair[1], "[smallest, largest], both above 0")
        self._require("shift_fraction", 0 <= self.shift_fraction < 0.5, "a fraction of the image in 0..0.5")
        self._require("contrast", 0 <= self.contrast < 1, "a fraction in 0..1")
        self._require("elastic_sigma_mm", self.elastic_sigma_mm > 0, "above 0")
        self._require("optical_distortion", 0 <= self.optical_distortion <= 0.1, "a share in 0..0.1")
        check_folding(
            sigma_mm=self.elastic_sigma_mm,
            magnitude_mm=self.elastic_magnitude_mm,
            largest_scale=max(1.0, *self.scale),
            optical=self.optical_distortion,
        )

    @property
    def in_words(self) -> list[str]:
        """What is drawn from where, and in which share of the slices; what is off is left out."""
        named = {
            f"rotation up to {self.rotate_degrees:g}° to either side": self.rotate_degrees > 0,
            f"scale {self.scale[0]:g} to {self.scale[1]:g}": tuple(self.scale) != (1, 1),
            f"shift up to {100 * self.shift_fraction:g} % of each side": self.shift_fraction > 0,
            f"optical distortion up to {100 * self.optical_distortion:g} % at the corners": self.optical_distortion > 0,
        }
        bent = f"elastic displacement up to {self.elastic_magnitude_mm:g} mm, smooth over {self.elastic_sigma_mm:g} mm"
        shades = {
            f"brightness up to {self.brightness:g} SD": self.brightness > 0,
            f"contrast up to {100 * self.contrast:g} %": self.contrast > 0,
            f"gamma {self.gamma[0]:g} to {self.gamma[1]:g}": tuple(self.gamma) != (1, 1),
        }
        flips = self.flip_probability if self.anatomy.view == "axial" else 0.0
        kinds = (
            (named, self.affine_probability),
            ({bent: self.elastic_magnitude_mm > 0}, self.elastic_probability),
            ({"flip left to right, sides swapped": True}, flips),
            (shades, self.intensity_probability),
            ({f"noise up to {self.noise_std:g} SD": self.noise_std > 0}, self.noise_probability),
        )
        together = [(", ".join(text for text, on in each.items() if on), share) for each, share in kinds]
        return [f"{text} ({_share(share)})" for text, share in together if text and share > 0]

    def draw_flip(self, rng: np.random.Generator) -> bool:
        """Whether to flip the slice left to right."""
        return bool(rng.random() < self.flip_probability) and self.anatomy.view == "axial"

    def draw_warp(self, rng: np.random.Generator, *, size: tuple[int, int], spacing_mm: Sequence[float]) -> Warp | None:
        """Map of one slice, or None where it stays as it is.

        Args:
            rng: What to draw from.
            size: (rows, columns) of the slice.
            spacing_mm: Size of a pixel, (row, column).
        """
        affine, elastic = rng.random(2) < (self.affine_probability, self.elastic_probability)
        angle = radians(rng.uniform(-1, 1) * self.rotate_degrees) * affine
        drawn_scale = rng.uniform(self.scale[0], self.scale[1])
        scale = drawn_scale if affine else 1.0
        extent_mm = np.multiply(size, spacing_mm)[::-1]
        shift_mm = rng.uniform(-1, 1, 2) * self.shift_fraction * extent_mm * affine
        knot_mm = self.elastic_sigma_mm / SPLINE_SIGMA
        knots = [num_knots(length, mm, knot_mm) for length, mm in zip(size, spacing_mm, strict=True)]
        control_mm = rng.uniform(-1, 1, (2, *knots)) * self.elastic_magnitude_mm * elastic
        # A stream of its own: the others draw what they drew before there was an optical distortion.
        optical = rng.spawn(1)[0].uniform(-1, 1) * self.optical_distortion * affine
        if not affine and not elastic:
            return None
        linear = np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]]) / scale
        return Warp(
            linear=_tensor(linear),
            shift_mm=_tensor(-linear @ shift_mm),
            optical=_tensor(optical),
            control_mm=_tensor(control_mm),
            knot_mm=knot_mm,
            spacing_mm=_tensor(spacing_mm),
            size=size,
        )

    def draw_recolouring(self, rng: np.random.Generator, num_channels: int) -> Recolouring | None:
        """Change of intensities of one slice, channel by channel, or None where they stay as they are."""
        chosen = rng.random() < self.intensity_probability
        gamma = np.exp(rng.uniform(log(self.gamma[0]), log(self.gamma[1]), num_channels))
        gain = 1 + rng.uniform(-1, 1, num_channels) * self.contrast
        offset = rng.uniform(-1, 1, num_channels) * self.brightness
        return Recolouring(gamma=gamma, gain=gain, offset=offset) if chosen else None

    def draw_noise_std(self, rng: np.random.Generator) -> float:
        """Standard deviation of the noise to add to one slice; 0 for none."""
        chosen, fraction = rng.random() < self.noise_probability, rng.random()
        return float(fraction * self.noise_std * chosen)

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ValueError(f"augmentation: {name} is {getattr(self, name)}, expected {expected}")


def _share(probability: float) -> str:
    return "in every slice" if probability == 1 else f"in {100 * probability:g} % of slices"


def _tensor(values: "np.ndarray | Sequence[float] | float") -> torch.Tensor:
    """A batch of one."""
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)[None]
