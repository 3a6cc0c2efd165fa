"""The papers' own tables, from `reports/published`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

FOLDER = Path(__file__).parent / "published"
NUMBERS = ("mean", "sd", "ci95_low", "ci95_high")
COLUMNS = ("row", "method", "proposed", "setting", "structure", "metric", "unit", *NUMBERS, "note")
UNITS = ("percent", "fraction", "mm2")
KEYS = ["method", "setting", "structure", "metric"]
SETTING = re.compile(r"[\w.]+=\S+")


def published_tables() -> list[str]:
    """Names that `load_published` knows."""
    return sorted(path.stem for path in FOLDER.glob("*table*.csv"))


def load_published(name: str | Sequence[str]) -> pd.DataFrame:
    """Reads a paper's table, one number a line, fractions turned into percent; of several the first that has a number.

    `row` is the name of our experiment ("" where there is none), with the setting behind it where the paper varies one;
    `setting` is what that setting is in the row without any. `proposed` says whether the paper proposes that system;
    `sd` and the interval are NaN where the paper prints none.

    Raises:
        ValueError: If there is no such table, or the file says something that cannot be true.
    """
    if not isinstance(name, str):
        tables = pd.concat([load_published(each) for each in name], ignore_index=True)
        # A system without a row of ours is known by the paper's name alone.
        key = tables["row"].where(tables["row"] != "", tables["method"])
        return tables.loc[~tables.assign(key=key).duplicated(["key", "structure", "metric"])].reset_index(drop=True)
    path = FOLDER / f"{name}.csv"
    if name not in published_tables():
        raise ValueError(f"there is no published table {name!r}; expected one of {', '.join(published_tables())}")
    return read_published(path)


def read_published(path: Path) -> pd.DataFrame:
    """`load_published` of any file.

    Raises:
        ValueError: As there.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table.columns) != list(COLUMNS):
        raise ValueError(f"{path} has the columns {', '.join(table.columns)}; expected {', '.join(COLUMNS)}")
    for column in NUMBERS:
        table[column] = _numbers(path, column, list(table[column]))
    _check(path, table)
    table["proposed"] = table["proposed"] == "yes"
    fraction = table["unit"] == "fraction"
    table.loc[fraction, list(NUMBERS)] *= 100
    table.loc[fraction, "unit"] = "percent"
    return table


def printed_boxes(published: pd.DataFrame) -> dict[str, float]:
    """Box IoU that the paper prints, percent, of each structure; {} where it prints none."""
    boxes = published.loc[published["metric"].astype(str) == "box_iou"]
    return {str(name): float(mean) for name, mean in zip(boxes["structure"], boxes["mean"], strict=True)}


def paper_facts(published: pd.DataFrame) -> Mapping[str, Any]:
    """What published/papers.yaml says of the paper that a table is of; {} without one."""
    known: Any = OmegaConf.to_container(OmegaConf.load(FOLDER / "papers.yaml"))
    return next((facts for facts in known.values() if facts["row"] == proposed_row(published)), {})


def proposed_row(published: pd.DataFrame) -> str | None:
    """Row of the system that the paper proposes, or None."""
    rows = published.loc[published["proposed"], "row"].unique() if len(published) else []
    return str(rows[0]) if len(rows) else None


def method_names(published: pd.DataFrame) -> dict[str, str]:
    """What the paper calls each row that it gives a Dice of, in its order."""
    dice = published.loc[(published["metric"] == "dice") & (published["row"] != "")]
    return {str(row): str(method) for row, method in zip(dice["row"], dice["method"], strict=True)}


def varied_settings(published: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Of rows that a paper varies a setting of: its dotted path, and the value that the row without one stands for."""
    varied = published.loc[published["setting"] != ""]
    pairs = zip(varied["row"], varied["setting"], strict=True)
    return {str(row).split(" ")[0]: (text.partition("=")[0], text.partition("=")[2]) for row, text in pairs}


def printed_row(row: str, published: pd.DataFrame) -> str:
    """Published row whose numbers stand beside ours; "" if there is none.

    That of a variant is that of its row, unless the variant is another value of a setting that the paper varies.
    """
    known = [name for name in dict.fromkeys(published["row"]) if name and f"{row} ".startswith(f"{name} ")]
    if not known:
        return ""
    found = max(known, key=len)
    path, _ = varied_settings(published).get(row.split(" ")[0], ("", ""))
    return "" if path and f" {path}=" in row.removeprefix(found) else found


def place_of(row: str, published: pd.DataFrame) -> int:
    """Where a row stands in the paper's order; variants beside their row, rows of ours behind all."""
    places = {name: number for number, name in enumerate(method_names(published))}
    own = printed_row(row, published) or row.split(" ")[0]
    return places.get(own, len(places))


def row_label(row: str, methods: Mapping[str, str]) -> str:
    """What a table prints for a row: the paper's name, and of settings that tell variants apart the last two words.

    `scarnet objective.terms.keypoints.weight=40` becomes `SCAR-Net keypoints.weight=40`.
    """
    if row in methods:
        return methods[row]
    first, _, rest = row.partition(" ")
    settings = re.sub(r"(?:[^ .=]+\.)+([^ .=]+\.[^ .=]+=)", r"\1", rest)
    return f"{methods.get(first, first)} {settings}".strip()


def empty_published() -> pd.DataFrame:
    """A published table without a number, for a report without a paper."""
    return pd.DataFrame({name: pd.Series(dtype=float if name in NUMBERS else object) for name in COLUMNS})


def _numbers(path: Path, column: str, texts: Sequence[str]) -> np.ndarray:
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {column} must be a number or empty") from error


def _check(path: Path, table: pd.DataFrame) -> None:
    wrong = {
        "unit is not one of " + ", ".join(UNITS): ~table["unit"].isin(UNITS),
        "setting is not one dotted path=value": ~(table["setting"].str.fullmatch(SETTING) | (table["setting"] == "")),
        "proposed is neither yes nor no": ~table["proposed"].isin(["yes", "no"]),
        "there is no mean, or it is negative": ~(table["mean"] >= 0),
        "the SD is negative": table["sd"] < 0,
        "a Dice or IoU is above 1, or above 100 %": table["metric"].isin(["dice", "box_iou"])
        & (table["mean"] > np.where(table["unit"] == "percent", 100.0, 1.0)),
        "the mean is outside its interval": (table["mean"] < table["ci95_low"]) | (table["mean"] > table["ci95_high"]),
        "the same number is given twice": table.duplicated(KEYS),
    }
    for what, where in wrong.items():
        if where.any():
            line = table.loc[where].iloc[0]
            raise ValueError(f"{path}: {line['method']}, {line['structure']}: {what}; compare with the paper")
    if table.loc[table["proposed"] == "yes", "row"].nunique() > 1:
        raise ValueError(f"{path}: more than one row is marked as proposed; mark one")
