"""The test slices that a run keeps in `predictions/`: listed at once, read one by one when they are asked for."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = "predictions"
INDEX = f"{FOLDER}/index.csv"  # written last: every file that it names is whole
INDEX_COLUMNS = ("file", "case", "patient", "level", "slice")


class Predictions:
    """Arrays of every test slice of a run by their names (docs/records.md), in the order of the test.

    A slice is read when it is asked for, so that looking at one of thousands costs one file:

        run.predictions[0]["predicted_mask"], run.predictions.of("p001", 3)["image"]

    Args:
        folder: The run folder; one without `predictions/` has no slice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def index(self) -> pd.DataFrame:
        """`predictions/index.csv`: file, case, patient, level (texts) and slice (int), a row a slice."""
        if not (self.folder / INDEX).exists():
            return pd.DataFrame(columns=list(INDEX_COLUMNS))
        return read_index(self.folder).astype({"slice": int})

    @property
    def paths(self) -> list[Path]:
        """The files, in the same order."""
        return [self.folder / FOLDER / str(name) for name in self.index["file"]]

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return map(read_arrays, self.paths)

    def __getitem__(self, place: int) -> dict[str, np.ndarray]:
        """The arrays of a slice by its place in the index.

        Raises:
            IndexError: If there are fewer.
            ValueError: If its file is missing or cut off.
        """
        return read_arrays(self.paths[place])

    def of(self, case: str, number: int) -> dict[str, np.ndarray]:
        """The arrays of a slice by its case and its index in the image.

        Raises:
            ValueError: If it was not tested, or its file is missing or cut off.
        """
        places = np.flatnonzero((self.index["case"] == case) & (self.index["slice"] == number))
        if not len(places):
            raise ValueError(
                f"{self.folder} has no predictions of case {case}, slice {number}; its `predictions.index` lists those "
                "that it has"
            )
        return self[int(places[0])]


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
        """From the arrays of a file; those that this version does not know are left out.

        Raises:
            ValueError: If it has no image or masks, or they differ in size.
        """
        shapes = [arrays[name].shape if name in arrays else () for name in ("image", "true_mask", "predicted_mask")]
        if len({*shapes}) > 1 or len(shapes[0]) != 2 or not arrays["image"].size:
            raise ValueError(f"image, true_mask and predicted_mask have the shapes {shapes}, expected one [H, W]")
        return cls(**{each.name: arrays[each.name] for each in fields(cls) if each.name in arrays})

    def compressed(self) -> bytes:
        """The content of its file."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{each.name: getattr(self, each.name) for each in fields(self)})
        return buffer.getvalue()


def read_index(folder: Path) -> pd.DataFrame:
    """`predictions/index.csv` of a run folder, every cell as the text that it is."""
    return pd.read_csv(folder / INDEX, dtype=str, keep_default_na=False)


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a slice.

    Raises:
        ValueError: If the file is missing or cut off.
    """
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:  # closed if it is cut off
            return dict(content)
    except Exception as error:  # whatever a cut-off archive gives
        raise ValueError(f"{file} cannot be read ({type(error).__name__}): test the run again") from None
