"""Key points that a trained run found on its test slices, for who may know no more of them than it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from datamodules.slices import SliceDataModule
from lightning_modules.evaluation.native_grid import NativeGrid
from lightning_modules.prompting.found_run import run_of_fold
from records.readout_files import HEATMAP, MASK, read_keypoints

Slice = tuple[str, int]  # case, slice


@dataclass(frozen=True, kw_only=True)
class FoundPoints:
    """The key points of a run's test slices: of its heat maps, or the centres of its masks where it has none.

    Attributes:
        run: Its folder.
        data: Whose slices are asked for.
        points: (x, y) in pixels of the image, by slice and name.
    """

    run: Path
    data: SliceDataModule
    points: Mapping[Slice, Mapping[str, tuple[float, float]]]

    @classmethod
    def of(cls, given: str, data: SliceDataModule) -> "FoundPoints":
        """Those of the run of this fold.

        Args:
            given: See `lightning_modules.prompting.found_run.run_of_fold`.
            data: The slices.

        Raises:
            ValueError: If there is no such run or several, it is of another fold, split or cohort (it trained on those
                who are tested here), or it did not test every slice.
        """
        run = run_of_fold(given, data, "points")
        found = cls(run=run, data=data, points=_read(run / "keypoints.csv"))
        for index in data.indices["test"]:
            found(int(index))
        return found

    def __call__(self, index: int) -> Float[np.ndarray, "k 2"]:
        """Key points of a row of the store, (x, y) in pixels of the network's grid; NaN where the run found none.

        Raises:
            ValueError: If the run did not test the slice.
        """
        store, row = self.data.store, self.data.store.table.iloc[index]
        where = (str(row["case"]), int(row["slice"]))
        if where not in self.points:
            raise ValueError(
                f"{self.run / 'keypoints.csv'} has no key points of case {where[0]}, slice {where[1]}; test it whole"
            )
        named, native = self.points[where], store.native(index)
        points = np.array([named.get(name, (np.nan, np.nan)) for name in self.data.anatomy.keypoints], np.float64)
        scan = NativeGrid(grid=store.grid, size=native.mask.shape, spacing_mm=native.spacing_mm)
        return scan.points_seen(torch.from_numpy(points)).numpy()


def _read(path: Path) -> dict[Slice, dict[str, tuple[float, float]]]:
    """Points by slice and name, of the heat maps wherever the table has any."""
    if not path.exists():
        raise ValueError(f"points: {path} is missing; test its run again (its anatomy has to have key points)")
    try:
        table = read_keypoints(path)
    except ValueError as error:
        raise ValueError(f"points: {path.parent}: {error}; test its run again") from None
    source = HEATMAP if HEATMAP in set(table["source"]) else MASK
    found: dict[Slice, dict[str, tuple[float, float]]] = {}
    for row in table.to_dict("records"):
        named = found.setdefault((str(row["case"]), int(row["slice"])), {})
        if row["source"] == source:
            named[str(row["structure"])] = (float(row["x"]), float(row["y"]))
    return found
