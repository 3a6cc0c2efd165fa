"""One folder of scores from disk: its files read strictly, so that nothing cut off or edited becomes a number."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from metrics.aggregate import METRICS, check_cases, summarise
from metrics.cases import CASE_COLUMNS, MECHANISM_COLUMNS
from records.whole_files import replace_text

TEXTS = ("case", "patient", "level", "structure", "status", "site")
MECHANISM = MECHANISM_COLUMNS
REMEDY = "put the file back, or train anew (retrain=true)"  # where nothing else has what the file had
TRUTH = {"True": "1", "False": "0", "true": "1", "false": "0"}


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a run.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=False)
    except Exception as error:  # whatever a YAML parser meets in a file that was cut off
        raise ValueError(f"config.yaml cannot be read ({type(error).__name__})") from error
    if not isinstance(config, dict) or "task" not in config:
        raise ValueError("config.yaml does not say which task was run")
    return {str(key): value for key, value in config.items()}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path.name} is missing") from error
    except ValueError as error:
        raise ValueError(f"{path.name} cannot be read: it is cut off or was edited") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no object")
    return content


def read_error(folder: Path) -> str:
    """What a cell failed of: the first line of its error.txt, as task=status says it; "" where it did not."""
    path = folder / "error.txt"
    if not path.exists():
        return ""
    return path.read_text(encoding="utf-8", errors="replace").strip().partition("\n")[0] or "error.txt is empty"


def read_scores(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Case table and summary of a folder, checked against each other.

    Raises:
        ValueError: If either is missing or cut off, or the summary is not that of the table.
    """
    summary = read_json(folder / "summary.json")
    cases = read_cases(folder / "cases.csv")
    stored = summary.get("test")
    if not isinstance(stored, dict):
        raise ValueError("summary.json has no test")
    num_structures, num_slices = len(set(cases["structure"])), len(cases[["case", "slice"]].drop_duplicates())
    expected = int(stored.get("num_slices", num_slices)) * num_structures
    if len(cases) != expected or num_slices * num_structures != expected:
        raise ValueError(
            f"cases.csv has {len(cases)} rows, expected {expected}: {stored.get('num_slices')} slices of the summary "
            f"by {num_structures} structures; it was cut off"
        )
    found = summarise(cases)
    lacking = [name for name in METRICS if name in stored and name not in found]
    if lacking:
        raise ValueError(f"cases.csv lacks the columns {', '.join(lacking)}, of which summary.json has means")
    if different := _difference(stored, found):
        raise ValueError(f"summary.json is not that of cases.csv ({different}); one of them was edited")
    later = [name for name in CASE_COLUMNS if name not in cases]  # what an older folder does not have is a gap
    return cases.assign(**{name: "" if name in TEXTS else np.nan for name in later}), summary


def write_cases(path: Path, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Writes and returns the case table."""
    cases = pd.DataFrame(rows, columns=list(CASE_COLUMNS))
    replace_text(path, cases.to_csv(index=False))
    return cases


def read_cases(path: Path) -> pd.DataFrame:
    """A case table as `metrics.aggregate` takes it: texts as texts (a patient may be called NA), scores as numbers.

    A column that this version does not know stays text.

    Raises:
        ValueError: If it is missing, cut off, or no case table.
    """
    if not path.exists():
        raise ValueError("cases.csv is missing")
    table = read_texts(path)
    for name in table.columns:
        if name in CASE_COLUMNS and name not in TEXTS:
            table[name] = read_numbers(path, str(name), list(table[name]))
    check_cases(table)
    return table


def read_texts(path: Path, *, comment: str | None = None) -> pd.DataFrame:
    """Every cell of a CSV file as the text that it is.

    Args:
        path: The file.
        comment: What lines begin with that are no rows.

    Raises:
        ValueError: If it is empty or cut off.
    """
    text = path.read_text(encoding="utf-8", errors="replace")  # bytes that are no text stay no numbers
    rows = [line for line in text.splitlines() if comment is None or not line.startswith(comment)]
    lines = list(csv.reader(rows))
    if len(lines) < 2:
        raise ValueError(f"{path.name} is empty")
    if not text.endswith("\n"):
        raise ValueError(f"{path.name} is cut off in its last line, {len(lines)}")
    for number, fields in enumerate(lines, start=1):
        if len(fields) != len(lines[0]):
            raise ValueError(
                f"{path.name} has {len(fields)} fields in line {number}, expected {len(lines[0])}; it is cut off"
            )
    return pd.DataFrame(lines[1:], columns=lines[0], dtype=object)


def read_numbers(path: Path, name: str, texts: Sequence[str]) -> np.ndarray:
    """A column of a file as numbers, NaN where a cell is empty; of the column `slice` as integers.

    Raises:
        ValueError: If a cell holds something else.
    """
    try:
        values = np.array([float(TRUTH.get(text, text)) if text else np.nan for text in texts])
        return values.astype(int) if name == "slice" else values
    except ValueError as error:
        raise ValueError(f"{path.name}: {name} holds something that is not a number ({error})") from error


def read_epochs(folder: Path) -> pd.DataFrame | None:
    """metrics.csv, or None where there is none.

    Raises:
        ValueError: If it is empty, cut off or holds something else than numbers; with the remedy.
    """
    path = folder / "metrics.csv"
    if not path.exists():
        return None
    try:
        table = read_texts(path)
        for name in table.columns:
            read_numbers(path, str(name), list(table[name]))
        return pd.read_csv(path)
    except ValueError as error:
        raise ValueError(f"{error}: {REMEDY}") from error


def read_split(folder: Path) -> pd.DataFrame | None:
    """split.csv (fold, part, patient and, if dealt by image, case and slice), or None where there is none.

    Raises:
        ValueError: If it is empty, cut off or no split; with the remedy.
    """
    path = folder / "split.csv"
    if not path.exists():
        return None
    try:
        table = read_texts(path, comment="#")
        if not {"fold", "part", "patient"} <= set(table.columns):
            raise ValueError("split.csv lacks the columns fold, part, patient")
        return table.assign(fold=read_numbers(path, "fold", list(table["fold"])).astype(int))
    except ValueError as error:
        raise ValueError(f"{error}: {REMEDY}") from error


def _difference(stored: Any, found: Any, path: str = "") -> str:
    """First number in which two summaries differ, of those that both have; "" if none."""
    if isinstance(stored, dict) and isinstance(found, dict):
        texts = (_difference(stored[key], found[key], f"{path}.{key}".strip(".")) for key in stored if key in found)
        return next((text for text in texts if text), "")
    numbers = [float("nan") if value is None or isinstance(value, dict) else float(value) for value in (stored, found)]
    same = np.allclose(*numbers, rtol=1e-6, atol=1e-9, equal_nan=True)
    return "" if same else f"{path}: {stored} and {found}"


assert set(TEXTS) - {"site"} <= set(CASE_COLUMNS)
