"""Reads the images of a case: one file or DICOM series per channel, all on one grid."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.anatomy import View
from datamodules.reading.case_list import Case
from datamodules.reading.dicom import find_blocks, read_block
from datamodules.reading.dicom_series import Series, find_series, is_dicom
from datamodules.reading.image_file import ImageFile, not_finite, read_image_file
from datamodules.reading.stated_geometry import with_stated_geometry
from datamodules.reading.volume import Volume, canonical_volume, grid_differences

log = logging.getLogger(__name__)

LARGEST = float(np.finfo(np.float32).max)


def read_images(case: Case, *, view: View, has_sides: bool, series: Series | None = None) -> list[list[Volume]]:
    """Reads every channel of a case as its volumes: one, or one per block of a DICOM series.

    Args:
        case: What to read.
        view: View that is wanted; blocks of another one (a scout) are left aside where there are some of this one.
        has_sides: Whether left and right are different structures.
        series: The DICOM series of the case, if its headers have been read already.

    Raises:
        ValueError: If a file cannot be trusted, is constant or not finite, or channels do not share a grid.
    """
    channels = []
    for path in case.images:
        if is_dicom(path):
            volumes = _read_series(path, series or find_series(path, case.series), case, view, has_sides)
        else:
            volumes = [read_volume(path, case, view=view, has_sides=has_sides)]
        _check_values(volumes)
        channels.append(volumes)
        _check_channels(channels[0], volumes)
    return channels


def read_labels(path: Path, case: Case, *, view: View, has_sides: bool) -> list[Volume]:
    """Reads a label file as its volumes: one, or, of a DICOM series, one per block.

    Raises:
        ValueError: As `read_images`, but for its values.
    """
    if is_dicom(path):
        return _read_series(path, find_series(path), case, view, has_sides)
    return [read_volume(path, case, view=view, has_sides=has_sides)]


def _read_series(path: Path, series: Series, case: Case, view: View, has_sides: bool) -> list[Volume]:
    blocks, left_aside = find_blocks(path, series, view)
    for told in left_aside:
        log.info("%s: left aside: %s", path, told)
    return [_volume(path, read_block(block), case, view, has_sides, slice_index=block.stored) for block in blocks]


def read_volume(path: Path, case: Case, *, view: View, has_sides: bool) -> Volume:
    """Reads one image or label file that is no DICOM series.

    Raises:
        ValueError: If the file cannot be trusted, or neither it nor cohort.csv states its geometry.
    """
    return _volume(path, read_image_file(path), case, view, has_sides)


def _volume(
    path: Path, file: ImageFile, case: Case, view: View, has_sides: bool, slice_index: Sequence[int] | None = None
) -> Volume:
    """What was read of a case, completed by its row in cohort.csv and in canonical order."""
    whole = with_stated_geometry(
        path,
        file,
        view=view,
        has_sides=has_sides,
        spacing_mm=case.spacing_mm,
        orientation=case.orientation,
    )
    return canonical_volume(path, whole, view=view, slice_index=slice_index)


def _check_values(volumes: list[Volume]) -> None:
    for volume in volumes:
        values = volume.voxels
        if not np.isfinite(values).all():
            raise ValueError(not_finite(volume.path, int((~np.isfinite(values)).sum())))
        largest = max(float(values.max()), -float(values.min()))
        if largest > LARGEST:
            raise ValueError(
                f"{volume.path}: holds values up to {largest:.3g}, more than networks can compute with "
                f"({LARGEST:.3g}); the header's scale may be wrong; divide the values, or export the image anew"
            )
        if values.min() == values.max():
            raise ValueError(
                f"{volume.path}: the image is constant ({values.flat[0]:g} everywhere); export it anew, "
                "or remove its row"
            )


def _check_channels(first: list[Volume], other: list[Volume]) -> None:
    if len(first) != len(other):
        raise ValueError(
            f"{other[0].path}: has {len(other)} blocks, {first[0].path} has {len(first)}; channels must share a grid"
        )
    for one, two in zip(first, other, strict=True):
        differences = grid_differences(one, two)
        if differences:
            raise ValueError(
                f"{two.path}: channels must share a grid, but {one.path} and it differ in {'; '.join(differences)}; "
                "resample one onto the other"
            )
