"""Shapes without place, size and turn, and how they vary: Procrustes analysis and a linear model of its residuals.

Cootes et al., Active shape models (1995), is the method; all that is computed here is its textbook form. A point (x, y)
is the complex number x + iy, of which a similarity is a multiplication and a sum.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

CONVERGED = 1e-10
MOST_ROUNDS = 100


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """A turn and a scale by a complex factor, then a shift; x + iy stands for (x, y)."""

    factor: complex
    shift: complex

    def __call__(self, points: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, "p 2"]:
        """Moves points."""
        return as_points(self.factor * as_complex(points) + self.shift)

    def undo(self, points: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, "p 2"]:
        """Moves points back."""
        return as_points((as_complex(points) - self.shift) / self.factor)


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Shapes of one structure: their mean and the directions in which they differ from it.

    Attributes:
        mean: Of centre 0 and size 1 (root of the summed squares).
        modes: Orthonormal, the largest variation first; m of them.
        sd: Standard deviation of the score of each mode.
    """

    mean: Float[np.ndarray, "p 2"]
    modes: Float[np.ndarray, "m p*2"]
    sd: Float[np.ndarray, " m"]

    def scores(self, shape: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, " m"]:
        """How far an aligned shape goes along every mode."""
        return self.modes @ (shape - self.mean).ravel()

    def shape(self, scores: Float[np.ndarray, " m"]) -> Float[np.ndarray, "p 2"]:
        """The aligned shape of these scores."""
        return self.mean + (scores @ self.modes).reshape(self.mean.shape)

    def nearest(self, points: Float[np.ndarray, "p 2"], limit_sd: float) -> tuple[Float[np.ndarray, "p 2"], Similarity]:
        """The model's shape nearest to points, every score within so many standard deviations, and its pose there."""
        pose = similarity(self.mean, points)
        scores = np.clip(self.scores(pose.undo(points)), -limit_sd * self.sd, limit_sd * self.sd)
        shape = self.shape(scores)
        return shape, similarity(shape, points)


def similarity(source: Float[np.ndarray, "p 2"], target: Float[np.ndarray, "p 2"]) -> Similarity:
    """The similarity that brings points nearest to others, by least squares."""
    a, b = as_complex(source), as_complex(target)
    centred = a - a.mean()
    factor = complex(np.vdot(centred, b - b.mean()) / np.vdot(centred, centred).real)
    return Similarity(factor=factor, shift=complex(b.mean() - factor * a.mean()))


def aligned(shapes: Float[np.ndarray, "s p 2"]) -> tuple[Float[np.ndarray, "p 2"], Float[np.ndarray, "s p 2"]]:
    """Generalised Procrustes analysis: the mean shape, and all shapes brought onto it, in its tangent plane.

    Args:
        shapes: Of the same numbered points.

    Returns:
        The mean, of centre 0, size 1 and the first shape's turn; and the shapes, whose mean it is.
    """
    mean = _normed(as_complex(shapes[0]))
    own = np.stack([_normed(as_complex(shape)) for shape in shapes])
    for _ in range(MOST_ROUNDS):
        new = _normed(_turned(own, mean).mean(axis=0))
        done, mean = np.abs(new - mean).max() < CONVERGED, new
        if done:
            break
    turned = _turned(own, mean)
    tangent = turned / np.real(turned.conj() @ mean)[:, None]  # so that size is no part of how shapes differ
    return as_points(mean), as_points(tangent)


def shapes_of(shapes: Float[np.ndarray, "s p 2"], share: float) -> Shapes:
    """The model of training shapes, with as many modes as make up a share of their variance.

    Args:
        shapes: Of the same numbered points, in any pose.
        share: Of the variance, above 0 and up to 1, where all modes are kept.
    """
    _, residuals = aligned(shapes)
    mean = residuals.mean(axis=0)
    differences = (residuals - mean).reshape(len(shapes), -1)
    _, singular, modes = np.linalg.svd(differences, full_matrices=False)
    variance = singular**2 / max(len(shapes) - 1, 1)
    real = variance > 1e-12 * max(float(variance.sum()), 1e-12)
    explained = variance.cumsum() / max(float(variance.sum()), 1e-300)
    kept = real & (np.concatenate([[0.0], explained[:-1]]) < share)
    return Shapes(mean=mean, modes=modes[kept], sd=np.sqrt(variance[kept]))


def as_complex(points: Float[np.ndarray, "*s p 2"]) -> Complex[np.ndarray, "*s p"]:
    """(x, y) as x + iy."""
    return points[..., 0] + 1j * points[..., 1]


def as_points(numbers: Complex[np.ndarray, "*s p"]) -> Float[np.ndarray, "*s p 2"]:
    """X + iy as (x, y)."""
    return np.stack([np.real(numbers), np.imag(numbers)], axis=-1)


def _normed(shape: Complex[np.ndarray, " p"]) -> Complex[np.ndarray, " p"]:
    centred = shape - shape.mean()
    return centred / np.linalg.norm(centred)


def _turned(shapes: Complex[np.ndarray, "s p"], mean: Complex[np.ndarray, " p"]) -> Complex[np.ndarray, "s p"]:
    """Shapes turned to the mean."""
    along = shapes.conj() @ mean
    return shapes * (along / np.abs(along))[:, None]
