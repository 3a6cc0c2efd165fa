"""Spacing and orientation are stated by the file, stated by cohort.csv, or missing; they are never guessed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from datamodules.anatomy import View
from datamodules.reading.image_file import PICTURE_SUFFIXES, ImageFile
from datamodules.reading.volume import CANONICAL, DIRECTIONS, MAX_TILT_COSINE

ROUNDED = 0.01  # by how much a spacing in cohort.csv may differ from the header's, as a share: people round
FLAT_CANONICAL = {view: sides[2] + sides[1] for view, sides in CANONICAL.items()}  # first columns, then rows
_EXPECTED = {
    False: "two letters of L R A P S I, the sides towards which its columns, then its rows run; as a rule LP for an "
    "axial slice, PI for a sagittal one",
    True: "three letters of L R A P S I, the sides towards which its axes run, such as LPS",
}


def with_stated_geometry(
    path: Path,
    file: ImageFile,
    *,
    view: View,
    has_sides: bool,
    spacing_mm: tuple[float, ...] | None,
    orientation: str,
) -> ImageFile:
    """Completes a file that states no spacing or no orientation by what cohort.csv says.

    Args:
        path: Where it comes from.
        file: As read.
        view: View of the anatomy.
        has_sides: Whether left and right are different structures there; if so, the orientation is never guessed.
        spacing_mm: (row, column) from the column spacing; of a volume (row, column, slice).
        orientation: Sides towards which columns, then rows (of a volume, its three axes) run, such as "LP".

    Raises:
        ValueError: If something is stated nowhere, the orientation is none, or cohort.csv contradicts the header.
    """
    is_volume = file.voxels.shape[0] > 1
    file = _with_spacing(path, file, spacing_mm, is_volume)
    if not orientation and not file.has_orientation:
        if has_sides or is_volume:
            raise ValueError(
                f"{path}: does not say where the patient's left is; add the column orientation to cohort.csv, "
                f"{_EXPECTED[is_volume]}"
            )
        orientation = FLAT_CANONICAL[view]
    if not orientation:
        return file
    stated = _direction_of(path, orientation, is_volume)
    if not file.has_orientation:
        return replace(file, direction=stated, has_orientation=True)
    if (np.diag(file.direction.T @ stated)[: len(orientation)] < MAX_TILT_COSINE).any():
        raise ValueError(
            f"{path}: the header contradicts the orientation {orientation!r} of cohort.csv; correct one of them"
        )
    return file


def _with_spacing(path: Path, file: ImageFile, spacing_mm: tuple[float, ...] | None, is_volume: bool) -> ImageFile:
    expected = "0.7;0.6;4 (rows;columns;slices)" if is_volume else "0.6875, or rows;columns as 0.7;0.6"
    if file.has_spacing:
        # Which axis of the file is whose depends on how it was stored: each number must be that of one of them.
        off = [mm for mm in spacing_mm or () if all(abs(mm / axis - 1) > ROUNDED for axis in file.spacing_mm)]
        if off:
            raise ValueError(
                f"{path}: the header contradicts the spacing {off[0]:g} mm of cohort.csv: its voxels are "
                f"{' x '.join(f'{mm:.4g}' for mm in file.spacing_mm)} mm; correct one of them"
            )
        return file
    if spacing_mm is None and path.suffix not in PICTURE_SUFFIXES:
        raise ValueError(
            f"{path}: its header does not say how large a voxel is; correct it, or add the column spacing to "
            f"cohort.csv, in mm: {expected}"
        )
    if spacing_mm is None:
        raise ValueError(
            f"{path}: a {path.suffix} file does not say how large a pixel is; add the column spacing to cohort.csv, in "
            f"mm: {expected}"
        )
    if is_volume and len(spacing_mm) < 3:
        raise ValueError(
            f"{path}: the file does not say how large a pixel is, nor how far its slices lie apart; the column spacing "
            f"of cohort.csv has to say both, in mm: {expected}"
        )
    rows, columns, *slices = spacing_mm
    return replace(file, spacing_mm=(columns, rows, slices[0] if is_volume else file.spacing_mm[2]), has_spacing=True)


def _direction_of(path: Path, orientation: str, is_volume: bool) -> Float64[np.ndarray, "3 3"]:
    sides = [DIRECTIONS.get(side) for side in orientation.upper()]
    axes = np.array([side for side in sides if side], np.float64).reshape(-1, 3)
    if len(axes) == 2 and not is_volume:
        axes = np.concatenate([axes, np.cross(axes[0], axes[1])[None]])
    if None in sides or axes.shape != (3, 3) or abs(np.linalg.det(axes)) != 1:
        raise ValueError(f"{path}: orientation is {orientation!r}, expected {_EXPECTED[is_volume]}")
    return axes.T
