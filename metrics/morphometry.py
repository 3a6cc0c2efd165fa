"""Areas, fat and grades of the muscles on axial slices: the rows of `morphometry.csv`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan

import numpy as np

from metrics.bias_field import BiasFieldCorrection
from metrics.cases import Row
from metrics.fat import KNOWN, FatMethod, FatPixels
from metrics.goutallier import NO_GRADE, GradeScale
from metrics.muscles import BOTH, Muscles
from metrics.sides import SIDES
from metrics.slice_sample import SliceSample, sample_slice
from metrics.structure_areas import IDENTITY_COLUMNS, MEASURE_COLUMNS, area_row, blank_row

MORPHOMETRY_COLUMNS = (*IDENTITY_COLUMNS, *MEASURE_COLUMNS)


def probability_column(scale: str, grade: str) -> str:
    """Column of the share of an ensemble's members that give a grade of a scale."""
    return f"{scale}_probability_{grade}"


@dataclass(frozen=True, kw_only=True)
class Morphometry:
    """What is measured on axial slices, and how: `conf/morphometry`.

    Slices are sampled one by one, as they come, and measured when all are there, because a threshold may be pooled over
    the slices of a patient:

        samples.append(morphometry.sample(case=..., mask=..., image=..., ...))
        rows = morphometry.measure(samples)

    Attributes:
        muscles: Structures, muscles, sides and compartments.
        fat: Which pixels are fat.
        simplified: Scale of the column goutallier_simplified; grades the share of fat *pixels*, as Baur et al. do.
        five_grade: Scale of the column goutallier; None leaves it empty.
        bias_field: Takes coil shading out of each picture before its pixels are taken; None does not.
        fewest_pixels: Pixels of a muscle below which its fat is not told, though its area is.
        narrow_below_mm2: Of structures of `Muscles.areas`, the area below which the column area_threshold says "below".

    Raises:
        ValueError: If `narrow_below_mm2` names what is no area.
    """

    muscles: Muscles
    fat: FatMethod
    simplified: GradeScale
    five_grade: GradeScale | None = None
    bias_field: BiasFieldCorrection | None = None
    fewest_pixels: int = 30
    narrow_below_mm2: Mapping[str, float | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted({*self.narrow_below_mm2} - {*self.muscles.areas})
        if unknown:
            raise ValueError(
                f"morphometry: narrow_below_mm2 names {', '.join(unknown)}, expected one of muscles.areas "
                f"({', '.join(self.muscles.areas) or 'which is empty'})"
            )

    @property
    def grades(self) -> dict[str, tuple[str, ...]]:
        """Grades of every scale in use, from the lowest, by its column."""
        used = {"goutallier_simplified": self.simplified, "goutallier": self.five_grade}
        return {column: scale.grades for column, scale in used.items() if scale is not None}

    def sample(self, *, image: np.ndarray, **slice_fields) -> SliceSample:
        """`sample_slice` of these muscles, after the bias field was taken out."""
        corrected = image if self.bias_field is None else self.bias_field(image)
        return sample_slice(self.muscles, image=corrected, **slice_fields)

    def measure(self, samples: Iterable[SliceSample]) -> list[Row]:
        """Rows with MORPHOMETRY_COLUMNS of all slices, in their order; truth and prediction are measured apart.

        Args:
            samples: Of any number of patients; *all* slices of a patient that are to share a threshold.
        """
        samples = list(samples)
        by_patient: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, sample in enumerate(samples):
            by_patient[sample.patient, sample.source].append(index)
        fat: list[dict[str, FatPixels]] = [{} for _ in samples]
        for indices in by_patient.values():
            for group in self.muscles.groups:
                found = self.fat.find([samples[index].pixels[group] for index in indices])
                for index, pixels in zip(indices, found, strict=True):
                    fat[index][group] = pixels
        return [row for sample, found in zip(samples, fat, strict=True) for row in measure_slice(sample, found, self)]


def measure_slice(sample: SliceSample, fat: Mapping[str, FatPixels], settings: Morphometry) -> list[Row]:
    """Rows of one slice: each muscle and compartment, left, right and both together, then the areas.

    * `csa_mm2`: area within the fascia, fat included. 0 where the structure was drawn in this cohort and is not there.
    * `lean_csa_mm2`: area of its pixels that are not fat (functional cross-sectional area).
    * `fat_pixel_share`: share of its pixels that are fat, 0..1; `fat_method` says by what, `fat_state` whether it could
      be told (`metrics.fat.FatState`). `lean_csa_mm2`, share and grades are NaN or empty where it could not.
    * `fat_fraction_signal`: mean measured signal fraction, 0..1, whatever the method; NaN without a Dixon pair.
    * `goutallier_simplified`, `goutallier`: grade of `fat_pixel_share`.
    * On the row of both sides, `csa_asymmetry_percent` and `lean_csa_asymmetry_percent`: 100 (left - right) over the
      mean of the two; positive where the left is larger; NaN unless both sides are there. `fat_asymmetry_points`:
      100 (left share - right share).
    * `side_check`: "swapped" where the structure lies on the other side of the midline (`metrics.sides`).
    * `area_threshold`: "below" or "not below" the area in `narrow_below_mm2`; empty where the structure has none.

    Args:
        sample: Pixels of the slice.
        fat: What the method found, by group of muscles; from all slices of the patient if it pools them.
        settings: Grades, and the fewest pixels.
    """
    place: Row = {name: getattr(sample, name) for name in IDENTITY_COLUMNS if name not in ("structure", "side")}
    rows = []
    for group, members in settings.muscles.groups.items():
        alone = members == (group,)
        for structure, parts in [(name, (name,)) for name in members] + ([] if alone else [(group, members)]):
            rows += _structure_rows(structure, parts, group, sample, fat[group], settings)
    for name in settings.muscles.areas:
        drawn = name in sample.labelled
        area = sample.num_pixels[name] * sample.pixel_mm2 if drawn else None
        rows.append(area_row(name, area, settings.narrow_below_mm2.get(name)))
    return [{**place, **row} for row in rows]


def _structure_rows(
    structure: str, parts: Sequence[str], group: str, sample: SliceSample, fat: FatPixels, settings: Morphometry
) -> list[Row]:
    """Left, right and both, of a muscle or of those of a compartment."""
    sides = [side for side in settings.muscles.muscles[parts[0]] if side != BOTH]
    rows = {}
    for side in (*sides, BOTH):
        row = rows[side] = blank_row(structure=structure, side=side, fat_method=settings.fat.name)
        if not {*parts} <= sample.labelled:
            row["fat_state"] = "unlabelled"
            continue
        units = [number for number, (muscle, of) in enumerate(sample.units) if muscle in parts and side in (of, BOTH)]
        row |= _fat_row(np.isin(sample.pixels[group].unit, units), group, sample, fat, settings)
        checks = [sample.side_check[sample.units[number]] for number in units if sample.units[number][1] in SIDES]
        row["side_check"] = _worst(checks)
    if {*sides} == {*SIDES}:
        rows[BOTH] |= _asymmetry(rows["left"], rows["right"])
    return list(rows.values())


def _fat_row(inside: np.ndarray, group: str, sample: SliceSample, fat: FatPixels, settings: Morphometry) -> Row:
    """Area, and what is known of the fat, of some of the pixels of a group."""
    num_pixels, fraction = int(inside.sum()), sample.pixels[group].fraction
    area = num_pixels * sample.pixel_mm2
    state = "few_pixels" if fat.state in KNOWN and num_pixels < settings.fewest_pixels else fat.state
    state = state if num_pixels else "empty"
    row: Row = {"csa_mm2": area, "fat_state": state}
    if fraction is not None and num_pixels >= settings.fewest_pixels:
        known = fraction[inside & np.isfinite(fraction)]
        row["fat_fraction_signal"] = float(known.mean()) if len(known) else nan
    if state in KNOWN:
        assert fat.is_fat is not None, f"fat is {state} without a pixel map"
        share = float(fat.is_fat[inside].mean())
        row |= {
            "fat_pixel_share": share,
            "lean_csa_mm2": area * (1 - share),
            "goutallier_simplified": settings.simplified.grade(share),
            "goutallier": settings.five_grade.grade(share) if settings.five_grade else NO_GRADE,
        }
    return row


def _asymmetry(left: Row, right: Row) -> Row:
    def percent(name: str) -> float:
        a, b = float(left[name]), float(right[name])
        return 200 * (a - b) / (a + b) if a > 0 and b > 0 else nan

    return {
        "csa_asymmetry_percent": percent("csa_mm2"),
        "lean_csa_asymmetry_percent": percent("lean_csa_mm2"),
        "fat_asymmetry_points": 100 * (float(left["fat_pixel_share"]) - float(right["fat_pixel_share"])),
    }


def _worst(checks: Sequence[str]) -> str:
    order = ("swapped", "correct", "unknown")
    return next((state for state in order if state in checks), "")
