"""A patient on a scanner: every series with its images, its truth and what can be measured in it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from datamodules.phantom import anatomy
from datamodules.phantom.acquisition import Scanner, acquire, draw_scanner
from datamodules.phantom.body import Body
from datamodules.phantom.canvas import LABELS
from datamodules.phantom.measurements import keypoints, measure
from datamodules.phantom.patient import FAT_OF, SIDES, Patient, draw_patient
from datamodules.phantom.planning import Placement, placements
from datamodules.phantom.second_rater import second_rater
from datamodules.phantom.settings import PhantomSettings
from datamodules.phantom.signal import Sequence, draw_sequence, excite
from datamodules.phantom.templates import LEVELS
from datamodules.phantom.tissue_map import tissue_map

Array = np.ndarray
_NOISE_STREAM = 6
_FAT_STEP = 1 / 256  # of the fat maps on disk: they pack well


@dataclass(frozen=True, kw_only=True)
class Examination:
    """A patient with a body, on a scanner: everything that all series have in common."""

    patient: Patient
    body: Body
    sequence: Sequence
    scanner: Scanner
    contrast: str

    @classmethod
    def of(cls, settings: PhantomSettings, index: int) -> "Examination":
        """The examination of patient `index` of a cohort."""
        patient, contrast = draw_patient(settings.seed, index, settings.population), settings.contrast_of(index)
        return cls(
            patient=patient,
            body=Body(patient, settings.body),
            sequence=draw_sequence(patient, contrast),
            scanner=draw_scanner(patient),
            contrast=contrast,
        )


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series of images and everything that is known about it.

    Attributes:
        name: Name of the case.
        level: The disc of a block, or "".
        view: "axial" or "sagittal".
        contrast: "T2", "T1" or "dixon".
        spacing_mm: Column, row, slice, as SimpleITK wants it; so are origin_mm and direction.
        origin_mm: Position of the first voxel, toward the patient's left, posterior and up.
        direction: Axes of columns, rows and slices, row by row of their matrix.
        images: Grey values by name: "T2", "T1", or "water" and "fat".
        labels: Ids of `canvas.LABELS`.
        second_rater: The same, drawn by a second rater.
        fat: Fat fraction, 0..1.
        tissues: Ids of `tissue_map`.
        keypoints: (structure, slice, column, row) of the centres of vertebrae and discs on the mid slice.
        measurements: Rows of measurements.csv.
        factors: Columns of cohort.csv: who the patient is and what makes the case hard.
    """

    name: str
    level: str
    view: str
    contrast: str
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]
    images: dict[str, UInt16[Array, "n h w"]]
    labels: UInt8[Array, "n h w"]
    second_rater: UInt8[Array, "n h w"]
    fat: Float[Array, "n h w"]
    tissues: UInt16[Array, "n h w"]
    keypoints: list[tuple[str, int, float, float]]
    measurements: list[dict]
    factors: dict


def patient_series(settings: PhantomSettings, index: int) -> Iterator[Series]:
    """Every series of patient `index`."""
    examination = Examination.of(settings, index)
    for number, placement in enumerate(placements(settings, examination.patient, examination.body)):
        # The noise of a block does not depend on which other blocks there are.
        stream = LEVELS.index(placement.level) if placement.level else number
        slices = [render(examination, placement, stream, slice_) for slice_ in range(placement.num_slices)]
        images, *maps = (list(parts) for parts in zip(*slices, strict=True))
        yield _series(
            settings,
            examination,
            placement,
            {name: np.stack([image[name] for image in images]) for name in images[0]},
            *(np.stack(parts) for parts in maps),
        )


def render(
    examination: Examination, placement: Placement, stream: int, index: int
) -> tuple[
    dict[str, UInt16[Array, "h w"]],
    UInt8[Array, "h w"],
    UInt8[Array, "h w"],
    Float[Array, "h w"],
    UInt16[Array, "h w"],
]:
    """Images, labels, second rater's labels, fat map and tissues of slice `index`."""
    body, plane = examination.body, placement.plane(index)
    section = anatomy.section(body, plane)
    lean, fat = excite(section, examination.sequence, body.grain.on(plane))
    images = acquire(
        lean,
        fat,
        section=section,
        plane=plane,
        scanner=examination.scanner,
        muscle_signal=examination.sequence.signal("muscle"),
        rng=examination.patient.rng(_NOISE_STREAM, stream, index),
        dixon=examination.contrast == "dixon",
    )
    fat_map = (np.rint(section.fat / _FAT_STEP) * _FAT_STEP).astype(np.float32)
    labels, second = (
        anatomy.with_fat_labels(drawn, fat_map) for drawn in (section.labels, second_rater(section, body, plane))
    )
    named = images if len(images) > 1 else {examination.contrast: images["image"]}
    return named, labels, second, fat_map, tissue_map(section)


def _series(
    settings: PhantomSettings,
    examination: Examination,
    placement: Placement,
    images: dict[str, Array],
    labels: Array,
    second: Array,
    fat: Array,
    tissues: Array,
) -> Series:
    sagittal = settings.anatomy_view == "sagittal"
    return Series(
        name=placement.name,
        level=placement.level,
        view=settings.anatomy_view,
        contrast=examination.contrast,
        spacing_mm=(placement.spacing_mm, placement.spacing_mm, placement.distance_mm),
        origin_mm=tuple(float(value) for value in placement.plane(0).origin),
        direction=tuple(float(value) for value in placement.direction.ravel()),
        images=images,
        labels=labels,
        second_rater=second,
        fat=fat,
        tissues=tissues,
        keypoints=keypoints(placement, labels) if sagittal else [],
        measurements=measure(examination.body, placement, settings.anatomy_view, labels, fat),
        factors=_factors(examination, placement, labels, fat, across=not sagittal),
    )


def _factors(examination: Examination, placement: Placement, labels: Array, fat: Array, *, across: bool) -> dict:
    """Who the patient is and what makes the case hard; fat is that of the slices, where they cut the muscles across."""
    patient = examination.patient
    back = np.isin(labels, [LABELS[name] for names in FAT_OF.items() for name in names])
    quadratus = np.isin(labels, [LABELS[f"quadratus_lumborum_{side}"] for side in SIDES])
    contrast = patient.fascia_contrast
    return {
        "age": patient.age,
        "sex": patient.sex,
        "height_m": patient.height_m,
        "weight_kg": patient.weight_kg,
        "fat_fraction": float(fat[back].mean()) if across and back.any() else patient.back_fat,
        "fascia_contrast": float(contrast[LEVELS.index(placement.level)] if placement.level else contrast.mean()),
        "quadratus_lumborum": int(quadratus.any()),
        "snr": examination.scanner.snr,
        "rater_noise": patient.rater_noise,
        "variant": patient.skeleton.variant,
        "scoliosis_deg": patient.skeleton.scoliosis_deg,
    }
