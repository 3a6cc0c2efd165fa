"""What scanners add: coil, bias field, saturation band, resolution, ghosts, noise."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy.random import Generator
from torch import Tensor

from datamodules.augmentation.warp import num_knots
from datamodules.reading.geometry import FWHM_PER_SIGMA
from datamodules.synthesis.geometry import View2D, smooth
from datamodules.synthesis.ranges import Number, Range, check_number, check_range, log_uniform, uniform

SPLINE_SD = 0.48  # of a cubic B-spline in the plane whose coefficients have unit variance
BAND_EDGE_MM = 5.0  # over which a saturation band sets in, as in the phantom
REACH = 4  # pixels to either side that a blur takes its means over


@dataclass(frozen=True, kw_only=True)
class ArtefactRanges:
    """From which ranges the faults of a picture are drawn.

    Attributes:
        coil_probability: Of the fall-off of a coil behind the patient.
        coil: Its logarithm over 100 mm from back to front.
        saturation_probability: Of a saturation band in front.
        saturation: Share of the signal that it leaves.
        saturation_mm: Where it begins, in front of the centre of the tissue map.
        bias: Standard deviation of the logarithm of the bias field.
        bias_mm: Distance of its knots.
        resolution_mm: Width at half maximum of a point, along rows and columns apart.
        blur_probability: Of a further blur, as of movement or of a filter.
        blur_mm: Its width.
        ghost_probability: Of a ghost: the picture again, displaced along rows or columns.
        ghost: Its share of the picture.
        ghost_shift: Its displacement, a share of the field.
        shift_probability: Of a chemical shift.
        shift_mm: Displacement of fat along rows or columns.
        noise: Standard deviation of the noise of both parts of the complex signal, as a share of the picture's mean or
            of its own standard deviation, whichever is less.
        noise_blur_mm: Width of the noise, which interpolation and filters smooth.

    Raises:
        ValueError: If a range is impossible.
    """

    coil_probability: Number
    coil: Range
    saturation_probability: Number
    saturation: Range
    saturation_mm: Range
    bias: Range
    bias_mm: Number
    resolution_mm: Range
    blur_probability: Number
    blur_mm: Range
    ghost_probability: Number
    ghost: Range
    ghost_shift: Range
    shift_probability: Number
    shift_mm: Range
    noise: Range
    noise_blur_mm: Range

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self) if each.name.endswith("_probability")):
            check_number(f"artefacts.{name}", getattr(self, name), 0, 1)
        for name, largest in (("coil", 5), ("saturation", 1), ("saturation_mm", 500), ("bias", 2), ("ghost", 1)):
            check_range(f"artefacts.{name}", getattr(self, name), 0, largest)
        for name, largest in (("resolution_mm", 20), ("blur_mm", 20), ("ghost_shift", 1), ("shift_mm", 20)):
            check_range(f"artefacts.{name}", getattr(self, name), 0, largest)
        check_range("artefacts.noise", self.noise, 1e-4, 5)
        check_range("artefacts.noise_blur_mm", self.noise_blur_mm, 0, 20)
        check_number("artefacts.bias_mm", self.bias_mm, 10, 1000)

    def draw(self, rng: Generator, largest_mm: float) -> dict[str, Any]:
        """The faults of one picture.

        Args:
            rng: What to draw from.
            largest_mm: Longest side of a field of view, which the bias field has to cover.
        """
        knots = num_knots(2, largest_mm, self.bias_mm)
        happens = {name: rng.random() < getattr(self, f"{name}_probability") for name in ("coil", "saturation", "blur")}
        blur = uniform(rng, self.blur_mm, 2) * happens["blur"]
        ghost = uniform(rng, self.ghost) * (rng.random() < self.ghost_probability)
        shift = uniform(rng, self.shift_mm) * rng.choice([-1, 1]) * (rng.random() < self.shift_probability)
        across, ghost_across = rng.random(2) < 0.5
        left = uniform(rng, self.saturation)
        return {
            "coil": uniform(rng, self.coil) * happens["coil"],
            "saturation": left if happens["saturation"] else 1.0,
            "saturation_mm": uniform(rng, self.saturation_mm),
            "bias": rng.standard_normal((1, knots, knots)) * uniform(rng, self.bias) / SPLINE_SD,
            "width_mm": (uniform(rng, self.resolution_mm, 2) ** 2 + blur**2) ** 0.5,
            "ghost": ghost,
            "ghost_shift": uniform(rng, self.ghost_shift),
            "ghost_across": ghost_across,
            "fat_shift": (0.0, shift) if across else (shift, 0.0),
            "noise": log_uniform(rng, self.noise),
            "noise_width_mm": uniform(rng, self.noise_blur_mm),
        }


def gain(
    faults: Mapping[str, Tensor], view: View2D, ahead_mm: Float[Tensor, "b h w"], bias_mm: float
) -> Float[Tensor, "b h w"]:
    """Coil, bias field and saturation band together.

    Args:
        faults: As drawn.
        view: The pixels.
        ahead_mm: How far each lies behind the centre of the tissue map; negative in front of it.
        bias_mm: Distance of the knots of the bias field.
    """
    logarithm = smooth(faults["bias"], view.rows_mm, view.columns_mm, bias_mm)[:, 0]
    logarithm.addcmul_(ahead_mm, faults["coil"][:, None, None] / 100)
    left = faults["saturation"][:, None, None]
    unsaturated = ((ahead_mm + faults["saturation_mm"][:, None, None]) / BAND_EDGE_MM).sigmoid_()
    return logarithm.exp_() * (left + (1 - left) * unsaturated)


def blurred(images: Float[Tensor, "b c h w"], sigma_px: Float[Tensor, "b c 2"]) -> Float[Tensor, "b c h w"]:
    """Gaussian blur with a standard deviation of its own along rows and columns of every image."""
    b, c, h, w = images.shape
    places = torch.arange(-REACH, REACH + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (places / sigma_px.clamp_min(1e-3)[..., None]) ** 2)
    kernel = (kernel / kernel.sum(dim=-1, keepdim=True)).reshape(b * c, 2, 1, -1)
    flat = F.pad(images.reshape(1, b * c, h, w), [REACH] * 4, mode="replicate")
    flat = F.conv2d(flat, kernel[:, 0, :, :, None], groups=b * c)
    return F.conv2d(flat, kernel[:, 1, :, None, :], groups=b * c).view(b, c, h, w)


def with_ghosts(
    image: Float[Tensor, "b h w"], faults: Mapping[str, Tensor], field_px: Float[Tensor, "b 2"]
) -> Float[Tensor, "b h w"]:
    """Adds to the pictures that have one their ghost, which comes in again at the other side."""
    found = []
    drawn = (faults["ghost"], faults["ghost_shift"], faults["ghost_across"], field_px)
    for picture, share, shift, across, size in zip(image, *(each.tolist() for each in drawn), strict=True):
        axis = int(across)
        found.append(picture + share * picture.roll(round(shift * size[axis]), axis) if share else picture)
    return torch.stack(found)


def rician(signal: Float[Tensor, "b h w"], noise: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b h w"]:
    """Magnitude of a signal with noise in both parts of it."""
    return torch.hypot(signal + noise[:, 0], noise[:, 1])


def sigma_px(width_mm: Float[Tensor, "b 2"], spacing_mm: Float[Tensor, "b 2"]) -> Float[Tensor, "b 2"]:
    """Standard deviation, in pixels, that widens a pixel to a width at half maximum."""
    return ((width_mm / spacing_mm) ** 2 - 1).clamp_min(0).sqrt() / FWHM_PER_SIGMA


def mean_and_deviation(
    picture: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]
) -> tuple[Float[Tensor, "b 1 1"], Float[Tensor, "b 1 1"]]:
    """Of the pixels inside; of none: 0 and 1."""
    number = inside.sum(dim=(1, 2), keepdim=True).clamp_min(1)
    mean = (picture * inside).sum(dim=(1, 2), keepdim=True) / number
    variance = ((picture - mean).square() * inside).sum(dim=(1, 2), keepdim=True) / number
    return mean, torch.where(variance > 0, variance, 1).sqrt()
