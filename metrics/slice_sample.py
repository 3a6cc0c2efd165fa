"""Of an axial slice, what measuring its muscles needs: their pixels, not the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from jaxtyping import Bool, Float, Integer

from metrics.fat import MusclePixels
from metrics.muscles import Muscles
from metrics.sides import SideCheck, check_sides

AIR_PERCENTILE, FAT_PERCENTILE = 1.0, 99.0  # of a picture
Unit = tuple[str, str]  # muscle and side


@dataclass(frozen=True, kw_only=True)
class SliceSample:
    """The muscles of one slice under one mask; thousands of them fit where the pictures would not.

    Attributes:
        case: Name of the image.
        patient: Name of the patient.
        slice: Index of the slice in its file.
        level: Spinal level or "".
        source: "truth" or "prediction": whose mask it is.
        pixel_mm2: Area of a pixel.
        units: Muscle and side behind each index in `MusclePixels.unit`.
        pixels: Pixels of each group of `Muscles.groups`, of those muscles that were drawn.
        num_pixels: Of each structure of `Muscles.areas` that was drawn.
        labelled: Muscles and areas that the annotator drew.
        side_check: Of each muscle and side.
    """

    case: str
    patient: str
    slice: int
    level: str
    source: str
    pixel_mm2: float
    units: tuple[Unit, ...]
    pixels: dict[str, MusclePixels]
    num_pixels: dict[str, int]
    labelled: frozenset[str]
    side_check: dict[Unit, SideCheck]


def sample_slice(
    muscles: Muscles,
    *,
    case: str,
    patient: str,
    slice: int,
    level: str,
    source: str,
    mask: Integer[np.ndarray, "h w"],
    structures: Sequence[str],
    labelled: Bool[np.ndarray, " c"],
    spacing_mm: tuple[float, float],
    image: Float[np.ndarray, "h_i w_i"],
    contrast: str = "",
    fraction: Float[np.ndarray, "h_f w_f"] | None = None,
) -> SliceSample:
    """Takes the muscles of a slice out of its picture.

    Args:
        muscles: What to take.
        case: Name of the image.
        patient: Name of the patient.
        slice: Index of the slice in its file.
        level: Spinal level or "".
        source: "truth" or "prediction".
        mask: Class index of every pixel, on the image's own grid, as radiologists look at it.
        structures: Names of the classes 1..n.
        labelled: Which classes the annotator drew; column 0 is background.
        spacing_mm: Size of a pixel of *this* grid, (row, column). What was resampled from `a` to `b` pixels along an
            axis has pixels of `a / b` times their size.
        image: Intensities. Slices of a patient that are pooled must share a scale: as stored, not z-scored one by one.
        contrast: Of the image, as the cohort says.
        fraction: Measured fat signal fraction, where there is one.

    Raises:
        ValueError: If the spacing is missing or not positive, sizes differ, or the anatomy lacks a structure.
    """
    where = f"case {case}, slice {slice}"
    for name, other in (("image", image), ("fraction", fraction)):
        if other is not None and other.shape != mask.shape:
            raise ValueError(f"{where}: the {name} has the size {other.shape}, the mask {mask.shape}; give one grid")
    muscles.check_structures(structures)
    classes = _Classes(muscles, structures)
    darkest, brightest = (float(value) for value in np.percentile(image, [AIR_PERCENTILE, FAT_PERCENTILE]))
    unit, drawn = classes.units_in(mask), classes.drawn(labelled)
    fat = np.isin(mask, classes.fat) if classes.fat else None
    pixels = {}
    for group, members in muscles.groups.items():
        inside = np.isin(
            unit, [n for n, (muscle, _) in enumerate(classes.units) if muscle in members and muscle in drawn]
        )
        pixels[group] = MusclePixels(
            where=f"{where}, {group}",
            contrast=contrast,
            intensity=image[inside],
            unit=unit[inside],
            fraction=None if fraction is None else fraction[inside],
            labelled_fat=None if fat is None else fat[inside],
            darkest=darkest,
            brightest=brightest,
        )
    return SliceSample(
        case=case,
        patient=patient,
        slice=slice,
        level=level,
        source=source,
        pixel_mm2=pixel_area_mm2(spacing_mm, where),
        units=classes.units,
        pixels=pixels,
        num_pixels={name: int(np.isin(mask, classes.areas[name]).sum()) for name in classes.areas if name in drawn},
        labelled=drawn,
        side_check=check_sides(mask, classes.muscles, classes.midline),
    )


class _Classes:
    """Class indices of what is measured, in one anatomy."""

    def __init__(self, muscles: Muscles, structures: Sequence[str]) -> None:
        index = {name: number + 1 for number, name in enumerate(structures)}
        self.num_classes = len(structures) + 1
        self.muscles = {
            muscle: {side: [index[name] for name in names] for side, names in sides.items()}
            for muscle, sides in muscles.muscles.items()
        }
        self.units: tuple[Unit, ...] = tuple((muscle, side) for muscle, sides in self.muscles.items() for side in sides)
        self.areas = {name: [index[part] for part in parts] for name, parts in muscles.areas.items()}
        self.fat = [index[name] for name in muscles.fat]
        self.midline = [index[name] for name in muscles.midline]

    def units_in(self, mask: Integer[np.ndarray, "h w"]) -> Integer[np.ndarray, "h w"]:
        """Index of the muscle and side of every pixel; -1 outside of muscles."""
        # Small, because samples of a whole cohort may be kept at a time.
        unit_of_class = np.full(self.num_classes, -1, np.int16)
        for number, (muscle, side) in enumerate(self.units):
            unit_of_class[self.muscles[muscle][side]] = number
        return unit_of_class[mask]

    def drawn(self, labelled: Bool[np.ndarray, " c"]) -> frozenset[str]:
        """Muscles and areas of which the annotator drew every part."""
        muscles = {muscle: [n for part in sides.values() for n in part] for muscle, sides in self.muscles.items()}
        parts = muscles | self.areas
        return frozenset(name for name, numbers in parts.items() if labelled[numbers].all())


def pixel_area_mm2(spacing_mm: tuple[float, float], where: str) -> float:
    """Area of a pixel.

    Raises:
        ValueError: If a spacing is missing, NaN, or not positive: no area can be told without it.
    """
    if len(spacing_mm) != 2 or not all(isfinite(size) and size > 0 for size in spacing_mm):
        raise ValueError(
            f"{where}: spacing_mm is {tuple(spacing_mm)}, expected the two sizes of a pixel in mm; check the header of "
            "the image, or give the column spacing of cohort.csv"
        )
    return float(spacing_mm[0] * spacing_mm[1])
