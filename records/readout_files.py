"""What a run folder may hold beside its scores: key points, confusion of structures, regions, measurements."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from records.run_files import TRUTH, read_numbers, read_texts

KEYPOINTS = ("case", "patient", "level", "slice", "structure", "visible", "x", "error_mm", "nearest", "source")
CONFUSION = ("case", "patient", "slice", "truth", "prediction", "pixels")
REGION_OUTPUTS = ("case", "patient", "slice", "region", "tp", "fp", "fn")
MORPHOMETRY = ("case", "patient", "slice", "level", "structure", "side", "source")
GRADES = ("goutallier_simplified", "goutallier")  # texts, though a scale may call its grades 0 to 4
NUMBERS = ("slice", "pixels", "tp", "fp", "fn", "error_mm", "true_x", "true_y", "x", "y", "peak")
HEATMAP, MASK = "heatmap", "mask"  # where a key point comes from: the network's own heat map, or the centre of its mask
TRUE, PREDICTED = "truth", "prediction"  # whose measurement it is


@dataclass(frozen=True, kw_only=True)
class Readouts:
    """Tables of one folder of scores; None where it has none.

    Attributes:
        keypoints: keypoints.csv with the columns KEYPOINTS and more; a row per slice, structure and source.
        confusion: confusion.csv, the columns CONFUSION.
        region_outputs: region_outputs.csv, the columns REGION_OUTPUTS.
        morphometry: morphometry.csv: MORPHOMETRY, then a column a measure, as numbers; those of texts (a method, a
            state, a grade) as texts. Columns without a value are left out.
    """

    keypoints: pd.DataFrame | None = None
    confusion: pd.DataFrame | None = None
    region_outputs: pd.DataFrame | None = None
    morphometry: pd.DataFrame | None = None


def read_readouts(folder: Path) -> tuple[Readouts, list[str]]:
    """The tables of a folder, and why some were left out: one that is cut off or was edited is none."""
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        "keypoints": read_keypoints,
        "confusion": read_confusion,
        "region_outputs": read_region_outputs,
        "morphometry": read_morphometry,
    }
    tables, problems = {}, []
    for name, read in readers.items():
        path = folder / f"{name}.csv"
        if not path.exists():
            continue
        try:
            tables[name] = read(path)
        except ValueError as error:
            problems.append(f"left out: {error}")
    return Readouts(**tables), problems


def read_keypoints(path: Path) -> pd.DataFrame:
    """keypoints.csv; `visible` is a Boolean, NaN in `x` is a key point that was not found.

    Raises:
        ValueError: If a column is missing, a cell is wrong, or a key point of a slice is there twice.
    """
    table = _read(path, KEYPOINTS, ["case", "slice", "structure", "source"])
    wrong = sorted(set(table["visible"]) - set(TRUTH))
    if wrong:
        raise ValueError(f"{path.name}: visible is {', '.join(wrong)}; expected True or False")
    unknown = sorted(set(table["source"]) - {HEATMAP, MASK})
    if unknown:
        raise ValueError(f"{path.name}: source is {', '.join(unknown)}; expected {HEATMAP} or {MASK}")
    return table.assign(visible=[TRUTH[text] == "1" for text in table["visible"]])


def read_confusion(path: Path) -> pd.DataFrame:
    """confusion.csv.

    Raises:
        ValueError: If a column is missing, a cell is wrong, or a pair of a slice is there twice.
    """
    return _read(path, CONFUSION, ["case", "slice", "truth", "prediction"])


def read_region_outputs(path: Path) -> pd.DataFrame:
    """region_outputs.csv.

    Raises:
        ValueError: If a column is missing, a cell is wrong, or a region of a slice is there twice.
    """
    return _read(path, REGION_OUTPUTS, ["case", "slice", "region"])


def read_morphometry(path: Path) -> pd.DataFrame:
    """morphometry.csv, its measures as numbers, what is none (grades, states) as texts.

    Raises:
        ValueError: If a column is missing, or a structure of a slice is measured twice in the same way.
    """
    table = _read(path, MORPHOMETRY, ["case", "slice", "level", "structure", "side", "source"])
    known = {}
    for name in (name for name in table.columns if name not in MORPHOMETRY and any(table[name])):
        known[name] = list(table[name])
        if name not in GRADES:
            with suppress(ValueError):  # the name of a method, a state
                known[name] = read_numbers(path, name, known[name])
    return table.loc[:, list(MORPHOMETRY)].assign(**known)


def _read(path: Path, needed: Sequence[str], keys: Sequence[str]) -> pd.DataFrame:
    table = read_texts(path)
    missing = [name for name in needed if name not in table]
    if missing:
        raise ValueError(f"{path.name} lacks the columns {', '.join(missing)}; test the run again")
    for name in (name for name in NUMBERS if name in table):
        table[name] = read_numbers(path, name, list(table[name]))
    twice = table.loc[table.duplicated(list(keys)), list(keys)]
    if len(twice):
        raise ValueError(f"{path.name} has {', '.join(map(str, twice.iloc[0]))} twice; test the run again")
    return table
