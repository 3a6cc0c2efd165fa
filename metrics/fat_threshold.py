"""The intensity above which a pixel of muscle is fat, found from the intensities alone.

All of these assume a picture on which fat is bright and lean muscle dark (T2, or T2-like), and all of them find a
threshold whether there is fat or not: `metrics.fat.ThresholdFat` asks whether to believe it.
"""

import warnings
from dataclasses import dataclass
from math import nan
from typing import Any, Protocol, runtime_checkable

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float

NUM_BINS = 1024  # of Otsu's histogram: a thousandth of the range, though a single bright vessel may stretch it
NUM_STEPS = 1024  # between which a mixture's boundary is looked for
SEED = 0


@runtime_checkable
class ThresholdAlgorithm(Protocol):
    """Finds a threshold in the intensities of the pixels of a muscle."""

    def __call__(self, intensity: Float[np.ndarray, " p"]) -> float:
        """Intensity above which a pixel is fat; NaN where there is none, as in equal intensities."""
        ...


@dataclass(frozen=True)
class Otsu:
    """Otsu's threshold (1979): the two classes with the largest variance between them."""

    def __call__(self, intensity: Float[np.ndarray, " p"]) -> float:
        """Intensity above which a pixel is fat; NaN for equal intensities."""
        if _num_values(intensity) < 2:
            return nan
        otsu = sitk.OtsuThresholdImageFilter()
        otsu.SetNumberOfHistogramBins(NUM_BINS)
        otsu.Execute(sitk.GetImageFromArray(intensity.astype(np.float64)[None]))
        return float(otsu.GetThreshold())


@dataclass(frozen=True)
class KMeans:
    """Halfway between the two brightest centres of k-means.

    With two clusters this is Otsu's threshold without a histogram, so three are usual: lean muscle, pixels that are
    partly fat, and fat. The middle cluster counts as muscle.

    Attributes:
        num_clusters: Number of tissues.
    """

    num_clusters: int = 3

    def __call__(self, intensity: Float[np.ndarray, " p"]) -> float:
        """Intensity above which a pixel is fat; NaN for fewer different intensities than clusters."""
        if _num_values(intensity) < self.num_clusters:
            return nan
        from sklearn import cluster  # here: its import costs every run a second

        starts = _spread_out(intensity, self.num_clusters)
        k_means: Any = cluster.KMeans  # whose stubs know starts by name alone
        search = k_means(self.num_clusters, init=starts, n_init=1, random_state=SEED)
        centres = np.sort(search.fit(intensity[:, None]).cluster_centers_[:, 0])
        return float((centres[-2] + centres[-1]) / 2)


@dataclass(frozen=True)
class GaussianMixture:
    """Where a pixel more likely belongs to the brightest component of a mixture of Gaussians than to the others.

    Attributes:
        num_components: Two (muscle, fat) or three (between them, pixels that are partly fat: they count as muscle).
    """

    num_components: int = 2

    def __call__(self, intensity: Float[np.ndarray, " p"]) -> float:
        """Intensity above which a pixel is fat; NaN where no intensity makes fat the likelier."""
        if _num_values(intensity) < 2 * self.num_components:
            return nan
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Mixture

        scaled = (intensity - intensity.mean()) / intensity.std()
        mixture = Mixture(
            self.num_components, means_init=_spread_out(scaled, self.num_components), max_iter=500, random_state=SEED
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last step is as good a threshold as any
            mixture.fit(scaled[:, None])
        means = np.asarray(mixture.means_)[:, 0]
        order = np.argsort(means)
        # A wide component is the likelier one on both flanks of a narrow one: only the upper flank is fat.
        steps = np.linspace(float(means[order[-2]]), float(scaled.max()), NUM_STEPS)
        below = np.flatnonzero(mixture.predict_proba(steps[:, None])[:, order[-1]] <= 0.5)
        if len(below) == 0 or below[-1] == NUM_STEPS - 1:
            return nan
        return float(steps[below[-1]] * intensity.std() + intensity.mean())


def separation(intensity: Float[np.ndarray, " p"], threshold: float) -> float:
    """Distance of the means above and below a threshold, in standard deviations of what lies below.

    Does not change with the scale or the offset of the intensities. 2.6 for one Gaussian cut in half, 3.5 for a flat
    distribution (lean muscle under a strong shading); infinite where everything below is equal; NaN where either side
    is empty.
    """
    above, below = intensity[intensity > threshold], intensity[intensity <= threshold]
    if not (len(above) and len(below)):
        return nan
    spread = float(below.std())
    return float(above.mean() - below.mean()) / spread if spread > 0 else float("inf")


def _num_values(intensity: Float[np.ndarray, " p"]) -> int:
    return len(np.unique(intensity))


def _spread_out(intensity: Float[np.ndarray, " p"], count: int) -> Float[np.ndarray, "n 1"]:
    """Where the search begins: evenly from the darkest to the brightest percentile, so that a few bright pixels count.

    Quantiles would all start in lean muscle, where most pixels are.
    """
    low, high = np.percentile(intensity, [5, 99])
    return np.linspace(low, high, count)[:, None]
