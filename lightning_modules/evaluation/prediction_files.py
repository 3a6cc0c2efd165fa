"""The folder `predictions/` of a run: a compressed file per slice, for pictures and for computing tables again."""

import re
import shutil
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8

from datamodules.batch import boxes_of_masks
from lightning_modules.evaluation.evaluated import EvaluatedSlice
from lightning_modules.evaluation.rows import of_all_processes
from pictures.view import grey_levels
from records.predictions import FOLDER, INDEX, INDEX_COLUMNS, Predictions, StoredSlice, read_arrays
from records.whole_files import naming, replace_text


class PredictionFolder:
    """Writes slices (`StoredSlice`) as they come, and at the end the index that makes the folder valid.

    Args:
        folder: Of the run; `predictions/` in it is replaced.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / FOLDER
        self._rows: dict[int, tuple[str | int, ...]] = {}  # of the index, by the slice's row in the store

    def clear(self) -> None:
        """Removes what an earlier test has left."""
        self._rows = {}
        if self.path.exists():
            shutil.rmtree(self.path)

    def add(self, item: EvaluatedSlice) -> None:
        """Writes one slice."""
        # A case may be called anything; its place in the store keeps names apart that only odd characters did.
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", item.case)[:60].strip(".")
        name = f"{item.index:05d}_{readable}_{item.slice}.npz"
        self.path.mkdir(exist_ok=True)
        with naming(self.path / name):
            (self.path / name).write_bytes(stored(item).compressed())
        self._rows[item.index] = (name, item.case, item.patient, item.level, item.slice)

    def finish(self, *, is_first: bool = True) -> None:
        """Writes the index: every file that it names is whole.

        Args:
            is_first: All processes of a run have to call this; the first of them writes.
        """
        rows = of_all_processes(self._rows)
        if not is_first:
            return
        table = pd.DataFrame([rows[index] for index in sorted(rows)], columns=list(INDEX_COLUMNS))
        replace_text(self.path.parent / INDEX, table.to_csv(index=False))


def stored(item: EvaluatedSlice) -> StoredSlice:
    """What is kept of a slice."""
    features = item.gated_features
    maps = {
        "network_boxes": item.network_boxes,
        "saliency": None if item.saliency is None else _as_bytes(item.saliency),
        "gated_features": None if features is None else _as_bytes(features / max(float(features.max()), 1e-6)),
        "regions": item.regions,
        "keypoints": None if item.keypoints is None else item.keypoints.astype(np.float64),
        "keypoint_peaks": None if item.keypoint_peaks is None else item.keypoint_peaks.astype(np.float64),
    }
    return StoredSlice(
        image=grey_levels(item.image[0]),
        true_mask=item.true_mask.astype(np.uint8),
        predicted_mask=item.predicted_mask.astype(np.uint8),
        labelled=item.labelled,
        true_boxes=item.true_boxes.astype(np.float32),
        true_keypoints=item.true_keypoints.astype(np.float64),
        spacing_mm=np.array(item.spacing_mm, np.float64),
        has_mask=np.array(item.has_mask),
        **{name: array for name, array in maps.items() if array is not None},
    )


def _as_bytes(shares: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """0..1 as 0..255."""
    return np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)


def arrays_held(folder: Path) -> frozenset[str]:
    """Names of the arrays in the files of a run, of which earlier versions had fewer; none where no slice was tested.

    Raises:
        ValueError: If the first file is missing or cut off.
    """
    paths = Predictions(folder).paths
    return frozenset(read_arrays(paths[0])) if paths else frozenset()


def read_slices(folder: Path, num_structures: int, annotated: Container[tuple[str, str]]) -> Iterator[EvaluatedSlice]:
    """The slices of a run in its order, with what their files hold; the picture is that for looking at.

    Args:
        folder: The run folder.
        num_structures: Classes without the background.
        annotated: Case and slice of those with a mask, for files of an earlier version, which do not say it.

    Raises:
        ValueError: If a file is missing or cut off.
    """
    predictions = Predictions(folder)
    rows = predictions.index.filter(INDEX_COLUMNS[1:]).to_dict("records")
    for number, (row, arrays) in enumerate(zip(rows, predictions, strict=True)):
        arrays.setdefault("has_mask", np.array((row["case"], str(row["slice"])) in annotated))
        yield _slice({"index": number, **row}, StoredSlice.of(arrays), num_structures)


def _slice(names: Mapping[Any, Any], kept: StoredSlice, num_structures: int) -> EvaluatedSlice:
    true_mask, predicted = kept.true_mask.astype(np.int64), kept.predicted_mask.astype(np.int64)
    true_boxes, mask_boxes = (
        boxes_of_masks(torch.from_numpy(mask)[None], num_structures)[0].numpy() for mask in (true_mask, predicted)
    )
    # Earlier versions kept single precision: the shortest number that it stands for is what the file said.
    row_mm, column_mm = (float(str(value)) for value in kept.spacing_mm)

    def held(array: np.ndarray) -> np.ndarray | None:
        """An array, or None where the network has none or nobody kept it."""
        return array if len(array) else None

    return EvaluatedSlice(
        **names,
        image=kept.image[None].astype(np.float32),
        true_mask=true_mask,
        predicted_mask=predicted,
        labelled=kept.labelled,
        true_boxes=true_boxes,
        mask_boxes=mask_boxes,
        network_boxes=held(kept.network_boxes),
        saliency=None,
        spacing_mm=(row_mm, column_mm),
        has_mask=bool(kept.has_mask),
        true_keypoints=kept.true_keypoints,
        keypoints=held(kept.keypoints),
        keypoint_peaks=held(kept.keypoint_peaks),
        regions=held(kept.regions),
    )
