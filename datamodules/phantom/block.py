"""One block of slices tilted to one disc: where it lies, and the four steps from patient to image."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from datamodules.phantom import anatomy
from datamodules.phantom.acquisition import Scanner, acquire, draw_scanner
from datamodules.phantom.body import Body
from datamodules.phantom.noise import Plane
from datamodules.phantom.patient import Patient, draw_patient
from datamodules.phantom.signal import Sequence, draw_sequence, excite

Array = np.ndarray
SLICE_DISTANCE_MM = 4.0
_BLOCK_STREAM, _NOISE_STREAM = 5, 6
_BEHIND_DISC_MM = 4.0  # the middle of the picture lies in the front of the canal


@dataclass(frozen=True, kw_only=True)
class Examination:
    """A patient with a body, on a scanner: everything that all blocks have in common."""

    patient: Patient
    body: Body
    sequence: Sequence
    scanner: Scanner

    @classmethod
    @lru_cache(maxsize=2)
    def of(cls, seed: int, index: int) -> "Examination":
        """The examination of patient `index` of a cohort."""
        patient = draw_patient(seed, index)
        return cls(patient=patient, body=Body(patient), sequence=draw_sequence(patient), scanner=draw_scanner(patient))


@dataclass(frozen=True, kw_only=True)
class Planning:
    """How the technologist placed a block on its disc.

    Attributes:
        offset_mm: (x, y, z) of the middle of the block from the middle of the disc's back.
        roll_rad: How far the patient lies turned about the long axis.
        tilt_error_rad: Tilt of the block against the disc, about the left-right axis.
    """

    offset_mm: Float[Array, "3"]
    roll_rad: float
    tilt_error_rad: float

    @property
    def axes(self) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
        """Unit vectors along columns and along rows of a slice, in the straightened spine."""
        roll, tilt = self.roll_rad, self.tilt_error_rad
        across = np.array([np.cos(roll), np.sin(roll), 0.0])
        return across, np.array([-np.sin(roll) * np.cos(tilt), np.cos(roll) * np.cos(tilt), np.sin(tilt)])


def plan(patient: Patient, level: int) -> Planning:
    """Draws the planning of a block; how the patient lies is the same for all blocks."""
    patient_rng, rng = patient.rng(_BLOCK_STREAM), patient.rng(_BLOCK_STREAM, level)
    common = patient_rng.normal(0, (3.0, 5.0, 0.0))
    roll = patient_rng.normal(0, 1.8) + rng.normal(0, 0.8)
    own = rng.normal(0, (2.0, 2.5, 0.7))
    return Planning(
        offset_mm=common + own + (0, _BEHIND_DISC_MM, 0),
        roll_rad=float(np.radians(roll)),
        tilt_error_rad=float(np.radians(rng.normal(0, 1.5))),
    )


def slice_plane(body: Body, planning: Planning, level: int, shift_mm: float, size: int, spacing_mm: float) -> Plane:
    """The plane of one slice in the straightened spine, `shift_mm` above the middle of the block."""
    across, down = planning.axes
    middle = planning.offset_mm + (0, 0, body.disc_z_mm[level]) + shift_mm * np.cross(across, down)
    half = (size - 1) / 2 * spacing_mm
    return Plane(
        origin=middle - half * (across + down),
        row_step=spacing_mm * down,
        column_step=spacing_mm * across,
        shape=(size, size),
    )


@dataclass(frozen=True, kw_only=True)
class BlockGeometry:
    """Header of a block in LPS: columns toward the patient's left, rows posterior, slices up.

    Attributes:
        spacing_mm: Distance of voxels along column, row and slice index.
        origin_mm: Position of the first voxel.
        direction: Row-major direction matrix.
    """

    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]


def block_geometry(
    examination: Examination, level: int, num_slices: int, size: int, spacing_mm: float
) -> BlockGeometry:
    """Where a block lies in the scanner: tilted to its disc, on the lordotic curve of the spine."""
    patient, planning = examination.patient, plan(examination.patient, level)
    tilts = np.radians(patient.disc_tilt_deg)
    disc = np.zeros(3)
    for above in range(level):  # from the first disc downward, along the mean normal of each two
        middle = (tilts[above] + tilts[above + 1]) / 2
        disc -= patient.disc_distance_mm[above] * np.array([0, -np.sin(middle), np.cos(middle)])
    tilt = tilts[level] + planning.tilt_error_rad
    axes = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    first = slice_plane(examination.body, planning, level, _shift_mm(0, num_slices), size, spacing_mm).origin
    across, down = planning.axes
    in_spine = np.stack([across, down, np.cross(across, down)])
    origin = disc + (in_spine @ (first - (0, 0, examination.body.disc_z_mm[level]))) @ axes
    return BlockGeometry(
        spacing_mm=(spacing_mm, spacing_mm, SLICE_DISTANCE_MM),
        origin_mm=tuple(float(value) for value in origin),
        direction=tuple(float(value) for value in axes.T.ravel()),
    )


def render(
    examination: Examination, level: int, index: int, *, num_slices: int, size: int, spacing_mm: float
) -> tuple[UInt16[Array, "h w"], UInt8[Array, "h w"], Float[Array, "h w"]]:
    """Image, labels and fat map of slice `index` of a block, lowest slice first."""
    body, patient = examination.body, examination.patient
    plane = slice_plane(body, plan(patient, level), level, _shift_mm(index, num_slices), size, spacing_mm)
    section = anatomy.section(body, plane)
    lean, fat = excite(section, examination.sequence, body.grain.on(plane))
    image = acquire(
        lean,
        fat,
        section=section,
        plane=plane,
        scanner=examination.scanner,
        muscle_signal=examination.sequence.signal("muscle"),
        rng=patient.rng(_NOISE_STREAM, level, index),
    )
    return image, section.labels, section.fat


def _shift_mm(index: int, num_slices: int) -> float:
    """Height of a slice above the middle of its block."""
    return (index - (num_slices - 1) / 2) * SLICE_DISTANCE_MM
