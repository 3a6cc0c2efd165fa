"""Step 4: coil, saturation, blur, chemical shift and noise of the scanner."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt16
from numpy.random import Generator
from scipy.ndimage import gaussian_filter, shift

from datamodules.phantom.canvas import Section
from datamodules.phantom.noise import Plane, SpectralNoise
from datamodules.phantom.patient import Patient

Array = np.ndarray
_STREAM = 4
_DIXON_GAIN = (
    4.0  # of the signal-to-noise ratio: gradient echoes in three dimensions; the public volunteers' are smooth
)


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """The examination of one patient.

    Attributes:
        coil_mm: Depth below the skin at which the surface coil has lost half of its gain.
        coil_steepness: Exponent of the fall-off; below 1 where the scanner has evened it out.
        saturation_mm: Depth of the anterior saturation band.
        saturation: Part of the signal that the band leaves.
        bias: Smooth shading.
        bias_amount: Standard deviation of its logarithm.
        blur_mm: Standard deviation of the point spread in the plane.
        chemical_shift_mm: Displacement of fat along rows and columns.
        snr: Mean signal of lean paraspinal muscle over the noise.
        scale: Grey values per unit of signal.
    """

    coil_mm: float
    coil_steepness: float
    saturation_mm: float
    saturation: float
    bias: SpectralNoise
    bias_amount: float
    blur_mm: float
    chemical_shift_mm: tuple[float, float]
    snr: float
    scale: float


def draw_scanner(patient: Patient) -> Scanner:
    """Draws the examination of a patient."""
    rng = patient.rng(_STREAM)
    displaced = rng.uniform(0.3, 1.3) * rng.choice([-1, 1])
    along_rows = rng.random() < 0.5
    return Scanner(
        coil_mm=rng.uniform(55, 95),
        coil_steepness=rng.uniform(0.8, 1.9),
        saturation_mm=rng.uniform(95, 135),
        saturation=rng.uniform(0.08, 0.5),
        bias=SpectralNoise.draw(rng, wavelength_mm=(150.0, 400.0), num_waves=32),
        bias_amount=rng.uniform(0.04, 0.14),
        blur_mm=rng.uniform(0.28, 0.5),
        chemical_shift_mm=(displaced, 0.0) if along_rows else (0.0, displaced),
        snr=round(float(np.exp(rng.uniform(np.log(8), np.log(25)))), 2),
        scale=float(np.exp(rng.uniform(np.log(900), np.log(2600)))),
    )


def acquire(
    lean: Float[Array, "h w"],
    fat: Float[Array, "h w"],
    *,
    section: Section,
    plane: Plane,
    scanner: Scanner,
    muscle_signal: float,
    rng: Generator,
    dixon: bool = False,
) -> dict[str, UInt16[Array, "h w"]]:
    """What the scanner stores: one "image", or "water" and "fat" apart.

    Args:
        lean: Signal of the lean part of every pixel.
        fat: Signal of the fat part.
        section: The truth, for the depth below the skin.
        plane: Where the slice lies.
        scanner: The examination.
        muscle_signal: Signal of lean muscle, which the signal-to-noise ratio refers to.
        rng: Source of the noise of this slice.
        dixon: Whether water and fat are told apart; then fat is not displaced either.
    """
    moved = np.array(scanner.chemical_shift_mm) / plane.pixel_mm
    parts = {"water": lean, "fat": fat} if dixon else {"image": lean + shift(fat, moved, order=1, mode="nearest")}
    gain = _gain(section, plane, scanner)
    inside = (section.depth_mm > 35) & (section.depth_mm < 60)
    reference = float(gain[inside].mean()) if inside.any() else 1.0
    sigma = muscle_signal * reference / (scanner.snr * (_DIXON_GAIN if dixon else 1))
    stored = {}
    for name, signal in parts.items():
        image = gaussian_filter(signal * gain, scanner.blur_mm / plane.pixel_mm, truncate=3)
        noise = rng.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(sigma)
        magnitude = np.hypot(image + noise[0], noise[1]) / reference * scanner.scale
        stored[name] = np.clip(np.rint(magnitude), 0, 65535).astype(np.uint16)
    return stored


def _gain(section: Section, plane: Plane, scanner: Scanner) -> Float[Array, "h w"]:
    """Coil sensitivity, saturation band and shading."""
    depth = np.maximum(section.depth_mm, 0)
    coil = 1 / (1 + (depth / scanner.coil_mm) ** 2) ** (scanner.coil_steepness / 2)
    band = 1 / (1 + np.exp(np.clip((depth - scanner.saturation_mm) / 5, -30, 30)))
    saturated = scanner.saturation + (1 - scanner.saturation) * band
    return (coil * saturated * np.exp(scanner.bias_amount * scanner.bias.on(plane))).astype(np.float32)
