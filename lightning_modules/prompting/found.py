"""Prompts that another run found: of the same fold, whose patients it has not learned from."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.slices import SliceDataModule
from lightning_modules.evaluation.native_grid import NativeGrid
from lightning_modules.prompting.found_run import REMEDY, run_of_fold
from lightning_modules.prompting.pieces import boxes_of, points_of
from records.run import Run, read_run


class FoundPrompts:
    """Prompts from the masks and key points that a finished run predicted for its test slices.

    Args:
        folder: See `lightning_modules.prompting.found_run.run_of_fold`.
        data: What is tested now.
        kind: "box": of a predicted mask; "point": the key point from the run's heat maps or, where its network has
            none, the deepest point of the predicted mask (`lightning_modules.prompting.pieces`).

    Raises:
        ValueError: If it is no finished training, or one of other data, another fold or other structures.
    """

    def __init__(self, folder: str, data: SliceDataModule, kind: str) -> None:
        self.data, self.kind = data, kind
        run = _read(run_of_fold(folder, data, "model.prompts"))
        check_run(run, data)
        self._predictions = run.predictions

    def __call__(self, index: int) -> Float[Tensor, "n _"]:
        """Of a slice, by its row in the store, a box in 0..1 or a point in pixels of the network's grid.

        Raises:
            ValueError: If the file of the slice is missing, cut off or of another size.
        """
        row, native = self.data.store.table.iloc[index], self.data.store.native(index)
        case, number = str(row["case"]), int(row["slice"])
        arrays = self._predictions.of(case, number)
        mask = arrays["predicted_mask"]
        if mask.shape != native.mask.shape:
            raise ValueError(
                f"model.prompts={self._predictions.folder}: its mask of case {case}, slice {number} has {mask.shape} "
                f"pixels, the image {native.mask.shape}; {REMEDY}"
            )
        scan = NativeGrid(grid=self.data.store.grid, size=native.mask.shape, spacing_mm=native.spacing_mm)
        num_structures = self.data.anatomy.num_structures
        if self.kind == "box":
            return scan.boxes_seen(boxes_of(mask, num_structures))
        points = points_of(mask, num_structures, native.spacing_mm)
        return scan.points_seen(self._with_keypoints(points, arrays.get("keypoints", np.zeros((0, 2)))))

    def _with_keypoints(self, points: Float[Tensor, "n 2"], keypoints: Float[np.ndarray, "k 2"]) -> Tensor:
        """Points of the masks, replaced by the key points of that name where the network has heat maps."""
        anatomy = self.data.anatomy
        if not len(keypoints):
            return points
        for name, point in zip(anatomy.keypoints, torch.from_numpy(keypoints).to(points), strict=True):
            if name in anatomy.structures:
                points[anatomy.class_index(name) - 1] = point
        return points


def check_run(run: Run, data: SliceDataModule) -> None:
    """Refuses a run whose predictions are not of what is tested now, or were told of the truth.

    Raises:
        ValueError: Naming what differs.
    """
    told = f"model.prompts={run.folder}"
    if run.oracle:
        raise ValueError(f"{told} was itself told of the true masks, and nothing of it is found; {REMEDY}")
    structures = list(run.config["anatomy"]["structures"])
    if structures != list(data.anatomy.structures):
        raise ValueError(
            f"{told} segments {', '.join(structures)}, this anatomy has {', '.join(data.anatomy.structures)}; {REMEDY}"
        )
    _check_complete(run, data, told)


def _read(folder: Path) -> Run:
    try:
        return read_run(folder)[0][0]
    except ValueError as error:
        raise ValueError(f"model.prompts={folder}: {error}; {REMEDY}") from None


def _check_complete(run: Run, data: SliceDataModule, told: str) -> None:
    kept = run.predictions.index
    known = set(zip(kept["case"], kept["slice"], strict=True))
    rows = data.store.table.iloc[data.indices["test"]]
    lacking = [pair for pair in zip(rows["case"], rows["slice"], strict=True) if pair not in known]
    if lacking:
        raise ValueError(
            f"{told} has no predictions of {len(lacking)} of {len(rows)} test slices, the first case {lacking[0][0]}, "
            f"slice {lacking[0][1]}: it kept or tested fewer; {REMEDY} that was tested to the end"
        )
