"""The testable statements of the papers: reading and checking `reports/published/claims.csv`.

A line says which two sides a claim compares. The left side is `row, arm, stratum, metric`; the right side is the same
with what `other_row, other_arm, other_stratum, other_metric` change. Both sides are taken on `structure`: `mean` (all),
the name of one or of a region (`overall`), the beginning of several names (`psoas`), or such names joined by `+`;
joined by `;` they are a chain for the test `ordered`, as rows are. Grades are those of a muscle of morphometry.csv. An
empty `arm` is the run's own test, also called `predicted`; an empty `stratum` is all slices. The arms `mixed_6` and
`full_6` are trainings with the masks of six patients, with and without the key points of the others. `value` is a
number, or `low to high` for a range; `margin` is a number in units of the metric or the word `report` (the report's
margin of interest).
"""

import csv
from collections.abc import Collection, Iterator, Mapping
from math import nan
from pathlib import Path

from reports.claims.claim import Claim
from reports.claims.run_tests import TESTS
from reports.claims.tests import AGREEMENTS, GRADINGS, LEVELS
from reports.claims.values import in_group

CLAIMS_FILE = Path(__file__).parents[1] / "published" / "claims.csv"
# Rows that a test takes on the right side, where it takes more than one; None for any number.
OTHER_ROWS = {"superior": None, "synergistic": 3}
# Tests that compare a left side with a right one, so that something must differ between the two.
TWO_SIDED = ("superior", "equivalent", "non_inferior")
SWITCHES = ("other_row", "other_arm", "other_stratum", "other_metric")
COLUMNS = (
    *("id", "paper", "section", "claim", "test", "family", "row", "other_row", "arm", "other_arm"),
    *("stratum", "other_stratum", "metric", "other_metric", "structure", "value", "margin"),
    *("cost", "remark", "otherwise"),
)


def load_claims(path: Path, *, margin: float, structures: Collection[str]) -> tuple[Claim, ...]:
    """Reads and checks a file of claims.

    Args:
        path: CSV with the columns COLUMNS.
        margin: What the word `report` in the column `margin` stands for.
        structures: Every structure that the papers' tables know, which `structure` is checked against.

    Raises:
        ValueError: If a column is missing or unknown, an id is not unique, or a line does not make a test; the message
            names file and line.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, restkey="", restval="")
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(
                f"{path} has the columns {', '.join(reader.fieldnames or ())}; expected {', '.join(COLUMNS)}"
            )
        claims: dict[str, Claim] = {}
        for line in reader:
            where = f"{path}, line {reader.line_num}"
            if "" in line:
                raise ValueError(f"{where}: more than {len(COLUMNS)} cells; quote a cell that has a comma")
            cells = {name: cell.strip() for name, cell in line.items()}
            for fault in _fault(cells, structures):
                raise ValueError(f"{where}: {fault}")
            if cells["id"] in claims:
                raise ValueError(f"{where}: the id {cells['id']} is taken by an earlier line")
            claims[cells["id"]] = _claim(cells, margin, where)
    return tuple(claims.values())


def published_structures(folder: Path) -> set[str]:
    """Names of the structures of every published table in the folder, and of `structures.csv`.

    The latter has what a paper draws but prints no number of.
    """
    names: set[str] = set()
    for path in sorted((*folder.glob("*_table*.csv"), *folder.glob("structures.csv"))):
        with path.open(newline="", encoding="utf-8") as file:
            names |= {line["structure"] for line in csv.DictReader(file) if line.get("structure")}
    return names


def _fault(cells: Mapping[str, str], structures: Collection[str]) -> Iterator[str]:
    """What is wrong with a line, one thing after the other."""
    test, value, names = cells["test"], cells["value"], cells["structure"]
    if test not in TESTS:
        yield f"unknown test {test!r}; expected one of {', '.join(TESTS)}"
    empty = [name for name in ("id", "paper", "section", "claim", *TESTS[test].needs) if not cells[name]]
    if empty:
        yield f"the test {test} needs {', '.join(empty)}, which is empty"
    if test in TWO_SIDED and not any(cells[name] for name in SWITCHES):
        yield f"the test {test} compares two sides; state one of {', '.join(SWITCHES)}"
    if test == "superior" and cells["other_stratum"]:
        yield "superiority is tested on pairs, and two strata have none; use equivalent"
    if (";" in cells["row"] and test != "ordered") or (";" in cells["other_row"] and test not in OTHER_ROWS):
        yield f"the test {test} takes one row on either side; got several, joined by ';'"
    num_rows = OTHER_ROWS.get(test)
    if num_rows is not None and len(cells["other_row"].split(";")) != num_rows:
        yield f"other_row of the test {test} is {num_rows} rows: one change, the other, neither"
    if (test == "gains_within") != (" to " in value):
        yield f"value is {value!r}; gains_within, and it alone, takes `low to high`"
    if len([name for name in ("row", "structure") if ";" in cells[name]]) != (test == "ordered"):
        given = f"{cells['row']!r} and {names!r}"
        yield f"ordered, and it alone, takes two rows or more or two structures or more, by ';'; got {given}"
    known = TESTS[test].metrics
    for name in ("metric", "other_metric"):
        if cells[name] and cells[name] not in known:
            yield f"unknown {name} {cells[name]!r}; expected one of {', '.join(known)}"
    if cells["metric"] in AGREEMENTS and test not in LEVELS:
        yield f"{cells['metric']} is not one number a patient; {' and '.join(LEVELS)} alone take it"
    graded = cells["metric"] in (*GRADINGS, *AGREEMENTS)
    for part in names.replace(";", "+").split("+"):
        if not graded and part not in ("", "mean") and not any(in_group(name, part) for name in structures):
            yield f"{part!r} is no structure or group of {', '.join(sorted(structures))}"


def _claim(cells: Mapping[str, str], report_margin: float, where: str) -> Claim:
    margin = report_margin if cells["margin"] == "report" else _number(cells["margin"], "margin", where)
    if margin < 0:
        raise ValueError(f"{where}: the margin is {margin:g}; expected zero or more")
    value, upper = (_number(cell, "value", where) for cell in (*cells["value"].split(" to "), "")[:2])
    if value >= upper:
        raise ValueError(f"{where}: value is {cells['value']}; expected the lower end first")
    text = {name: cells[name] for name in COLUMNS if name not in ("margin", "value")}
    return Claim(**text, margin=margin, value=value, upper=upper)


def _number(cell: str, name: str, where: str) -> float:
    """NaN where there is none."""
    try:
        return float(cell or nan)
    except ValueError:
        raise ValueError(f"{where}: {name} is {cell!r}; expected a number or nothing") from None
