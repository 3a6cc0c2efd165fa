"""Mistakes of keypoints.csv that would go unnoticed: columns swapped, millimetres for pixels, another vertebra."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, UInt8

from datamodules.anatomy import View
from datamodules.reading.case_list import KeyPoint
from datamodules.reading.volume import Volume

FEWEST_UPRIGHT = 3  # key points that tell how a spine runs: two may be a tilted sacral disc and its vertebra
# A spine read in millimetres seems smaller by its pixel size. Lumbar spines of adults differ by 7 % (SD), so that only
# pixels well below or above 1 mm can be told from small or tall people.
SAME_SIZE, OTHER_SIZE = 0.08, 0.2  # of a logarithm

_Reading = Callable[[Volume, KeyPoint], tuple[float, float]]  # (col, row) that was meant


def _as_stated(volume: Volume, point: KeyPoint) -> tuple[float, float]:
    return point.col, point.row


def _swapped(volume: Volume, point: KeyPoint) -> tuple[float, float]:
    return point.row, point.col


def _from_millimetres(volume: Volume, point: KeyPoint) -> tuple[float, float]:
    row_mm, column_mm = volume.pixel_mm
    return point.col / column_mm, point.row / row_mm


_REMEDIES: dict[_Reading, str] = {
    _swapped: "with col and row swapped it would fit: exchange the two columns of keypoints.csv",
    _from_millimetres: "read as millimetres it would fit: divide col and row by the size of a pixel",
}


def is_on(volume: Volume, col: float, row: float) -> bool:
    """Whether indices along the file's axes lie on a pixel of the slices; NaN does not."""
    height, width = volume.voxels.shape[1:]
    return -0.5 <= col <= width - 0.5 and -0.5 <= row <= height - 0.5


def other_reading(volume: Volume, point: KeyPoint) -> str:
    """What may have been meant by a key point outside of the image; empty if nothing suggests itself."""
    return next((remedy for read, remedy in _REMEDIES.items() if is_on(volume, *read(volume, point))), "")


def check_against_mask(
    volume: Volume, mask: UInt8[np.ndarray, "d H W"], points: Sequence[KeyPoint], structures: Sequence[str]
) -> None:
    """Refuses key points that contradict the mask of their slice.

    Those of structures that are not drawn on their slice prove nothing and pass, and so do imprecise ones that lie
    beside their structure.

    Raises:
        ValueError: If more of them would fit swapped or as millimetres, or one lies in another structure.
    """
    found = [(point, _box(mask[_index(volume, point)], point.structure, structures)) for point in points]
    drawn = [(point, box) for point, box in found if box is not None]
    fits = {
        read: [_in(box, *volume.to_pixel(*read(volume, point))) for point, box in drawn]
        for read in (_as_stated, *_REMEDIES)
    }
    for read, remedy in _REMEDIES.items():
        if sum(fits[read]) > sum(fits[_as_stated]):
            first, _ = drawn[fits[_as_stated].index(False)]
            raise ValueError(f"{_place(first)} lies outside of its structure in the label file; {remedy}")
    for (point, _), fitting in zip(drawn, fits[_as_stated], strict=True):
        x, y = volume.to_pixel(point.col, point.row)
        here = mask[_index(volume, point), round(y), round(x)]
        if not fitting and here:
            raise ValueError(
                f"{_place(point)} lies in {structures[here - 1]} of the label file; correct the structure of the row "
                "or the label"
            )


def check_upright(view: View, volume: Volume, xy: Float32[np.ndarray, "d k 2"], names: Sequence[str]) -> None:
    """Refuses key points of a spine that would run from front to back, on sagittal slices that nobody drew.

    Raises:
        ValueError: If they extend further along the columns of a slice than along its rows.
    """
    if view != "sagittal":
        return
    for index, points in zip(volume.slice_index, xy, strict=True):
        seen = np.isfinite(points).all(axis=1)
        if seen.sum() < FEWEST_UPRIGHT:
            continue
        across_mm, down_mm = np.ptp(points[seen], axis=0) * volume.pixel_mm[::-1]
        if across_mm > down_mm:
            first, last = (names[number] for number in np.flatnonzero(seen)[[0, -1]])
            raise ValueError(
                f"keypoints.csv: {first} to {last} at slice {index} extend over {across_mm:.0f} mm from front to back "
                f"but {down_mm:.0f} mm from top to bottom: col and row seem to be swapped; exchange the two columns"
            )


def check_sizes(
    table: pd.DataFrame, keypoints: Float[np.ndarray, "s k 2"], grid_spacing_mm: float, names: Sequence[str]
) -> None:
    """Refuses spines without masks whose size says that their key points are in millimetres.

    Args:
        table: A store's rows; slices with masks say how far apart key points lie.
        keypoints: In pixels of the network's grid.
        grid_spacing_mm: Its pixel.
        names: Of the key points.

    Raises:
        ValueError: Naming the case, the structures and the remedy.
    """
    masked = table["has_mask"].to_numpy(dtype=bool)
    if not (masked.any() and len(names)):
        return
    distance_mm = np.linalg.norm(keypoints[:, :, None] - keypoints[:, None], axis=-1) * grid_spacing_mm
    expected_mm = np.ma.filled(np.ma.median(np.ma.masked_invalid(distance_mm[masked]), axis=0), np.nan)
    pixels_mm = table["spacing_row_mm"].to_numpy(np.float64)
    for row in np.flatnonzero(~masked & (np.abs(np.log(pixels_mm)) > OTHER_SIZE)):
        known = np.isfinite(distance_mm[row] + expected_mm) & (expected_mm > 0)
        if not known.any():
            continue
        size = distance_mm[row][known].sum() / expected_mm[known].sum()
        if abs(np.log(max(size, 1e-9) / pixels_mm[row])) < SAME_SIZE:
            first, last = (names[number] for number in np.argwhere(known)[[0, -1], 0])
            raise ValueError(
                f"case {table['case'].iloc[row]!r}: keypoints.csv: {first} to {last} lie {size:.2f} times as far apart "
                f"as in the cases with masks, and a pixel measures {pixels_mm[row]:.2f} mm: col and row seem to be "
                "millimetres; divide them by the size of a pixel"
            )


def _index(volume: Volume, point: KeyPoint) -> int:
    return int(np.flatnonzero(volume.slice_index == point.slice)[0])


def _box(
    mask: UInt8[np.ndarray, "H W"], structure: str, structures: Sequence[str]
) -> tuple[float, float, float, float] | None:
    """First and last column and row of a structure, a pixel added on each side; None where it is not drawn."""
    rows, columns = np.nonzero(mask == structures.index(structure) + 1) if structure in structures else ((), ())
    if not len(rows):
        return None
    return float(min(columns) - 1), float(max(columns) + 1), float(min(rows) - 1), float(max(rows) + 1)


def _in(box: tuple[float, float, float, float], x: float, y: float) -> bool:
    return box[0] <= x <= box[1] and box[2] <= y <= box[3]


def _place(point: KeyPoint) -> str:
    return f"keypoints.csv: {point.structure} at slice {point.slice}, col {point.col}, row {point.row}"
