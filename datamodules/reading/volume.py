"""Brings an image to the canonical orientation of its view, from what its header says and nothing else.

Patient coordinates are DICOM's: left, posterior and superior are positive. In canonical orientation

    axial     slices run superior → inferior, rows anterior → posterior, columns patient right → left
    sagittal  slices run right → left,        rows superior → inferior,  columns anterior → posterior

An oblique image keeps its own pixels: each of its axes takes the place of the nearest canonical one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Int, Shaped

from datamodules.anatomy import View
from datamodules.reading.image_file import ImageFile

DIRECTIONS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
CANONICAL = {"axial": "IPL", "sagittal": "LIP"}  # towards which side slices, rows and columns run
GRID_TOLERANCE_PX = 0.1
THICK = 2.0  # an axis whose voxels are this many times longer than both others is the one between slices
MAX_TILT_COSINE = 0.5  # 60 degrees: L5/S1 is tilted by up to 45, a stack of another view by 90


class OtherViewError(ValueError):
    """An image was acquired in another view than is wanted."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Voxels in canonical orientation and the way back to the file.

    Attributes:
        path: Where the voxels come from, for messages.
        voxels: Values (an image of one channel, or label ids).
        spacing_mm: Distance of voxel centres along (slices, rows, columns).
        origin_mm: Place of voxel (0, 0, 0) in patient coordinates.
        direction: Columns are the directions of slices, rows and columns.
        slice_index: For every slice, its index along that axis of the file (of a DICOM series: in its stored order).
        axes: Which axis of the file (x is 0) became slices, rows and columns.
        flips: Whether slices, rows and columns run against the file's.
        file_origin_mm: Place of the file's own first voxel.
    """

    path: Path
    voxels: Shaped[np.ndarray, "d H W"]
    spacing_mm: tuple[float, float, float]
    origin_mm: Float64[np.ndarray, "3"]
    direction: Float64[np.ndarray, "3 3"]
    slice_index: Int[np.ndarray, " d"]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    file_origin_mm: tuple[float, float, float]

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Size of a pixel (row, column)."""
        return self.spacing_mm[1:]

    def to_pixel(self, col: float, row: float) -> tuple[float, float]:
        """Canonical (x, y) of indices along the file's own axes."""
        height, width = self.voxels.shape[1:]
        return (width - 1 - col if self.flips[2] else col, height - 1 - row if self.flips[1] else row)

    def as_stored(self, voxels: Shaped[np.ndarray, "d H W"]) -> ImageFile:
        """Values on these voxels, turned back to the axes of the file: the way back from `canonical_volume`."""
        turned = np.flip(voxels, tuple(place for place, flip in enumerate(self.flips) if flip))
        places = [self.axes.index(axis) for axis in range(3)]  # of the file's x, y and z
        signs = np.where(self.flips, -1.0, 1.0)
        return ImageFile(
            voxels=np.ascontiguousarray(turned.transpose(places[::-1])),
            spacing_mm=(self.spacing_mm[places[0]], self.spacing_mm[places[1]], self.spacing_mm[places[2]]),
            origin_mm=self.file_origin_mm,
            direction=(self.direction * signs)[:, places],
        )

    def one_slice(self, number: int) -> "Volume":
        """The slice whose `slice_index` is `number`, as the volume of a file of its own in canonical order."""
        (place,) = (int(found) for found in np.flatnonzero(self.slice_index == number))
        origin_mm = self.origin_mm + self.direction[:, 0] * place * self.spacing_mm[0]
        return replace(
            self,
            voxels=self.voxels[place : place + 1],
            origin_mm=origin_mm,
            slice_index=self.slice_index[place : place + 1],
            axes=(2, 1, 0),
            flips=(False, False, False),
            file_origin_mm=(float(origin_mm[0]), float(origin_mm[1]), float(origin_mm[2])),
        )

    def corners_mm(self) -> Float64[np.ndarray, "8 3"]:
        """Places of the eight corner voxels in patient coordinates."""
        index = np.array(list(product(*[(0, size - 1) for size in self.voxels.shape])), np.float64)
        return self.origin_mm + (index * self.spacing_mm) @ self.direction.T


def canonical_volume(
    path: Path,
    file: ImageFile,
    *,
    view: View,
    slice_index: Sequence[int] | None = None,
) -> Volume:
    """Turns and flips the axes of a file into canonical order; no value is interpolated.

    Args:
        path: Where it comes from.
        file: Voxels with a valid orientation.
        view: Orientation of the slices wanted.
        slice_index: Given for a DICOM block, whose third axis is then the one between slices.

    Raises:
        OtherViewError: If the image was acquired in another view.
    """
    size = np.array(file.voxels.shape[::-1])
    slice_axis = _slice_axis(size, np.array(file.spacing_mm)) if slice_index is None else 2
    target = np.array([DIRECTIONS[side] for side in CANONICAL[view]], np.float64)
    cosines = file.direction.T @ target.T  # file axis x canonical axis
    orders = [order for order in permutations(range(3)) if slice_axis in (None, order[0])]
    axes = max(orders, key=lambda order: sum(abs(cosines[axis, place]) for place, axis in enumerate(order)))
    if not is_of_view(file.direction[:, axes[0]], view):
        raise OtherViewError(
            f"{path}: its slices are not {view}: of {size.tolist()} voxels of {np.round(file.spacing_mm, 3).tolist()} "
            f"mm, axis {axes[0] + 1} lies between slices, more than 60 degrees from that of {view} ones; take the "
            f"{view} series of this patient, or an anatomy of the image's view"
        )
    flips = [bool(cosines[axis, place] < 0) for place, axis in enumerate(axes)]
    # NumPy's axes are SimpleITK's backwards.
    turned = file.voxels.transpose([2 - axis for axis in axes])
    voxels = np.flip(turned, tuple(place for place, flip in enumerate(flips) if flip))
    origin, direction = np.array(file.origin_mm, np.float64), file.direction[:, axes]
    for place, axis in enumerate(axes):
        if flips[place]:
            origin = origin + direction[:, place] * (size[axis] - 1) * file.spacing_mm[axis]
    stored = np.arange(size[axes[0]]) if slice_index is None else np.array(slice_index)
    return Volume(
        path=path,
        voxels=np.ascontiguousarray(voxels),
        spacing_mm=(file.spacing_mm[axes[0]], file.spacing_mm[axes[1]], file.spacing_mm[axes[2]]),
        origin_mm=origin,
        direction=direction * np.where(flips, -1.0, 1.0),
        slice_index=stored[::-1].copy() if flips[0] else stored,
        axes=(axes[0], axes[1], axes[2]),
        flips=(flips[0], flips[1], flips[2]),
        file_origin_mm=file.origin_mm,
    )


def is_of_view(normal: Float64[np.ndarray, "3"], view: View) -> bool:
    """Whether slices with this direction across them are of a view, at most 60 degrees from it."""
    return bool(abs(normal @ np.array(DIRECTIONS[CANONICAL[view][0]], np.float64)) >= MAX_TILT_COSINE)


def _slice_axis(size: Int[np.ndarray, "3"], spacing_mm: Float[np.ndarray, "3"]) -> int | None:
    """The file axis along which slices were acquired, where the file leaves no doubt."""
    if (size == 1).sum() == 1:
        return int(size.argmin())
    second, thickest = np.sort(spacing_mm)[1:]
    return int(spacing_mm.argmax()) if thickest >= THICK * second else None


def grid_differences(one: Volume, other: Volume) -> list[str]:
    """In what the voxel grids of two volumes differ, by more than 0.1 pixel anywhere; empty if they are the same."""
    if one.voxels.shape != other.voxels.shape:
        return [f"size (slices, rows, columns) {one.voxels.shape} and {other.voxels.shape}"]
    if _shift_px(one, other) <= GRID_TOLERANCE_PX:
        return []
    candidates = {
        "spacing": (replace(one, spacing_mm=other.spacing_mm), one.spacing_mm, other.spacing_mm),
        "origin": (replace(one, origin_mm=other.origin_mm), [0, 0, 0], other.origin_mm - one.origin_mm),
        "direction": (replace(one, direction=other.direction), one.direction.T.ravel(), other.direction.T.ravel()),
    }
    words = {"spacing": "spacing {} and {} mm (slices, rows, columns)", "origin": "origin (moved by {1} mm)"}
    found = [
        words.get(name, "direction {} and {}").format(np.round(a, 4).tolist(), np.round(b, 4).tolist())
        for name, (changed, a, b) in candidates.items()
        if _shift_px(one, changed) > GRID_TOLERANCE_PX
    ]
    return found or [f"place, by {_shift_px(one, other):.2f} pixels"]


def _shift_px(one: Volume, other: Volume) -> float:
    """How far the corners of two grids lie apart, in voxels of the first."""
    shift_mm = (other.corners_mm() - one.corners_mm()) @ one.direction
    return float(np.abs(shift_mm / one.spacing_mm).max())
