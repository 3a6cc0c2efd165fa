"""Preprocesses a cohort once into memory-mapped arrays that are named by a hash of all that they depend on."""

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32, UInt8

from datamodules.anatomy import Anatomy
from datamodules.cohort import Cohort
from datamodules.reading.geometry import SliceGrid
from datamodules.store.preparation import MAP_ARRAYS
from datamodules.store.store_writer import write_store

FORMAT = 2  # raise it when the content of a store changes for the same input
ABANDONED_AFTER_S = 24 * 3600
TEXT_COLUMNS = ("case", "patient", "domain", "level", "site", "contrast")


@dataclass(frozen=True, kw_only=True)
class NativeSlice:
    """A slice on the pixels of its file, in canonical orientation: for scoring and pictures.

    Attributes:
        image: z-scored intensities.
        mask: Class indices.
        spacing_mm: Size of a pixel, (row, column).
    """

    image: Float32[np.ndarray, "m H W"]
    mask: UInt8[np.ndarray, "H W"]
    spacing_mm: tuple[float, float]


class SliceStore:
    """Slices of a cohort on the network's grid and on their own pixels; opening it maps files and reads none of them.

    Attributes:
        folder: Where it lies.
        fingerprint: Hash of the cohort's files and settings, the anatomy and the grid.
        anatomy: Structures of `mask` and `labelled`.
        grid: Grid of `image`, `mask` and `keypoints`.
        table: One row per slice: case, patient, domain ("", or the name of the weak cohort), level, slice, site,
            contrast, has_mask, has_keypoints, rows, columns, spacing_row_mm, spacing_column_mm, native_offset (of its
            pixels in the flat native arrays).
        image: z-scored per slice and channel over its own pixels, "s m h w".
        mask: Class indices, "s h w".
        labelled: Classes that the annotator drew, "s c"; background is always True.
        keypoints: (x, y) in pixels of the grid, "s k 2"; NaN where not visible.
        clicked: Which of them keypoints.csv states, "s k"; the others are centroids of what was drawn.
        tissues: Names of the tissues by their number in tissue maps; none where the cohort's are not asked for.
        native_mask: Class indices of all slices on the pixels of their files, flat; likewise `native_tissues`, numbers
            of tissues, and `native_fat`, in steps (`tissue_maps`), which are empty where nobody asks for them.
        native_place: (rows, columns, offset in the flat arrays) of every slice, and its `native_spacing`, mm.
    """

    def __init__(self, folder: Path, anatomy: Anatomy) -> None:
        self.folder = folder
        self.anatomy = anatomy
        info = json.loads((folder / "info.json").read_text())
        self.fingerprint: str = info["fingerprint"]
        self.grid = SliceGrid(**info["grid"])
        self.tissues: tuple[str, ...] = tuple(info.get("tissues", ()))
        self.table = pd.read_csv(folder / "table.csv", dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False)
        self.image: np.ndarray = self._map("image")
        self.mask: np.ndarray = self._map("mask")
        self.labelled: np.ndarray = self._map("labelled")
        self.keypoints: np.ndarray = self._map("keypoints")
        self.clicked: np.ndarray = self._map("clicked")
        self._native_image = self._map("native_image")
        self.native_mask: np.ndarray = self._map("native_mask")
        self.native_tissues, self.native_fat = (
            self._map(name) if self.tissues else np.zeros(0, kind) for name, kind in MAP_ARRAYS.items()
        )
        columns = ("rows", "columns", "native_offset")
        self.native_place = self.table[list(columns)].to_numpy(np.int64)
        self.native_spacing = self.table[["spacing_row_mm", "spacing_column_mm"]].to_numpy(np.float64)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def num_channels(self) -> int:
        """Number of input channels."""
        return self.image.shape[1]

    def native(self, index: int) -> NativeSlice:
        """The slice of a row of the table on the pixels of its file."""
        rows, columns, offset = (int(number) for number in self.native_place[index])
        size, m = rows * columns, self.num_channels
        image = self._native_image[offset * m : (offset + size) * m].reshape(m, rows, columns)
        mask = self.native_mask[offset : offset + size].reshape(rows, columns)
        row_mm, column_mm = (float(number) for number in self.native_spacing[index])
        return NativeSlice(image=image.astype(np.float32), mask=np.array(mask), spacing_mm=(row_mm, column_mm))

    def _map(self, name: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            # c: copy on write. What torch makes of a read-only array is undefined when something writes to it.
            return np.load(path, mmap_mode="c")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path}: the prepared data are damaged ({error}); delete {self.folder}, it is built anew"
            ) from error


def build_store(
    cohort: Cohort, *, weak: Cohort | None = None, grid: SliceGrid, cache: str | Path, num_workers: int
) -> SliceStore:
    """Opens the store of a cohort, building it first if there is none for these files and settings.

    Args:
        cohort: Cases to prepare.
        weak: Cohort whose cases follow, as the domain of its name, with their key points and without masks.
        grid: Grid of the network.
        cache: Folder that holds all stores.
        num_workers: Processes that read and resample; 0 or 1 for this process alone.

    Raises:
        ValueError: If a case cannot be trusted, two patients have the same image, or key points are in millimetres;
            nothing is left behind then.
    """
    cache = Path(cache).expanduser()
    cohorts = [cohort] if weak is None else [cohort, weak]
    fingerprint = _fingerprint(cohorts, grid, cache / "file_hashes.json")
    folder = cache / f"{cohort.name}-{fingerprint[:16]}"
    if not (folder / "info.json").is_file():
        # Built under another name and renamed when complete: a folder of this name is always a finished store.
        cache.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(cache)
        temporary = Path(tempfile.mkdtemp(dir=cache, prefix=f".building-{cohort.name}-"))
        try:
            info = {"format": FORMAT, "fingerprint": fingerprint}
            write_store(cohorts, grid, temporary, info=info, num_workers=num_workers)
            _publish(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return SliceStore(folder, cohort.anatomy)


def _remove_abandoned(cache: Path) -> None:
    """Deletes what killed processes left half-written; nothing was added to it for a day."""
    for folder in cache.glob(".building-*"):
        times = [path.stat().st_mtime for path in (folder, *folder.glob("*")) if path.exists()]
        if time.time() - max(times, default=time.time()) > ABANDONED_AFTER_S:
            shutil.rmtree(folder, ignore_errors=True)


def _fingerprint(cohorts: Sequence[Cohort], grid: SliceGrid, memory: Path) -> str:
    contents = [[cohort.name, cohort.anatomy.name, cohort.fingerprint(memory)] for cohort in cohorts]
    described = json.dumps([FORMAT, asdict(grid), contents], sort_keys=True)
    return blake2b(described.encode(), digest_size=16).hexdigest()


def _publish(temporary: Path, folder: Path) -> None:
    temporary.chmod(0o755)
    if folder.is_dir() and not (folder / "info.json").is_file():
        shutil.rmtree(folder)  # somebody deleted a part of it
    try:
        temporary.rename(folder)
    except OSError:
        # Another process was faster; its store is as good as ours.
        if not (folder / "info.json").is_file():
            raise
