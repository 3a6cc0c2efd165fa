"""Which patients train, validate and test in each fold, and the file that says so."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Int

from records.whole_files import naming

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

# What is dealt to folds as a whole: (patient,), or (patient, case, slice) in the published image-level protocols.
Unit = tuple[str | int, ...]
PATIENT = ("patient",)
IMAGE = ("patient", "case", "slice")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Folds as a mapping from each unit to the one fold that tests it; everything else follows from that.

    A unit has a single part in a fold because `part` returns a single value, and is tested at most once because a
    mapping holds one fold for it: no table can be made in which it is in two parts.

    Attributes:
        columns: Columns that name a unit, PATIENT or IMAGE.
        test_fold: Fold in which each unit is tested; None for one that only trains, such as a patient without masks.
        validation: Units that validate, for each fold.
    """

    columns: tuple[str, ...]
    test_fold: Mapping[Unit, int | None]
    validation: Sequence[frozenset[Unit]]

    def __post_init__(self) -> None:
        for fold, units in enumerate(self.validation):
            assert all(self.test_fold[unit] != fold for unit in units), f"fold {fold} validates on what it tests"

    @property
    def num_folds(self) -> int:
        """Number of folds."""
        return len(self.validation)

    def part(self, fold: int, unit: Unit) -> Part:
        """What a unit does in a fold."""
        if self.test_fold[unit] == fold:
            return "test"
        return "validation" if unit in self.validation[fold] else "train"

    @property
    def table(self) -> pd.DataFrame:
        """One row per fold and unit: fold, part and the columns of the unit, in an order of their own."""
        units = sorted(self.test_fold)
        rows = [(fold, self.part(fold, unit), *unit) for fold in range(self.num_folds) for unit in units]
        return pd.DataFrame(rows, columns=["fold", "part", *self.columns])

    @property
    def fingerprint(self) -> str:
        """Hash of the content: equal for equal splits, however they were made."""
        return blake2b(self.table.to_csv(index=False, lineterminator="\n").encode(), digest_size=16).hexdigest()

    def indices(self, fold: int, part: Part, store_table: pd.DataFrame) -> Int[np.ndarray, " rows"]:
        """Positions of the rows of a store that belong to a part, ascending.

        Validation and test take only slices with a mask, since nothing else can be scored; training takes all.

        Raises:
            ValueError: If the fold is out of range, or the store has patients that this split does not know.
        """
        if not 0 <= fold < self.num_folds:
            raise ValueError(
                f"fold={fold} is out of range: the split has {self.num_folds} fold(s), 0 to {self.num_folds - 1}; set "
                "fold to one of these, or split.num_folds higher"
            )
        assert part in PARTS, f"part is {part!r}, expected one of {PARTS}"
        units = units_of(store_table, self.columns)
        unknown = sorted({str(unit[0]) for unit in units if unit not in self.test_fold})
        if unknown:
            raise ValueError(
                f"the split does not say where {', '.join(unknown)} of this cohort belong; it was made for other data: "
                "make it again, or add them to its file"
            )
        chosen = np.array([self.part(fold, unit) == part for unit in units], dtype=bool)
        if part != "train":
            chosen &= store_table["has_mask"].to_numpy(dtype=bool)
        return np.flatnonzero(chosen)

    def straddling(self, fold: int) -> list[str]:
        """Patients with a slice in the test part and another in training or validation; none unless dealt by image."""
        tested = {str(unit[0]) for unit, test_fold in self.test_fold.items() if test_fold == fold}
        return sorted(tested & {str(unit[0]) for unit, test_fold in self.test_fold.items() if test_fold != fold})

    def write(self, path: str | Path) -> None:
        """Writes the table as CSV below a line with its fingerprint, at once or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        table = self.table.to_csv(index=False, lineterminator="\n")
        with naming(path):
            temporary.write_text(f"{_HASH_LINE}{self.fingerprint}\n{table}", encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def read(cls, path: str | Path) -> "Split":
        """Reads what `write` wrote.

        Raises:
            ValueError: If the file is missing or malformed, was edited, or has a unit in two places.
        """
        table, fingerprint = read_table(path)
        split = cls.from_table(table)
        if fingerprint not in (None, split.fingerprint):
            raise ValueError(f"{path} was edited after it was written; if that is meant, delete its first line")
        return split

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> "Split":
        """Takes a table of folds back to the mapping it stands for.

        Raises:
            ValueError: If a unit is in two parts of a fold, is tested in two folds or is in one fold but not in
                another, or if the folds are not 0, 1, 2 and so on, each with something to test.
        """
        columns = IMAGE if set(IMAGE) <= set(table.columns) else PATIENT
        parts: dict[int, dict[Unit, Part]] = {fold: {} for fold in sorted(set(table["fold"]))}
        for fold, part, unit in zip(table["fold"], table["part"], units_of(table, columns), strict=True):
            known = parts[fold].setdefault(unit, part)
            if known != part:
                raise ValueError(f"{_name(unit)} is in two parts of fold {fold}: {known} and {part}; keep one")
        if list(parts) != list(range(len(parts))) or not parts:
            raise ValueError(f"the folds are {', '.join(map(str, parts)) or 'none'}; expected 0, 1, 2 and so on")
        test_fold: dict[Unit, int | None] = {unit: None for members in parts.values() for unit in members}
        for fold, members in parts.items():
            for unit in test_fold:
                if unit not in members:
                    raise ValueError(f"{_name(unit)} is in no part of fold {fold}; name it in every fold")
                if members[unit] == "test" and test_fold[unit] is not None:
                    raise ValueError(f"{_name(unit)} is tested in folds {test_fold[unit]} and {fold}; keep one")
                test_fold[unit] = fold if members[unit] == "test" else test_fold[unit]
            if fold not in test_fold.values():
                raise ValueError(f"fold {fold} has no patient in part test; give it at least one")
        validation = [frozenset(u for u, part in members.items() if part == "validation") for members in parts.values()]
        return cls(columns=columns, test_fold=test_fold, validation=tuple(validation))


_HASH_LINE = "# blake2b "


def units_of(table: pd.DataFrame, columns: Sequence[str]) -> list[Unit]:
    """Unit of each row; names as text, slices as integers, whatever types a CSV reader gave them."""
    values = [table[name].astype(int if name == "slice" else str).tolist() for name in columns]
    return list(zip(*values, strict=True))


def read_table(path: str | Path) -> tuple[pd.DataFrame, str | None]:
    """Reads a CSV with columns fold, part, patient and maybe case, slice, and the fingerprint above it if it has one.

    Raises:
        ValueError: If there is no such file, it lacks a column, or a cell is not a fold or a part.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no split file {path}; expected a CSV with columns fold, part, patient")
    # Bytes that are no text become signs that no column is called, so that the error below names the file.
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline().strip()
        fingerprint = first.removeprefix(_HASH_LINE) if first.startswith(_HASH_LINE) else None
        if fingerprint is None:
            file.seek(0)
        reader = csv.DictReader(file, restval="")
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        missing = [name for name in ("fold", "part", "patient") if name not in reader.fieldnames]
        if missing:
            raise ValueError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(reader.fieldnames)}")
        rows = [{name: row[name].strip() for name in reader.fieldnames} for row in reader]
    for number, row in enumerate(rows):
        if not (row["fold"].isdecimal() and row["part"] in PARTS and row["patient"]):
            raise ValueError(
                f"{path}, row {number + 1} is {row}; expected a fold 0, 1, ..., a part of {', '.join(PARTS)}, a patient"
            )
    table = pd.DataFrame(rows, columns=reader.fieldnames)
    return table.assign(fold=[int(row["fold"]) for row in rows]), fingerprint


def _name(unit: Unit) -> str:
    return f"patient {unit[0]}" if len(unit) == 1 else f"patient {unit[0]} (case {unit[1]}, slice {unit[2]})"
