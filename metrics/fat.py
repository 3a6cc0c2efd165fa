"""Which pixels of a muscle are fat: by threshold, by the network's own class, or as measured by a Dixon pair."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Integer

from metrics.fat_threshold import ThresholdAlgorithm, separation

# measured: fat and muscle were told apart · lean: one dark tissue, so no fat · unclear: one tissue that is not dark, or
# a picture on which muscle is as bright as fat · constant: all pixels are equal · contrast: of a kind that the method
# is not for · empty: no pixel · few_pixels: too few to tell · unlabelled: not drawn in this case.
FatState = Literal["measured", "lean", "unclear", "constant", "contrast", "empty", "few_pixels", "unlabelled"]
KNOWN: tuple[FatState, ...] = ("measured", "lean")  # with a share of fat; all others have none


@dataclass(frozen=True, kw_only=True)
class MusclePixels:
    """Pixels of the muscles of one slice that share a threshold.

    Attributes:
        where: Case, slice and structure, for messages.
        contrast: Of the image, as the cohort says ("T2"), or "".
        intensity: Of the image, on a scale that all slices of the patient share.
        unit: Muscle and side of each pixel, as an index that the owner of this record understands.
        fraction: Measured signal fraction of fat, NaN where there is no signal; None where nothing was measured.
        labelled_fat: Whether the mask says fat; None where it has no such class.
        darkest: 1st percentile of the whole picture: air.
        brightest: 99th percentile of the whole picture: subcutaneous fat, or water in the dural sac.
    """

    where: str
    contrast: str
    intensity: Float[np.ndarray, " p"]
    unit: Integer[np.ndarray, " p"]
    fraction: Float[np.ndarray, " p"] | None = None
    labelled_fat: Bool[np.ndarray, " p"] | None = None
    darkest: float = nan
    brightest: float = nan


@dataclass(frozen=True, kw_only=True)
class FatPixels:
    """What a method says of the pixels of one slice: which are fat, where its state is one of KNOWN."""

    state: FatState
    is_fat: Bool[np.ndarray, " p"] | None = None


@runtime_checkable
class FatMethod(Protocol):
    """Finds the fat in the muscles of a patient."""

    name: str

    def find(self, slices: Sequence[MusclePixels]) -> list[FatPixels]:
        """Which pixels are fat, for each of the slices of one patient."""
        ...


@dataclass(frozen=True, kw_only=True)
class ThresholdFat:
    """Fat is what is brighter than a threshold, if the threshold parts two tissues.

    Every algorithm finds a threshold in lean muscle, too: between its noisier and its quieter half. So the two classes
    are looked at before they are believed, relative to the picture's own darkest and brightest percent; shifting or
    scaling all intensities changes nothing:

    * *lean*: the bright class is neither bright (`min_brightness`) nor far from the dark one (`min_separation`): none.
    * *unclear*: the bright class is less than `min_contrast` times as bright as the dark one, though bright: all fat,
      or an image on which lean muscle is bright (water alone, water + fat). No number. Muscles that are mostly fat pass
      on such an image as well: `contrasts` is there for them.

    Attributes:
        name: What tables call it.
        algorithm: Finds the threshold.
        pooled_by: "patient": one threshold for all slices of a patient that have the same contrast, or "slice".
        contrasts: Contrasts on which fat is bright and muscle dark. Others are refused; "" is a case whose cohort does
            not say, which is trusted.
        min_brightness: Of the mean of the bright class, between the darkest (0) and the brightest (1) of the picture.
        min_separation: See `metrics.fat_threshold.separation`.
        min_contrast: Ratio of the means of the classes above the picture's darkest.
        fewest_pixels: Pixels below which no threshold is sought.

    Raises:
        ValueError: If `pooled_by` is unknown.
    """

    name: str
    algorithm: ThresholdAlgorithm
    pooled_by: Literal["patient", "slice"]
    contrasts: Sequence[str]
    min_brightness: float
    min_separation: float
    min_contrast: float
    fewest_pixels: int

    def __post_init__(self) -> None:
        if self.pooled_by not in ("patient", "slice"):
            raise ValueError(f"fat method {self.name}: pooled_by is {self.pooled_by!r}, expected 'patient' or 'slice'")

    def find(self, slices: Sequence[MusclePixels]) -> list[FatPixels]:
        """Thresholds each pool and judges it as one; a slice without a pixel is "empty" and pools with none."""
        pools: dict[tuple[str, int], list[int]] = defaultdict(list)
        for index, pixels in enumerate(slices):
            pools[pixels.contrast, index if self.pooled_by == "slice" else 0].append(index)
        found: dict[int, FatPixels] = {}
        for (contrast, _), indices in pools.items():
            members = [slices[index] for index in indices]
            state, threshold = self._judge(contrast, [pixels for pixels in members if len(pixels.intensity)])
            for index, pixels in zip(indices, members, strict=True):
                is_fat = pixels.intensity > threshold if state == "measured" else np.zeros(len(pixels.unit), bool)
                empty = state in KNOWN and not len(is_fat)
                found[index] = FatPixels(state="empty" if empty else state, is_fat=is_fat if state in KNOWN else None)
        return [found[index] for index in range(len(slices))]

    def _judge(self, contrast: str, slices: Sequence[MusclePixels]) -> tuple[FatState, float]:
        if contrast and contrast not in self.contrasts:
            return "contrast", nan
        if not slices:
            return "empty", nan
        intensity = np.concatenate([pixels.intensity for pixels in slices]).astype(np.float64)
        if not np.isfinite(intensity).all():
            raise ValueError(
                f"{slices[0].where}: the image has undefined intensities inside the muscle; check the file"
            )
        if len(intensity) < self.fewest_pixels:
            return "few_pixels", nan
        if np.ptp(intensity) == 0:
            return "constant", nan
        threshold = self.algorithm(intensity)
        darkest, brightest = (
            float(np.mean([getattr(pixels, name) for pixels in slices])) for name in ("darkest", "brightest")
        )
        return self._believe(intensity, threshold, darkest, brightest), threshold

    def _believe(
        self, intensity: Float[np.ndarray, " p"], threshold: float, darkest: float, brightest: float
    ) -> FatState:
        above = intensity > threshold
        if not above.any() or above.all() or not brightest > darkest:
            return "unclear"
        bright, dark = (float(intensity[part].mean() - darkest) for part in (above, ~above))
        is_bright = bright >= self.min_brightness * (brightest - darkest)
        if not is_bright and separation(intensity, threshold) < self.min_separation:
            return "lean"
        return "measured" if bright >= self.min_contrast * dark else "unclear"


@dataclass(frozen=True, kw_only=True)
class MeasuredFat:
    """Fat is what a Dixon pair (or the phantom's exact map) says is mostly fat.

    Attributes:
        name: What tables call it.
        above: Signal fraction above which a pixel is fat.
    """

    name: str
    above: float

    def find(self, slices: Sequence[MusclePixels]) -> list[FatPixels]:
        """Pixels without signal are not fat.

        Raises:
            ValueError: If a slice has no measured fraction.
        """
        found = []
        for pixels in slices:
            if pixels.fraction is None:
                raise ValueError(
                    f"{pixels.where}: fat method {self.name} needs a measured fat fraction, the case has none; give "
                    "the water and fat images, or choose a threshold (morphometry/fat=otsu_patient)"
                )
            found.append(_known(np.nan_to_num(pixels.fraction) > self.above))
        return found


@dataclass(frozen=True, kw_only=True)
class LearnedFat:
    """Fat is what the mask says: the network's own class, or the annotator's.

    Attributes:
        name: What tables call it.
    """

    name: str

    def find(self, slices: Sequence[MusclePixels]) -> list[FatPixels]:
        """The mask's fat.

        Raises:
            ValueError: If the anatomy has no fat.
        """
        found = []
        for pixels in slices:
            if pixels.labelled_fat is None:
                raise ValueError(
                    f"{pixels.where}: fat method {self.name} needs an anatomy with fat (anatomy=muscle_fat); else "
                    "choose a threshold (morphometry/fat=otsu_patient)"
                )
            found.append(_known(pixels.labelled_fat))
        return found


def _known(is_fat: Bool[np.ndarray, " p"]) -> FatPixels:
    return FatPixels(state="measured", is_fat=is_fat) if len(is_fat) else FatPixels(state="empty")
