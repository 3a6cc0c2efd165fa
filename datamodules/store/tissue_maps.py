"""Tissue maps of a cohort: which tissue every pixel is and how much fat it holds, for pictures that are made of them.

`cohort.csv` names the files of a case in the columns `tissues` (ids) and, where there is one, `fat_map` (fraction,
0..1); `tissues.csv` beside it says by `id` and `tissue` what the ids are. Id 0 is air unless it is listed. Several ids
may be one tissue, as the marrow of each vertebra: what is drawn for every one of them differs a little.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int16, Shaped, UInt8

from datamodules.anatomy import View
from datamodules.reading.case_images import read_images, read_volume
from datamodules.reading.case_list import SEPARATOR, Case
from datamodules.reading.case_reader import CaseSlices, whole_numbers
from datamodules.reading.csv_table import read_table
from datamodules.reading.volume import Volume, grid_differences

TABLE = "tissues.csv"
AIR = "air"
FAT_STEPS = 254  # a fat fraction of 1, as stored
UNKNOWN_FAT = 255  # where there is no fat map


MapsOfVolume = tuple[Int16[np.ndarray, "d H W"], UInt8[np.ndarray, "d H W"]]


@dataclass(frozen=True, kw_only=True)
class TissueMaps:
    """Where the tissue maps of a cohort lie and what their ids mean.

    Attributes:
        root: Folder of the cohort.
        view: View of the anatomy.
        has_sides: Whether left and right are different structures.
        ids: Ids in the files, in the order of their numbers in a store.
        names: Tissue of each of them.
    """

    root: Path
    view: View
    has_sides: bool
    ids: tuple[int, ...]
    names: tuple[str, ...]

    @classmethod
    def open(cls, root: Path, cases: Sequence[Case], *, view: View, has_sides: bool) -> "TissueMaps":
        """Reads tissues.csv.

        Raises:
            ValueError: If it is missing or wrong, or a case has no tissue map.
        """
        for case in cases:
            if not case.row.get("tissues"):
                raise ValueError(
                    f"case {case.case!r} has no tissue map (column tissues of {root / 'cohort.csv'}), of which "
                    "data/augmentation=synthesis makes its pictures; add the maps, or choose another augmentation"
                )
            for name in ("tissues", "fat_map"):
                for path in _files(root, case, name):
                    if not path.exists():
                        raise ValueError(
                            f"case {case.case!r}: the file {path} of the column {name} is missing; correct the path in "
                            "cohort.csv"
                        )
        table = root / TABLE
        if not table.is_file():
            raise ValueError(
                f"{table}: is missing; write it with the columns id and tissue, which say what the tissue maps hold"
            )
        found: dict[int, str] = {0: AIR}
        for line, row in read_table(table, ("id", "tissue")).items():
            if not row["id"].isdigit():
                raise ValueError(f"{table}: line {line}: id is {row['id']!r}, expected a whole number from 0")
            number = int(row["id"])
            if number and number in found:
                raise ValueError(f"{table}: line {line}: id {number} is listed twice; keep one of the lines")
            found[number] = row["tissue"]
        return cls(root=root, view=view, has_sides=has_sides, ids=tuple(found), names=tuple(found.values()))

    def files(self, case: Case) -> list[Path]:
        """The files of a case."""
        return [path for name in ("tissues", "fat_map") for path in _files(self.root, case, name)]

    def read(self, case: Case, records: Sequence[CaseSlices]) -> list[MapsOfVolume]:
        """Numbers of the tissues ("d H W") and fat, in steps, of the slices of every volume of a case.

        Raises:
            ValueError: If a file cannot be trusted, lies on another grid than the image, or holds an unknown id.
        """
        images = read_images(case, view=self.view, has_sides=self.has_sides)[0]
        tissues, fat = (self._of_blocks(case, name, images) for name in ("tissues", "fat_map"))
        found = []
        for block, (image, record) in enumerate(zip(images, records, strict=True)):
            places = [int(np.flatnonzero(image.slice_index == number)[0]) for number in record.slice_index]
            if block not in tissues:
                raise ValueError(f"{image.path}: no file of the column tissues lies on the grid of block {block + 1}")
            numbers = self._numbers(tissues[block])[places]
            unknown = np.full(numbers.shape, UNKNOWN_FAT, np.uint8)
            found.append((numbers, _steps(fat[block])[places] if block in fat else unknown))
        return found

    def _of_blocks(self, case: Case, name: str, images: Sequence[Volume]) -> dict[int, Volume]:
        found = {}
        for path in _files(self.root, case, name):
            volume = read_volume(path, case, view=self.view, has_sides=self.has_sides)
            differences = [grid_differences(image, volume) for image in images]
            if [] not in differences:
                raise ValueError(
                    f"{path}: does not lie on the grid of the image {images[0].path} (they differ in "
                    f"{'; '.join(differences[0])}); resample the map of the column {name} onto its image"
                )
            found[differences.index([])] = volume
        return found

    def _numbers(self, volume: Volume) -> Int16[np.ndarray, "d H W"]:
        voxels = whole_numbers(volume.voxels)
        ids = np.unique(voxels)
        unknown = [f"{value:g}" for value in ids if value not in self.ids]
        if unknown:
            raise ValueError(
                f"{volume.path}: holds the id {', '.join(unknown[:8])}, which {self.root / TABLE} does not list; add it"
                " there with its tissue"
            )
        table = np.array([self.ids.index(int(value)) for value in ids], np.int16)
        return table[np.searchsorted(ids, voxels)]


def _files(root: Path, case: Case, name: str) -> list[Path]:
    return [root / part.strip() for part in case.row.get(name, "").split(SEPARATOR) if part.strip()]


def _steps(volume: Volume) -> UInt8[np.ndarray, "d H W"]:
    fraction: Shaped[np.ndarray, "d H W"] = volume.voxels
    if not np.isfinite(fraction).all() or fraction.min() < 0 or fraction.max() > 1:
        raise ValueError(f"{volume.path}: holds values outside of 0..1; a fat map holds the fraction of fat")
    return np.rint(fraction * FAT_STEPS).astype(np.uint8)
