"""Reads comma-separated tables that people write by hand, and names the line of what is wrong."""

import csv
from collections.abc import Sequence
from pathlib import Path


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


def read_lines(path: Path, required: Sequence[str]) -> tuple[dict[int, dict[str, str]], dict[str, str]]:
    """The lines of a CSV file as `read_table` returns them, and what is wrong with others, by "line 7".

    Raises:
        ValueError: If it is no CSV file with rows, or a required column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            numbered = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no comma-separated table ({error}); save it as CSV in UTF-8") from None
    header = numbered[0][1] if numbered else []
    lines = dict(numbered[1:])
    missing = [name for name in required if name not in header]
    if missing:
        raise ValueError(
            f"{path}: lacks the column {', '.join(missing)}; it has {', '.join(header) or 'none'}; needed are "
            f"{', '.join(required)}, separated by commas"
        )
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
