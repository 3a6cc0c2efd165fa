"""The folder `predictions/` of a run: what pictures are drawn from, a compressed file per slice."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8

from lightning_modules.evaluation import EvaluatedSlice, windowed
from lightning_modules.records import of_all_processes
from lightning_modules.written import replace_text

INDEX_COLUMNS = ("file", "case", "patient", "level", "slice")


class PredictionFolder:
    """Writes slices as they come, and at the end the index that makes the folder valid.

    Radiological view: the patient's right is on the image's left. A file holds, on the native grid,

    * `image` uint8 [H, W]: the first channel between its 1st and 99.5th percentile;
    * `true_mask`, `predicted_mask` uint8 [H, W]: class indices; `labelled` bool [c]: classes that were annotated;
    * `true_boxes` float32 [n, 4]: (cx, cy, w, h) in 0..1, NaN where absent; `network_boxes` the same, or [0, 4],
      in the network's precision;
    * `saliency` uint8 [H, W]: 255 times the map, or [0, 0]; `gated_features` uint8 [H, W]: as a share of its maximum,
      or [0, 0];
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
        self.path.mkdir(parents=True, exist_ok=True)
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
        spacing_mm=np.array(item.spacing_mm, np.float64),
        has_mask=np.array(item.has_mask),
    )
    return buffer.getvalue()


def _as_bytes(shares: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """0..1 as 0..255."""
    return np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)
