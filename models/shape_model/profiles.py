"""What the picture looks like across a contour: gradients along the normals, and where they look as in training."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates

SHRINKAGE = 0.1  # ours: of a covariance to its diagonal; seven samples of as few as ten cases have no inverse else
SMALLEST_SHARE = 1e-3  # ours: of the mean variance, added to every variance, which may be 0


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One channel of a slice and the size of its pixels.

    Attributes:
        grey: Intensities.
        spacing_mm: Size of a pixel, (row, column).
    """

    grey: Float[np.ndarray, "h w"]
    spacing_mm: tuple[float, float]

    def at(self, points: Float[np.ndarray, "*s 2"]) -> Float[np.ndarray, "*s"]:
        """Linear values at points (x, y), mm from the centre of the first pixel; beyond the edge those of the edge."""
        rows, columns = points[..., 1] / self.spacing_mm[0], points[..., 0] / self.spacing_mm[1]
        return map_coordinates(self.grey, [rows, columns], order=1, mode="nearest")


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """Gradients across every point of the contours of training cases.

    Attributes:
        mean: Of `num_samples` gradients, inside first.
        precision: Inverse of their covariance.
    """

    mean: Float[np.ndarray, "n p k"]
    precision: Float[np.ndarray, "n p k k"]


def gradients(
    picture: Picture,
    points: Float[np.ndarray, "n p 2"],
    normals: Float[np.ndarray, "n p 2"],
    *,
    num_samples: int,
    step_mm: float,
) -> Float[np.ndarray, "n p k"]:
    """Differences of the intensity from one sample to the next along the normals, centred on the points.

    Args:
        picture: The slice.
        points: (x, y) in mm.
        normals: Unit vectors.
        num_samples: How many differences, k.
        step_mm: From one to the next.
    """
    offsets_mm = (np.arange(num_samples + 1) - num_samples / 2) * step_mm
    values = picture.at(points[:, :, None] + offsets_mm[:, None] * normals[:, :, None])
    return np.diff(values, axis=2)


def normed(differences: Float[np.ndarray, "*s k"]) -> Float[np.ndarray, "*s k"]:
    """Gradients as shares of the sum of their sizes: how strong a picture's contrast is does not matter."""
    return differences / np.maximum(np.abs(differences).sum(axis=-1, keepdims=True), 1e-9)


def profiles_of(training: Float[np.ndarray, "s n p k"]) -> Profiles:
    """Mean and precision of training profiles; NaN where a case has no such structure."""
    mean = np.nanmean(training, axis=0)
    off = np.nan_to_num(training - mean)
    count = np.isfinite(training[..., 0]).sum(axis=0)[..., None, None]
    covariance = np.einsum("snpk,snpl->npkl", off, off) / np.maximum(count - 1, 1)
    diagonal = covariance * np.eye(training.shape[-1])
    ground = np.trace(covariance, axis1=2, axis2=3)[..., None, None].mean(axis=1, keepdims=True) / training.shape[-1]
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * diagonal
    covariance = covariance + np.eye(training.shape[-1]) * np.maximum(SMALLEST_SHARE * ground, 1e-9)
    return Profiles(mean=mean, precision=np.linalg.inv(covariance))


def best_offsets(
    picture: Picture,
    points: Float[np.ndarray, "n p 2"],
    normals: Float[np.ndarray, "n p 2"],
    profiles: Profiles,
    *,
    reach_mm: float,
    step_mm: float,
) -> Float[np.ndarray, "n p"]:
    """How far along its normal, mm, each point finds the profile that is most like those of training.

    Likeness is Mahalanobis's distance; of equal ones the nearest place counts.

    Args:
        picture: The slice.
        points: (x, y) in mm.
        normals: Unit vectors, outward.
        profiles: Of the same points.
        reach_mm: How far to look to either side.
        step_mm: From one sample, and one place, to the next.
    """
    num_samples, num_places = profiles.mean.shape[-1], round(reach_mm / step_mm)
    long = gradients(picture, points, normals, num_samples=num_samples + 2 * num_places, step_mm=step_mm)
    windows = np.lib.stride_tricks.sliding_window_view(long, num_samples, axis=2)
    off = normed(windows) - profiles.mean[:, :, None]
    distance = np.einsum("npwk,npkl,npwl->npw", off, profiles.precision, off, optimize=True)
    places = np.arange(-num_places, num_places + 1)
    order = np.argsort(np.abs(places), kind="stable")
    return places[order][distance[..., order].argmin(axis=2)] * step_mm
