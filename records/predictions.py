"""The test slices that a run keeps in `predictions/`: listed at once, read one by one when they are asked for."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

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
        if not (self.folder / "predictions" / "index.csv").exists():
            return pd.DataFrame(columns=list(INDEX_COLUMNS))
        return read_index(self.folder).astype({"slice": int})

    @property
    def paths(self) -> list[Path]:
        """The files, in the same order."""
        return [self.folder / "predictions" / str(name) for name in self.index["file"]]

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


def read_index(folder: Path) -> pd.DataFrame:
    """`predictions/index.csv` of a run folder, every cell as the text that it is."""
    return pd.read_csv(folder / "predictions" / "index.csv", dtype=str, keep_default_na=False)


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a slice.

    Raises:
        ValueError: If the file is missing or cut off.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            return dict(content)
    except Exception as error:  # whatever a cut-off archive gives
        raise ValueError(f"{file} cannot be read ({type(error).__name__}): test the run again") from None
