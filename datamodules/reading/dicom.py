"""Reads the slices of a DICOM series as blocks, as scanners write them.

An axial lumbar series usually holds several blocks, each tilted to its disc. Slices are grouped by orientation, then
split where the next one lies much farther away than its neighbours do. Positions decide that; what the header says of
the distance of slices is asked only where they cannot. Each block is a volume of its own; nothing is interpolated.

The index of a slice is its place in the series as stored: by InstanceNumber (and frame), then by position along the
normal of the slices. File names play no part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from datamodules.anatomy import View
from datamodules.reading.dicom_header import Slice
from datamodules.reading.dicom_pixels import pixels_of
from datamodules.reading.dicom_series import Series
from datamodules.reading.image_file import ImageFile, check_geometry
from datamodules.reading.volume import is_of_view

SAME_DIRECTION = 2e-3  # of a direction cosine, 0.11 degrees: less than any intended tilt, more than rounding
BLOCK_GAP = 2.5  # a step of so many usual steps starts a block; one missing slice makes a step of 2 and is an error
REGULAR = 0.02  # by how much steps inside a block may differ, as a share of the usual step, or
REGULAR_MM = 0.02  # positions that were rounded to 0.01 mm


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomBlock:
    """Parallel slices that lie on each other, along their normal.

    Attributes:
        path: Folder or file of the series, for messages.
        slices: From the lowest along the normal.
        stored: Index of each in the series as stored.
    """

    path: Path
    slices: tuple[Slice, ...]
    stored: tuple[int, ...]


def find_blocks(path: Path, series: Series, view: View | None = None) -> tuple[list[DicomBlock], list[str]]:
    """The blocks of a series, and what was left aside: those of another view, where there are some of this one.

    Args:
        path: Folder or file of the series, for messages.
        series: The series.
        view: View that is wanted; None for all.

    Raises:
        ValueError: If a file does not say where its slices lie.
    """
    for file in series.files:
        if file.problem:
            raise ValueError(file.problem)
    slices = [item for file in series.files for item in file.slices]
    slices.sort(key=lambda item: (item.number, item.frame, float(item.normal @ item.origin_mm), item.path.name))
    stored = {(item.path, item.frame): index for index, item in enumerate(slices)}
    blocks = [
        DicomBlock(path=path, slices=tuple(group), stored=tuple(stored[item.path, item.frame] for item in group))
        for group in _group(path, slices)
    ]
    blocks.sort(key=lambda block: min(block.stored))
    wanted = [block for block in blocks if view is None or is_of_view(block.slices[0].normal, view)]
    if not wanted:
        return blocks, []
    others = [block for block in blocks if block not in wanted]
    told = [f"{len(block.slices)} slice(s) of another view ({block.slices[0].path.name} ...)" for block in others]
    return wanted, told


def read_block(block: DicomBlock) -> ImageFile:
    """Reads the voxels of a block.

    Raises:
        ValueError: If its slices are not evenly spaced, or a file is corrupt.
    """
    first, *_, last = (*block.slices, block.slices[-1])
    _check_steps(block)
    num_steps = len(block.slices) - 1
    step = float(first.normal @ (last.origin_mm - first.origin_mm)) / num_steps if num_steps else _stated_step(first)
    direction = np.column_stack([*first.axes, first.normal])
    x, y, z = first.origin_mm.tolist()
    check_geometry(first.path, (*first.spacing_mm, step), direction, (x, y, z))
    return ImageFile(
        voxels=np.stack(pixels_of(block.slices)),
        spacing_mm=(*first.spacing_mm, step),
        origin_mm=(x, y, z),
        direction=direction,
    )


def _stated_step(item: Slice) -> float:
    """How far the next slice would lie: of a wrong SpacingBetweenSlices (the gap alone) the thickness is larger."""
    return max(item.steps_mm, default=1.0)


def _group(path: Path, slices: Sequence[Slice]) -> list[list[Slice]]:
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
        normal = group[0].normal  # of all: far from the magnet's centre, rounded cosines move a slice along its own
        group.sort(key=lambda item: float(normal @ item.origin_mm))
        steps = np.diff([float(normal @ item.origin_mm) for item in group])
        usual = _usual_step(steps, group[0])
        _check_upright(path, group, steps)
        starts = [
            i + 1 for i, step in enumerate(steps) if step > BLOCK_GAP * usual or _sideways(group[i], group[i + 1])
        ]
        blocks += [group[a:b] for a, b in zip([0, *starts], [*starts, len(group)], strict=True)]
    return blocks


def _usual_step(steps: Float64[np.ndarray, " n"], first: Slice) -> float:
    """The smallest step, if it occurs twice; one of its kind may lie between blocks of one slice, so the file is asked.

    Images at one place take no step.
    """
    apart = steps[steps > REGULAR_MM]
    usual = float(apart.min(initial=np.inf))
    occurs = int((np.abs(apart - usual) <= _tolerance_mm(usual)).sum())
    stated = _stated_step(first)
    return stated if occurs < 2 and first.steps_mm and usual > BLOCK_GAP * stated else usual


def _tolerance_mm(usual_mm: float) -> float:
    return max(REGULAR * usual_mm, REGULAR_MM)


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


def _check_upright(path: Path, group: Sequence[Slice], steps: Float64[np.ndarray, " n"]) -> None:
    """Refuses slices at even steps of which each lies as far beside the one below it: not one of them is a block.

    Raises:
        ValueError: If their volume is sheared.
    """
    pairs = list(pairwise(group))
    if len(group) < 3 or not all(_sideways(one, other) for one, other in pairs):
        return
    moves = np.array([one.axes @ (other.origin_mm - one.origin_mm) for one, other in pairs])
    even = np.ptp(steps) <= _tolerance_mm(float(steps[0])) and (np.ptp(moves, axis=0) <= REGULAR_MM).all()
    if even and steps[0] <= BLOCK_GAP * _stated_step(group[0]):
        raise ValueError(
            f"{path}: each of its {len(group)} slices lies {np.hypot(*moves[0]):.2f} mm beside the one below it (a "
            "tilted gantry): the volume is sheared, and pixels are no boxes; resample it onto perpendicular axes"
        )


def _check_steps(block: DicomBlock) -> None:
    normal = block.slices[0].normal
    steps = np.diff([float(normal @ item.origin_mm) for item in block.slices])
    if len(steps) == 0:
        return
    usual = float(np.median(steps))
    if usual <= REGULAR_MM:
        raise ValueError(
            f"{block.path}: holds several images at one place, such as {_names(block.slices[:2])}: a time series, "
            "echoes, or phase beside magnitude; give each of them a series or a folder of its own"
        )
    odd = np.flatnonzero(np.abs(steps - usual) > _tolerance_mm(usual))
    if len(odd) == 0:
        return
    first = int(odd[0])
    raise ValueError(
        f"{block.path}: irregular slice spacing inside a block: {steps[first]:.2f} mm between "
        f"{_names(block.slices[first : first + 2])}, {usual:.2f} mm elsewhere; nothing is interpolated: a slice may be "
        "missing or stored twice (two echoes?): export the series anew, or give each block or echo a folder of its own"
    )


def _names(slices: Sequence[Slice]) -> str:
    frames = len({item.path for item in slices}) < len(slices)
    in_folders = len({item.path.parent for item in slices}) > 1
    return " and ".join(
        ("/".join(item.path.parts[-2:]) if in_folders else item.path.name) + f" frame {item.frame + 1}" * frames
        for item in slices
    )
