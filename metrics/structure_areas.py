"""Rows of morphometry.csv: their columns, and those of structures of which the area alone is measured."""

from collections.abc import Sequence
from math import nan

import numpy as np
from jaxtyping import Bool, Integer

from metrics.cases import Row
from metrics.slice_sample import pixel_area_mm2

IDENTITY_COLUMNS = ("case", "patient", "slice", "level", "structure", "side", "source")
MEASURE_COLUMNS = (
    *("csa_mm2", "lean_csa_mm2", "fat_fraction_signal", "fat_pixel_share", "fat_method", "fat_state"),
    *("goutallier_simplified", "goutallier", "csa_asymmetry_percent", "lean_csa_asymmetry_percent"),
    *("fat_asymmetry_points", "side_check", "area_threshold"),
)


def measure_areas(
    mask: Integer[np.ndarray, "h w"],
    structures: Sequence[str],
    labelled: Bool[np.ndarray, " c"],
    spacing_mm: tuple[float, float],
    where: str,
) -> list[Row]:
    """The area of every structure, with MEASURE_COLUMNS that are otherwise blank: an anatomy of unknown muscles.

    Args:
        mask: Class index of every pixel.
        structures: Names of the classes 1..n.
        labelled: Which classes the annotator drew; column 0 is background.
        spacing_mm: Size of a pixel, (row, column).
        where: Case and slice, for messages.

    Raises:
        ValueError: If a spacing is missing or not positive.
    """
    pixel_mm2, counts = pixel_area_mm2(spacing_mm, where), np.bincount(mask.ravel(), minlength=len(structures) + 1)
    return [
        area_row(name, float(counts[index] * pixel_mm2) if labelled[index] else None)
        for index, name in enumerate(structures, start=1)
    ]


def area_row(structure: str, area_mm2: float | None, threshold_mm2: float | int | None = None) -> Row:
    """Row of a structure without fat.

    Args:
        structure: Its name.
        area_mm2: Its area; None where nobody drew it.
        threshold_mm2: Area below which area_threshold says "below", if there is one; nothing is said where there is no
            area, for a structure that was missed is not narrow.
    """
    if area_mm2 is None:
        return blank_row(structure=structure, side="", fat_state="unlabelled")
    compared = "" if threshold_mm2 is None or not area_mm2 else "below" if area_mm2 < threshold_mm2 else "not below"
    return blank_row(structure=structure, side="", csa_mm2=area_mm2, area_threshold=compared)


def blank_row(**values: str | float) -> Row:
    """A row of MEASURE_COLUMNS and of what is given; what is not is NaN or an empty text."""
    text = ("fat_method", "fat_state", "goutallier_simplified", "goutallier", "side_check", "area_threshold")
    return {name: "" if name in text else nan for name in MEASURE_COLUMNS} | values
