"""Reads the slices of a DICOM series as blocks, as scanners write them.

An axial lumbar series usually holds several blocks, each tilted to its disc. Slices are grouped by orientation, then
split where the next one lies much farther away than its neighbours do. Each block is a volume of its own; nothing is
interpolated.

The index of a slice is its place in the series as stored: by InstanceNumber, then by position along the normal of the
slices. File names play no part.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float64

from datamodules.dicom_series import files_of_series, open_header, tag
from datamodules.image_file import ImageFile, check_geometry

SAME_DIRECTION = 1e-3  # of a direction cosine, 0.06 degrees: less than any intended tilt, more than rounding
BLOCK_GAP = 2.5  # a step of so many usual steps starts a block; one missing slice makes a step of 2 and is an error
REGULAR = 0.02  # by how much steps inside a block may differ, as a share of the usual step


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One DICOM file with the header fields that place it."""

    path: Path
    number: int
    origin_mm: Float64[np.ndarray, "3"]
    axes: Float64[np.ndarray, "2 3"]  # direction of rising column, then of rising row index
    spacing_mm: tuple[float, float]  # (x, y)
    size: tuple[int, int]
    step_mm: float | None  # distance of slice centres as the scanner states it

    @property
    def normal(self) -> Float64[np.ndarray, "3"]:
        """Direction across the slice."""
        return np.cross(*self.axes)

    @property
    def height_mm(self) -> float:
        """Position along the normal."""
        return float(self.normal @ self.origin_mm)


def read_blocks(path: Path, series: str = "") -> list[tuple[ImageFile, list[int]]]:
    """Reads a series (a folder, or one file) as blocks, each with the indices of its slices in the series as stored.

    Args:
        path: Folder with the files of the series, in it or below it, or one file.
        series: SeriesInstanceUID to read where the folder holds several series.

    Raises:
        ValueError: If there is no DICOM image, a file is corrupt, several series are there and none is chosen, a slice
            has no position, or slices of a block are not evenly spaced.
    """
    slices = [_read_header(file) for file in files_of_series(path, series)]
    slices.sort(key=lambda item: (item.number, item.height_mm, item.path.name))
    stored = {item.path: index for index, item in enumerate(slices)}
    blocks = _group(path, slices)
    blocks.sort(key=lambda block: min(stored[item.path] for item in block))
    return [(_read_block(block), [stored[item.path] for item in block]) for block in blocks]


def _read_header(path: Path) -> Slice:
    reader = open_header(path)

    def numbers(key: str) -> list[float]:
        return [float(part) for part in tag(reader, key).split("\\") if part.strip()]

    if sum(numbers("0028|0008")) > 1:
        raise ValueError(
            f"{path}: is a multi-frame DICOM file, which is not read; convert it to NIfTI or to single frames"
        )
    origin, axes = numbers("0020|0032"), numbers("0020|0037")
    if len(origin) != 3 or len(axes) != 6:
        raise ValueError(
            f"{path}: has no ImagePositionPatient and ImageOrientationPatient, so its place is not known; take the "
            "original images of the scanner, not a secondary capture"
        )
    stated_step, instance = numbers("0018|0088") or numbers("0018|0050"), numbers("0020|0013")
    return Slice(
        path=path,
        number=int(instance[0]) if instance else 0,
        origin_mm=np.array(origin),
        axes=np.array(axes).reshape(2, 3),
        spacing_mm=(reader.GetSpacing()[0], reader.GetSpacing()[1]),
        size=(reader.GetSize()[0], reader.GetSize()[1]),
        step_mm=stated_step[0] if stated_step else None,
    )


def _group(path: Path, slices: list[Slice]) -> list[list[Slice]]:
    """Slices of one orientation and size, split at gaps and sideways steps, each group along its normal."""
    parallel: list[list[Slice]] = []
    for item in slices:
        for group in parallel:
            if _same_plane(group[0], item):
                group.append(item)
                break
        else:
            parallel.append([item])
    blocks = []
    for group in parallel:
        group.sort(key=lambda item: item.height_mm)
        steps = np.diff([item.height_mm for item in group])
        usual = steps.min(initial=np.inf)
        stated = group[0].step_mm
        # Two single slices, far apart: their distance is no step of a stack.
        if stated and usual > BLOCK_GAP * stated:
            usual = stated
        starts = [
            i + 1 for i, step in enumerate(steps) if step > BLOCK_GAP * usual or _sideways(group[i], group[i + 1])
        ]
        blocks += [group[a:b] for a, b in zip([0, *starts], [*starts, len(group)], strict=True)]
    for block in blocks:
        _check_steps(path, block)
    return blocks


def _same_plane(one: Slice, other: Slice) -> bool:
    return (
        one.size == other.size
        and np.allclose(one.spacing_mm, other.spacing_mm, rtol=1e-3)
        and np.allclose(one.axes, other.axes, rtol=0, atol=SAME_DIRECTION)
    )


def _sideways(one: Slice, other: Slice) -> bool:
    """Whether the second slice does not lie straight above the first."""
    shift = one.axes @ (other.origin_mm - one.origin_mm)
    return bool((np.abs(shift) > 0.1 * np.array(one.spacing_mm)).any())


def _check_steps(path: Path, block: list[Slice]) -> None:
    steps = np.diff([item.height_mm for item in block])
    if len(steps) == 0:
        return
    usual = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - usual) > REGULAR * max(usual, 0.0))
    if usual > 0 and len(odd) == 0:
        return
    first = int(odd[0]) if len(odd) else int(steps.argmin())
    raise ValueError(
        f"{path}: irregular slice spacing inside a block: {steps[first]:.2f} mm between {block[first].path.name} and "
        f"{block[first + 1].path.name}, {usual:.2f} mm elsewhere; nothing is interpolated: a slice may be missing or "
        "stored twice (two echoes?): export the series anew, or give each block or echo a folder of its own"
    )


def _read_block(block: list[Slice]) -> ImageFile:
    pixels = []
    for item in block:
        try:
            image = sitk.ReadImage(str(item.path))
        except RuntimeError as error:
            raise ValueError(
                f"{item.path}: cannot be read, it may be corrupt or truncated; export the series anew"
            ) from error
        if image.GetNumberOfComponentsPerPixel() > 1:
            raise ValueError(
                f"{item.path}: is a colour image, expected grey values; take the original images of the scanner"
            )
        pixels.append(sitk.GetArrayFromImage(image)[0])
    first = block[0]
    step = block[1].height_mm - first.height_mm if len(block) > 1 else first.step_mm or 1.0
    direction = np.column_stack([*first.axes, first.normal])
    check_geometry(first.path, (*first.spacing_mm, step), direction, tuple(first.origin_mm.tolist()))
    return ImageFile(
        voxels=np.stack(pixels),
        spacing_mm=(*first.spacing_mm, float(step)),
        origin_mm=(float(first.origin_mm[0]), float(first.origin_mm[1]), float(first.origin_mm[2])),
        direction=direction,
    )
