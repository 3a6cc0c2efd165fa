"""Reads comma-separated tables that people write by hand, and names the line of what is wrong."""

import csv
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

INVISIBLE = "Cf"  # the kind of characters that have no width


def read_table(path: Path, required: Sequence[str]) -> dict[int, dict[str, str]]:
    """Reads a CSV file as text: the cells of every line by the names of their columns.

    Raises:
        ValueError: If it is no CSV file with rows, a line has too few or too many cells, a required column is missing,
            or one of its cells is empty.
    """
    rows, refused = read_lines(path, required)
    for reason in refused.values():
        raise ValueError(reason)
    return rows


def read_lines(
    path: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> tuple[dict[int, dict[str, str]], dict[str, str]]:
    """The lines of a CSV file as `read_table` returns them, and what is wrong with others, by "line 7".

    Args:
        path: The file.
        required: Columns that it must have.
        optional: Columns that mean something; one that is called almost so would be passed over.

    Raises:
        ValueError: If it is no CSV file with rows, a required column is missing, a column is there twice, or one is
            called almost as one of `optional` that is not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            numbered = [(reader.line_num, [_cleaned(cell) for cell in cells]) for cells in reader]
            numbered = [(line, cells) for line, cells in numbered if any(cells)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no comma-separated table ({error}); save it as CSV in UTF-8") from None
    header = numbered[0][1] if numbered else []
    if any("\0" in cell for _, cells in numbered for cell in cells):
        raise ValueError(f"{path}: is no comma-separated table (it holds zero bytes); save it as CSV in UTF-8")
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise ValueError(f"{path}: has the column {', '.join(twice)} twice; remove or rename one")
    lines = dict(numbered[1:])
    missing = [name for name in required if name not in header]
    if missing:
        raise ValueError(
            f"{path}: lacks the column {', '.join(missing)}; it has {', '.join(header) or 'none'}; needed are "
            f"{', '.join(required)}, separated by commas"
        )
    for name in optional:
        meant = [other for other in header if name not in header and _plainly(other) == _plainly(name)]
        if meant:
            raise ValueError(f"{path}: has a column {meant[0]}, which nothing reads; did you mean {name}?")
    if not lines:
        raise ValueError(f"{path}: lists nothing; add one row per image")
    rows, refused = {}, {}
    for line, cells in lines.items():
        empty = [name for name, cell in zip(header, cells, strict=False) if name in required and not cell]
        if len(cells) != len(header):
            refused[f"line {line}"] = (
                f"{path}: line {line} has {len(cells)} cells, the header {len(header)}; add or remove commas"
            )
        elif empty:
            refused[f"line {line}"] = f"{path}: line {line} has no {empty[0]}; fill it in"
        else:
            rows[line] = dict(zip(header, cells, strict=True))
    return rows, refused


def _cleaned(cell: str) -> str:
    """A cell without blanks and invisible characters around it, in one spelling of its letters.

    Two spellings of one patient ("ü" as one character, or as u with dots) would be two patients.
    """
    while cell and (cell[0].isspace() or unicodedata.category(cell[0]) == INVISIBLE):
        cell = cell[1:]
    while cell and (cell[-1].isspace() or unicodedata.category(cell[-1]) == INVISIBLE):
        cell = cell[:-1]
    return unicodedata.normalize("NFC", cell)


def _plainly(name: str) -> str:
    """The name of a column without what people vary: capitals, blanks, the plural."""
    return name.casefold().replace(" ", "_").replace("-", "_").removesuffix("s")
