"""Makes the rows of a store out of a case: z-score, resampling, and the arrays they are appended to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float16, Float32, Int16, Shaped, UInt8

from datamodules.reading.case_list import Case
from datamodules.reading.case_reader import CaseReader, CaseSlices
from datamodules.reading.geometry import SliceGrid
from datamodules.store.tissue_maps import TissueMaps
from records.whole_files import naming

ARRAYS = ("image", "mask", "labelled", "keypoints", "clicked", "native_image", "native_mask")
MAP_ARRAYS = {"native_tissues": np.int16, "native_fat": np.uint8}  # of cohorts whose tissue maps are asked for
COLUMNS = (
    "case",
    "patient",
    "domain",
    "level",
    "slice",
    "site",
    "contrast",
    "has_mask",
    "has_keypoints",
    "rows",
    "columns",
    "spacing_row_mm",
    "spacing_column_mm",
    "native_offset",
)


@dataclass(frozen=True, kw_only=True)
class PreparedCase:
    """Rows of the store that one case becomes; the first axis of every array is its slices, native pixels are flat.

    There is nothing in `native_tissues` and `native_fat` unless the tissue maps are asked for.
    """

    table: pd.DataFrame
    image: Float32[np.ndarray, "s m h w"]
    mask: UInt8[np.ndarray, "s h w"]
    labelled: Bool[np.ndarray, "s c"]
    keypoints: Float32[np.ndarray, "s k 2"]
    clicked: Bool[np.ndarray, "s k"]
    native_image: Float16[np.ndarray, " i"]
    native_mask: UInt8[np.ndarray, " p"]
    native_tissues: Int16[np.ndarray, " t"]
    native_fat: UInt8[np.ndarray, " t"]
    digests: tuple[str, ...]


def prepare_case(
    reader: CaseReader, grid: SliceGrid, domain: str, case: Case, *, maps: TissueMaps | None = None
) -> PreparedCase:
    """Reads, normalises and resamples one case.

    Args:
        reader: Of its cohort.
        grid: Grid of the network.
        domain: "" for the main cohort; else the name of one that gives key points alone, whose masks are left out.
        case: What to prepare.
        maps: The cohort's tissue maps, if they are to be read.

    Raises:
        ValueError: If something is wrong with its files, naming the case, the file and the remedy.
    """
    records = reader.read(case)
    if domain:
        records = [replace(record, mask=np.zeros_like(record.mask), has_mask=False) for record in records]
    tissues, fat = _maps(reader.cohort, maps, case, records)
    slices = [(record, index) for record in records for index in range(len(record.slice_index))]
    scaled = {id(record): z_score(record.image) for record in records}
    native = [scaled[id(record)][:, index] for record, index in slices]
    num_slices, (h, w) = len(slices), grid.size
    image = [grid.resample_image(pixels, record.spacing_mm) for pixels, (record, _) in zip(native, slices, strict=True)]
    mask = [grid.resample_mask(record.mask[index], record.spacing_mm) for record, index in slices]
    points = [
        grid.to_grid_points(record.keypoints[index], record.mask.shape[1:], record.spacing_mm)
        for record, index in slices
    ]
    return PreparedCase(
        table=_table(case, domain, slices, points),
        # Reshaped, because a case may have no slice left.
        image=np.array(image, np.float32).reshape(num_slices, len(case.images), h, w),
        mask=np.array(mask, np.uint8).reshape(num_slices, h, w),
        labelled=np.array([record.labelled for record, _ in slices], bool).reshape(
            num_slices, len(reader.structures) + 1
        ),
        keypoints=np.array(points, np.float32).reshape(num_slices, len(reader.keypoints), 2),
        clicked=np.array([record.clicked[index] for record, index in slices], bool).reshape(
            num_slices, len(reader.keypoints)
        ),
        native_image=np.concatenate([np.zeros(0, np.float32), *[pixels.ravel() for pixels in native]]).astype(
            np.float16
        ),
        native_mask=np.concatenate([np.zeros(0, np.uint8), *[record.mask[index].ravel() for record, index in slices]]),
        native_tissues=tissues,
        native_fat=fat,
        digests=tuple(digest for record in records for digest in record.digests),
    )


def _maps(
    cohort: str, maps: TissueMaps | None, case: Case, records: Sequence[CaseSlices]
) -> tuple[Int16[np.ndarray, " t"], UInt8[np.ndarray, " t"]]:
    """Flat tissue numbers and fat of all slices; nothing where they are not asked for."""
    try:
        read = maps.read(case, records) if maps else []
    except ValueError as error:
        raise ValueError(f"cohort {cohort}, case {case.case!r}: {error}") from error
    tissues, fat = zip((np.zeros(0, np.int16), np.zeros(0, np.uint8)), *read, strict=True)
    return np.concatenate([part.ravel() for part in tissues]), np.concatenate([part.ravel() for part in fat])


def z_score(image: Float32[np.ndarray, "m d H W"]) -> Float32[np.ndarray, "m d H W"]:
    """Mean 0 and standard deviation 1 of every slice and channel; an empty slice becomes 0."""
    mean = image.mean(axis=(2, 3), keepdims=True, dtype=np.float64)
    deviation = image.std(axis=(2, 3), keepdims=True, dtype=np.float64)
    return ((image - mean) / np.where(deviation > 0, deviation, 1)).astype(np.float32)


def _table(
    case: Case, domain: str, slices: list[tuple[CaseSlices, int]], points: list[Float32[np.ndarray, "k 2"]]
) -> pd.DataFrame:
    rows, offset = [], 0
    for (record, index), point in zip(slices, points, strict=True):
        height, width = record.mask.shape[1:]
        rows.append(
            {
                "case": case.case,
                "patient": case.patient,
                "domain": domain,
                "level": record.level,
                "slice": int(record.slice_index[index]),
                "site": case.site,
                "contrast": case.contrast,
                "has_mask": record.has_mask,
                "has_keypoints": bool(np.isfinite(point).any()),
                "rows": height,
                "columns": width,
                "spacing_row_mm": float(record.spacing_mm[0]),
                "spacing_column_mm": float(record.spacing_mm[1]),
                "native_offset": offset,
            }
        )
        offset += height * width
    return pd.DataFrame(rows, columns=list(COLUMNS))


class GrowingArray:
    """An .npy file whose first axis grows while cases arrive, so that a large cohort never lies in memory.

    Left by its `with`, the file is complete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._shape: tuple[int, ...] | None = None
        self._type = np.dtype(np.uint8)

    def append(self, array: Shaped[np.ndarray, "..."]) -> None:
        """Adds along the first axis; all arrays have the same type and other axes."""
        if self._shape is None:
            self._shape, self._type = (0, *array.shape[1:]), array.dtype
            self._write_header()
        assert array.shape[1:] == self._shape[1:]
        assert array.dtype == self._type
        with naming(self._path):
            self._file.write(np.ascontiguousarray(array).tobytes())
        self._shape = (self._shape[0] + len(array), *self._shape[1:])

    def __enter__(self) -> "GrowingArray":
        return self

    def __exit__(self, *_: object) -> None:
        # NumPy leaves room for a longer first axis in the header.
        with naming(self._path), self._file:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        shape = self._shape or (0,)
        header = {"descr": np.lib.format.dtype_to_descr(self._type), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
