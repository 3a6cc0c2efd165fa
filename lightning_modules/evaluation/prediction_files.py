"""The folder `predictions/` of a run: a compressed file per slice, for pictures and for computing tables again."""

import io
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
from lightning_modules.evaluation.evaluated import EvaluatedSlice, windowed
from lightning_modules.evaluation.rows import of_all_processes
from records.predictions import INDEX_COLUMNS, read_arrays, read_index
from records.whole_files import naming, replace_text


class PredictionFolder:
    """Writes slices as they come, and at the end the index that makes the folder valid.

    Radiological view: the patient's right is on the image's left. A file holds, on the native grid,

    * `image` uint8 [H, W]: the first channel between its 1st and 99.5th percentile;
    * `true_mask`, `predicted_mask` uint8 [H, W]: class indices; `labelled` bool [c]: classes that were annotated;
    * `true_boxes` float32 [n, 4]: (cx, cy, w, h) in 0..1, NaN where absent; `network_boxes` the same, or [0, 4],
      in the network's precision;
    * `saliency` uint8 [H, W]: 255 times the map, or [0, 0]; `gated_features` uint8 [H, W]: as a share of its maximum,
      or [0, 0];
    * `regions` bool [r, H, W]: what the network judges one by one, in its order, or [0, 0, 0];
    * `true_keypoints` float64 [k, 2]: (x, y) in pixels, NaN where not visible; `keypoints` the same from heat maps and
      `keypoint_peaks` float64 [k], their heights; [0, 2] and [0] without heat maps;
    * `spacing_mm` float64 [2]: row, column; `has_mask` bool: whether anybody drew `true_mask`.

    Args:
        folder: Of the run; `predictions/` in it is replaced.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / "predictions"
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
            (self.path / name).write_bytes(compressed(item))
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
        replace_text(self.path / "index.csv", table.to_csv(index=False))


def compressed(item: EvaluatedSlice) -> bytes:
    """Content of the file of a slice, see `PredictionFolder`."""
    no_map, no_boxes = np.zeros((0, 0), np.uint8), np.zeros((0, 4), np.float32)
    features = item.gated_features
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        image=windowed(item),
        true_mask=item.true_mask.astype(np.uint8),
        predicted_mask=item.predicted_mask.astype(np.uint8),
        labelled=item.labelled,
        true_boxes=item.true_boxes.astype(np.float32),
        network_boxes=no_boxes if item.network_boxes is None else item.network_boxes,
        saliency=no_map if item.saliency is None else _as_bytes(item.saliency),
        gated_features=no_map if features is None else _as_bytes(features / max(float(features.max()), 1e-6)),
        regions=np.zeros((0, 0, 0), bool) if item.regions is None else item.regions,
        true_keypoints=item.true_keypoints.astype(np.float64),
        keypoints=np.zeros((0, 2)) if item.keypoints is None else item.keypoints.astype(np.float64),
        keypoint_peaks=np.zeros(0) if item.keypoint_peaks is None else item.keypoint_peaks.astype(np.float64),
        spacing_mm=np.array(item.spacing_mm, np.float64),
        has_mask=np.array(item.has_mask),
    )
    return buffer.getvalue()


def _as_bytes(shares: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """0..1 as 0..255."""
    return np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)


def arrays_held(folder: Path) -> frozenset[str]:
    """Names of the arrays in the files of a run, of which earlier versions had fewer; none where no slice was tested.

    Raises:
        ValueError: If the first file is missing or cut off.
    """
    rows = _index(folder)
    return frozenset(read_arrays(folder / "predictions" / rows[0]["file"])) if rows else frozenset()


def read_slices(folder: Path, num_structures: int, annotated: Container[tuple[str, str]]) -> Iterator[EvaluatedSlice]:
    """The slices of a run in its order, with what their files hold; the picture is that for looking at.

    Args:
        folder: The run folder.
        num_structures: Classes without the background.
        annotated: Case and slice of those with a mask, for files of an earlier version, which do not say it.

    Raises:
        ValueError: If a file is missing or cut off.
    """
    for number, row in enumerate(_index(folder)):
        arrays = read_arrays(folder / "predictions" / row["file"])
        arrays.setdefault("has_mask", np.array((row["case"], row["slice"]) in annotated))
        yield _slice(number, row, arrays, num_structures)


def _index(folder: Path) -> list[dict[str, str]]:
    return [{str(name): value for name, value in row.items()} for row in read_index(folder).to_dict("records")]


def _slice(
    number: int, row: Mapping[str, str], arrays: Mapping[str, np.ndarray], num_structures: int
) -> EvaluatedSlice:
    true_mask, predicted = (arrays[name].astype(np.int64) for name in ("true_mask", "predicted_mask"))
    true_boxes, mask_boxes = (
        boxes_of_masks(torch.from_numpy(mask)[None], num_structures)[0].numpy() for mask in (true_mask, predicted)
    )
    # Earlier versions kept single precision: the shortest number that it stands for is what the file said.
    row_mm, column_mm = (float(str(value)) for value in arrays["spacing_mm"])

    def held(name: str) -> Any:
        """An array, or None where the network has none or nobody kept it."""
        return arrays[name] if name in arrays and len(arrays[name]) else None

    return EvaluatedSlice(
        **{"index": number, "case": row["case"], "patient": row["patient"], "level": row["level"]},
        slice=int(row["slice"]),
        image=arrays["image"][None].astype(np.float32),
        true_mask=true_mask,
        predicted_mask=predicted,
        labelled=arrays["labelled"],
        true_boxes=true_boxes,
        mask_boxes=mask_boxes,
        network_boxes=held("network_boxes"),
        saliency=None,
        spacing_mm=(row_mm, column_mm),
        has_mask=bool(arrays["has_mask"]),
        true_keypoints=arrays.get("true_keypoints", np.zeros((0, 2))),
        keypoints=held("keypoints"),
        keypoint_peaks=held("keypoint_peaks"),
        regions=held("regions"),
    )
