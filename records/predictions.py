"""`predictions/` of a run folder: a compressed file per test slice, and the index that names them."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = "predictions"
INDEX = f"{FOLDER}/index.csv"  # written last: every file that it names is whole
INDEX_COLUMNS = ("file", "case", "patient", "level", "slice")


def _none(*shape: int, dtype: type = np.float64) -> Callable[[], np.ndarray]:
    return lambda: np.zeros(shape, dtype)


@dataclass(frozen=True, kw_only=True)
class StoredSlice:
    """A test slice on its native grid, in radiological view: the arrays of a file, under these names.

    Earlier versions had fewer: an array that a file lacks is as where a network has none.

    Attributes:
        image: uint8 [H, W], the first channel between its 1st and 99.5th percentile.
        true_mask: uint8 [H, W], class indices.
        predicted_mask: The same.
        labelled: bool [c], classes that were annotated.
        true_boxes: float32 [n, 4], (cx, cy, w, h) in 0..1, NaN where absent.
        network_boxes: The same in the network's precision, or [0, 4].
        saliency: uint8 [H, W], 255 times the map, or [0, 0].
        gated_features: uint8 [H, W], mean over channels before the gate, as a share of its maximum, or [0, 0].
        regions: bool [r, H, W], what the network judges one by one, in its order, or [0, 0, 0].
        true_keypoints: float64 [k, 2], (x, y) in pixels, NaN where not visible.
        keypoints: The same from heat maps, or [0, 2].
        keypoint_peaks: float64 [k], their heights, or [0].
        spacing_mm: float64 [2]: row, column.
        has_mask: bool, whether anybody drew `true_mask`.
    """

    image: np.ndarray
    true_mask: np.ndarray
    predicted_mask: np.ndarray
    labelled: np.ndarray = field(default_factory=_none(0, dtype=np.bool_))
    true_boxes: np.ndarray = field(default_factory=_none(0, 4, dtype=np.float32))
    network_boxes: np.ndarray = field(default_factory=_none(0, 4, dtype=np.float32))
    saliency: np.ndarray = field(default_factory=_none(0, 0, dtype=np.uint8))
    gated_features: np.ndarray = field(default_factory=_none(0, 0, dtype=np.uint8))
    regions: np.ndarray = field(default_factory=_none(0, 0, 0, dtype=np.bool_))
    true_keypoints: np.ndarray = field(default_factory=_none(0, 2))
    keypoints: np.ndarray = field(default_factory=_none(0, 2))
    keypoint_peaks: np.ndarray = field(default_factory=_none(0))
    spacing_mm: np.ndarray = field(default_factory=lambda: np.ones(2))
    has_mask: np.ndarray = field(default_factory=lambda: np.array(True))

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "StoredSlice":
        """From the arrays of a file; those that this version does not know are left out."""
        return cls(**{each.name: arrays[each.name] for each in fields(cls) if each.name in arrays})

    def compressed(self) -> bytes:
        """The content of its file."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{each.name: getattr(self, each.name) for each in fields(self)})
        return buffer.getvalue()


def read_index(folder: Path) -> list[dict[str, str]]:
    """INDEX_COLUMNS of every file of a run folder, as texts, in the order of its test."""
    table = pd.read_csv(folder / INDEX, dtype=str, keep_default_na=False)
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file as it has them.

    Raises:
        ValueError: If it is missing, cut off, or lacks an image or masks of one size.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            arrays = dict(content)
    except Exception as error:  # whatever a cut-off archive gives
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): test the run again") from None
    shapes = [arrays[name].shape if name in arrays else () for name in ("image", "true_mask", "predicted_mask")]
    if len({*shapes}) > 1 or len(shapes[0]) != 2 or not arrays["image"].size:
        raise ValueError(f"{path} has no image and masks of one size: test the run again")
    return arrays
