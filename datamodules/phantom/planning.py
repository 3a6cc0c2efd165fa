"""Where the technologist placed the slices: blocks tilted to discs, an axial stack, or sagittal slices."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from datamodules.phantom.body import Body
from datamodules.phantom.noise import Plane
from datamodules.phantom.patient import Patient
from datamodules.phantom.settings import PhantomSettings
from datamodules.phantom.templates import LEVELS

Array = np.ndarray
_STREAM, _SLICES_STREAM, _TILT_STREAM, _OFFSET_STREAM = 5, 7, 14, 15
_BEHIND_DISC_MM = 4.0  # the middle of an axial picture lies in the front of the canal
_STACK_LEVELS = (0.2, 5.15)  # upper endplates of L1 and S1: Baur et al., methods
_STACK_TILT_DEG = 4.0  # a straight stack is tilted to the middle of the lordosis
_MIDDLE_LEVEL = 3.0  # of a sagittal picture


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Parallel slices of one series. Positions are millimetres toward the patient's left, posterior and up.

    Attributes:
        name: Name of the series within its patient.
        level: The disc that a block is planned on, or "".
        middle_mm: Position of the middle of the middle slice.
        column_axis: Unit vector along which columns grow.
        row_axis: Unit vector along which rows grow.
        num_slices: Number of slices; they follow each other along the cross product of the two axes.
        distance_mm: From slice to slice.
        size: Rows and columns.
        spacing_mm: Size of a pixel.
    """

    name: str
    level: str
    middle_mm: Float[Array, "3"]
    column_axis: Float[Array, "3"]
    row_axis: Float[Array, "3"]
    num_slices: int
    distance_mm: float
    size: int
    spacing_mm: float

    @property
    def normal(self) -> Float[Array, "3"]:
        """Unit vector from slice to slice."""
        return np.cross(self.column_axis, self.row_axis)

    @property
    def direction(self) -> Float[Array, "3 3"]:
        """Axes of columns, rows and slices as columns of a matrix, as image headers have them."""
        return np.stack([self.column_axis, self.row_axis, self.normal], axis=1)

    @property
    def middle_slice(self) -> int:
        """Index of the slice nearest to the middle."""
        return self.num_slices // 2

    def plane(self, index: int) -> Plane:
        """The plane of slice `index`."""
        half = (self.size - 1) / 2 * self.spacing_mm
        shift = (index - (self.num_slices - 1) / 2) * self.distance_mm
        return Plane(
            origin=self.middle_mm + shift * self.normal - half * (self.column_axis + self.row_axis),
            row_step=self.spacing_mm * self.row_axis,
            column_step=self.spacing_mm * self.column_axis,
            shape=(self.size, self.size),
        )

    def indices_of(self, position_mm: Float[Array, "3"]) -> tuple[float, float, float]:
        """Fractional (slice, column, row) of a position."""
        steps = np.array([self.spacing_mm, self.spacing_mm, self.distance_mm])
        column, row, number = self.direction.T @ (position_mm - self.plane(0).origin) / steps
        return float(number), float(column), float(row)


def placements(settings: PhantomSettings, patient: Patient, body: Body) -> Iterator[Placement]:
    """The series of one patient."""
    if settings.view == "axial_blocks":
        for level in settings.levels_of(patient.index):
            yield _block(settings, patient, body, level)
    elif settings.view == "axial_stack":
        yield _stack(settings, patient, body)
    else:
        yield _sagittal(settings, patient, body)


def _block(settings: PhantomSettings, patient: Patient, body: Body, level: str) -> Placement:
    """A block tilted to its disc; how the patient lies is the same for all blocks."""
    disc = LEVELS.index(level)
    patient_rng, rng = patient.rng(_STREAM), patient.rng(_STREAM, disc)
    common = patient_rng.normal(0, (3.0, 5.0, 0.0))
    roll = np.radians(patient_rng.normal(0, 1.8) + rng.normal(0, 0.8))
    across, behind, up = common + rng.normal(0, (2.0, 2.5, 0.7))
    tilt = _tilt_share(settings, patient) * body.spine.tilt_at(disc) + np.radians(rng.normal(0, 1.5))
    column, row = _axial_axes(roll, tilt)
    up = up + _offset_mm(settings, patient, disc)
    return Placement(
        name=f"{patient.name}_{level.replace('/', '-')}",
        level=level,
        middle_mm=body.spine.point(disc, across, behind + _BEHIND_DISC_MM) + up * np.cross(column, row),
        column_axis=column,
        row_axis=row,
        num_slices=settings.slices_per_level,
        distance_mm=settings.slice_distance_mm,
        size=settings.size,
        spacing_mm=settings.spacing_of(patient.index),
    )


def _stack(settings: PhantomSettings, patient: Patient, body: Body) -> Placement:
    """One straight stack from L1 to S1; the more slices, the closer they lie."""
    rng = patient.rng(_STREAM)
    num_slices = _draw_num_slices(settings, patient)
    top, bottom = (body.spine.point(level, 0.0, _BEHIND_DISC_MM) for level in _STACK_LEVELS)
    column, row = _axial_axes(np.radians(rng.normal(0, 1.8)), np.radians(rng.normal(_STACK_TILT_DEG, 2.0)))
    reach = float((top - bottom) @ np.cross(column, row))
    return Placement(
        name=f"{patient.name}_axial",
        level="",
        middle_mm=(top + bottom) / 2 + rng.normal(0, (3.0, 4.0, 2.0)),
        column_axis=column,
        row_axis=row,
        num_slices=num_slices,
        distance_mm=reach / max(num_slices - 1, 1),
        size=settings.size,
        spacing_mm=settings.spacing_of(patient.index),
    )


def _sagittal(settings: PhantomSettings, patient: Patient, body: Body) -> Placement:
    """Sagittal slices from the patient's left to the right, around L3/4; some miss the thoracic or sacral end."""
    rng = patient.rng(_STREAM)
    turn = np.radians(rng.normal(0, 1.2))
    row, column = np.array([0.0, 0.0, -1.0]), np.array([np.sin(turn), np.cos(turn), 0.0])
    centre = body.spine.point(_MIDDLE_LEVEL) * (0, 1, 1) + _offset_mm(settings, patient) * np.cross(column, row)
    return Placement(
        name=f"{patient.name}_sagittal",
        level="",
        middle_mm=centre + rng.normal(0, (2.0, 8.0, 22.0)),
        column_axis=column,
        row_axis=row,
        num_slices=_draw_num_slices(settings, patient),
        distance_mm=settings.slice_distance_mm,
        size=settings.size,
        spacing_mm=settings.spacing_of(patient.index),
    )


def _tilt_share(settings: PhantomSettings, patient: Patient) -> float:
    """Which part of the tilt of its disc every block of a patient has."""
    return float(patient.rng(_TILT_STREAM).uniform(*settings.tilt_share))


def _offset_mm(settings: PhantomSettings, patient: Patient, *series: int) -> float:
    """How far beside its middle a series is planned, along its normal."""
    return float(patient.rng(_OFFSET_STREAM, *series).uniform(-settings.offset_mm, settings.offset_mm))


def _axial_axes(roll: float, tilt: float) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Axes of columns and rows of a slice turned about the long axis and tilted about the left-right axis."""
    column = np.array([np.cos(roll), np.sin(roll), 0.0])
    flat = np.array([-np.sin(roll), np.cos(roll), 0.0])
    return column, np.cos(tilt) * flat + np.sin(tilt) * np.array([0.0, 0.0, 1.0])


def _draw_num_slices(settings: PhantomSettings, patient: Patient) -> int:
    """Mostly near the fewest: between 19 and 140 the mean is 38, as in the cohort of Baur et al."""
    fewest, most = settings.num_slices
    return round(fewest * (most / fewest) ** (patient.rng(_SLICES_STREAM).random() ** 3))
