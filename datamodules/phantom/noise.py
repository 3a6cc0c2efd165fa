"""Smooth random fields over the whole body, so that neighbouring slices and other views of one patient agree."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A slice through the patient: pixel (i, j) lies at `origin + i * row_step + j * column_step`.

    Axes are (x, y, z): millimetres toward the patient's left, posterior and up, as in image headers (LPS).
    """

    origin: Float[Array, "3"]
    row_step: Float[Array, "3"]
    column_step: Float[Array, "3"]
    shape: tuple[int, int]

    @property
    def pixel_mm(self) -> float:
        """Distance of neighbouring rows."""
        return float(np.linalg.norm(self.row_step))

    def coordinates(self) -> tuple[Float[Array, "h w"], Float[Array, "h w"], Float[Array, "h w"]]:
        """The x, y and z of every pixel."""
        rows, columns = np.arange(self.shape[0], dtype=float)[:, None], np.arange(self.shape[1], dtype=float)[None]
        axes = zip(self.origin, self.row_step, self.column_step, strict=True)
        x, y, z = ((start + rows * down + columns * across).astype(np.float32) for start, down, across in axes)
        return x, y, z


@dataclass(frozen=True)
class SpectralNoise:
    """A sum of plane waves in three dimensions: zero mean, unit variance, defined at every point.

    On a plane the phase of each wave is linear in row and column, so a slice is a matrix product instead of a sum of
    images.

    Attributes:
        waves: Wave vectors in radians per millimetre.
        phase: Phase of each wave in radians.
    """

    waves: Float[Array, "k 3"]
    phase: Float[Array, " k"]

    @classmethod
    def draw(
        cls,
        rng: Generator,
        *,
        wavelength_mm: tuple[float, float],
        num_waves: int = 96,
        stretch: tuple = (1.0, 1.0, 1.0),
    ) -> "SpectralNoise":
        """Draws waves of log-uniform length; `stretch` lengthens the structures along x, y, z."""
        direction = rng.normal(size=(num_waves, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length = np.exp(rng.uniform(*np.log(wavelength_mm), size=num_waves))
        waves = 2 * np.pi / length[:, None] * direction / np.asarray(stretch)
        return cls(waves, rng.uniform(0, 2 * np.pi, size=num_waves))

    def on(self, plane: Plane, *, points: bool = False) -> Float[Array, "h w"]:
        """The field on a plane; waves that its pixels cannot show are damped, as averaging over a pixel does.

        Args:
            plane: Where.
            points: Whether to give the values at the centres of the pixels instead of averages.
        """
        down, across = self.waves @ plane.row_step, self.waves @ plane.column_step
        amplitude = np.full(len(self.phase), np.sqrt(2 / len(self.phase)))
        if not points:
            amplitude *= np.sinc(down / (2 * np.pi)) * np.sinc(across / (2 * np.pi))
        rows = np.arange(plane.shape[0])[:, None] * down + self.waves @ plane.origin + self.phase
        columns = np.arange(plane.shape[1])[:, None] * across
        left = np.concatenate([amplitude * np.cos(rows), -amplitude * np.sin(rows)], axis=1)
        right = np.concatenate([np.cos(columns), np.sin(columns)], axis=1)
        return left.astype(np.float32) @ right.astype(np.float32).T
