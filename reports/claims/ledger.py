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
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path

from metrics.aggregate import METRICS
from reports.case_tables import READOUTS

CLAIMS_FILE = Path(__file__).parents[1] / "published" / "claims.csv"

# What `reports.claims.values` derives from cases.csv beside the metrics of a summary.
DERIVED = (
    *("detection_precision", "detection_recall", "found_share", "missed_share", "false_alarm_share", "dice_spread"),
    *("preliminary_dice", "preliminary_ceiling_dice", "saliency_inside", "area_inside", "saliency_enrichment"),
    *("area_true_mm2", "area_pred_mm2", "csa_error_mm2", "csa_bias_percent", "segmented_percent"),
    *READOUTS,
)
# What `reports.claims.grades` makes of the grades of patients: one number a patient, or one of all of them.
GRADINGS = ("grade_true", "grade_pred", "highest_grade_true", "highest_grade_pred")
AGREEMENTS = ("grade_accuracy", "grade_kappa")
LEVELS = ("at_least", "at_most")  # tests of a level, which need not be a mean over patients
COSTS = ("parameters", "flop_per_image", "ms_per_image", "peak_memory_mb", "training_s")
SPEEDS = ("epochs_to_95",)

# Test -> the columns that must not be empty.
REQUIRED = {
    "superior": ("row", "metric", "structure", "family", "cost"),
    "ordered": ("row", "metric", "structure", "family", "cost"),
    "equivalent": ("row", "metric", "structure", "margin", "cost"),
    "non_inferior": ("row", "metric", "structure", "margin", "cost"),
    "at_least": ("row", "metric", "structure", "value", "margin", "cost"),
    "at_most": ("row", "metric", "structure", "value", "margin", "cost"),
    "even": ("row", "metric", "structure", "stratum", "margin", "cost"),
    "correlated": ("row", "metric", "other_metric", "structure", "margin", "cost"),
    "gains": ("row", "other_row", "metric", "structure", "value", "margin", "cost"),
    "gains_within": ("row", "other_row", "metric", "structure", "value", "margin", "cost"),
    "synergistic": ("row", "other_row", "metric", "structure", "family", "cost"),
    "faster": ("row", "other_row", "metric", "margin", "cost"),
    "cheaper": ("row", "other_row", "metric", "margin", "cost"),
    "beyond_seeds": ("row", "metric", "value", "cost"),
    "smaller_gains_more": ("row", "other_row", "metric", "structure", "margin", "cost"),
    "none": ("remark",),
}
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


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement of a paper, in our words, and how it is tested.

    `value` is NaN where the test needs none, and the lower end of a range with `upper`; `margin` is None where none is
    stated. `family` names the superiority tests that share one Holm correction; `cost` is the part of a command that
    provides the data; `remark` is always printed, `otherwise` is what it means if it is not so.
    """

    id: str
    paper: str
    section: str
    claim: str
    test: str
    family: str
    row: str
    other_row: str
    arm: str
    other_arm: str
    stratum: str
    other_stratum: str
    metric: str
    other_metric: str
    structure: str
    value: float
    upper: float
    margin: float | None
    cost: str
    remark: str
    otherwise: str


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
            _check_line(cells, structures, where)
            if cells["id"] in claims:
                raise ValueError(f"{where}: the id {cells['id']} is taken by an earlier line")
            claims[cells["id"]] = _claim(cells, margin, where)
    return tuple(claims.values())


def in_group(structure: str, group: str) -> bool:
    """Whether a structure belongs to a group: `mean`, its name, the beginning of its name, or several joined by `+`."""
    return any(part == "mean" or structure == part or structure.startswith(f"{part}_") for part in group.split("+"))


def published_structures(folder: Path) -> set[str]:
    """Names of the structures of every published table in the folder, and of `structures.csv`.

    The latter has what a paper draws but prints no number of.
    """
    names: set[str] = set()
    for path in sorted((*folder.glob("*_table*.csv"), *folder.glob("structures.csv"))):
        with path.open(newline="", encoding="utf-8") as file:
            names |= {line["structure"] for line in csv.DictReader(file) if line.get("structure")}
    return names


def _check_line(cells: Mapping[str, str], structures: Collection[str], where: str) -> None:
    test = cells["test"]
    if test not in REQUIRED:
        raise ValueError(f"{where}: unknown test {test!r}; expected one of {', '.join(REQUIRED)}")
    empty = [name for name in ("id", "paper", "section", "claim", *REQUIRED[test]) if not cells[name]]
    if empty:
        raise ValueError(f"{where}: the test {test} needs {', '.join(empty)}, which is empty")
    if test in TWO_SIDED and not any(cells[name] for name in SWITCHES):
        raise ValueError(f"{where}: the test {test} compares two sides; state one of {', '.join(SWITCHES)}")
    if test == "superior" and cells["other_stratum"]:
        raise ValueError(f"{where}: superiority is tested on pairs, and two strata have none; use equivalent")
    if (";" in cells["row"] and test != "ordered") or (";" in cells["other_row"] and test not in OTHER_ROWS):
        raise ValueError(f"{where}: the test {test} takes one row on either side; got several, joined by ';'")
    num_rows = OTHER_ROWS.get(test)
    if num_rows is not None and len(cells["other_row"].split(";")) != num_rows:
        raise ValueError(f"{where}: other_row of the test {test} is {num_rows} rows: one change, the other, neither")
    if (test == "gains_within") != (" to " in cells["value"]):
        raise ValueError(f"{where}: value is {cells['value']!r}; gains_within, and it alone, takes `low to high`")
    chains = [name for name in ("row", "structure") if ";" in cells[name]]
    if len(chains) != (test == "ordered"):
        raise ValueError(
            f"{where}: ordered, and it alone, takes two rows or more or two structures or more, by ';'; got "
            f"{cells['row']!r} and {cells['structure']!r}"
        )
    known = {"cheaper": COSTS, "faster": SPEEDS}.get(test, (*METRICS, *DERIVED, *GRADINGS, *AGREEMENTS))
    for name in ("metric", "other_metric"):
        if cells[name] and cells[name] not in known:
            raise ValueError(f"{where}: unknown {name} {cells[name]!r}; expected one of {', '.join(known)}")
    if cells["metric"] in AGREEMENTS and test not in LEVELS:
        raise ValueError(
            f"{where}: {cells['metric']} is not one number a patient; {' and '.join(LEVELS)} alone take it"
        )
    graded = cells["metric"] in (*GRADINGS, *AGREEMENTS)
    for part in cells["structure"].replace(";", "+").split("+"):
        if not graded and part not in ("", "mean") and not any(in_group(name, part) for name in structures):
            raise ValueError(f"{where}: {part!r} is no structure or group of {', '.join(sorted(structures))}")


def _claim(cells: Mapping[str, str], report_margin: float, where: str) -> Claim:
    margin = report_margin if cells["margin"] == "report" else _number(cells["margin"], "margin", where)
    if margin is not None and margin < 0:
        raise ValueError(f"{where}: the margin is {margin:g}; expected zero or more")
    value, upper = (_number(cell, "value", where) for cell in (*cells["value"].split(" to "), "")[:2])
    if value is not None and upper is not None and value >= upper:
        raise ValueError(f"{where}: value is {cells['value']}; expected the lower end first")
    text = {name: cells[name] for name in COLUMNS if name not in ("margin", "value")}
    return Claim(**text, margin=margin, value=nan if value is None else value, upper=nan if upper is None else upper)


def _number(cell: str, name: str, where: str) -> float | None:
    if not cell:
        return None
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{where}: {name} is {cell!r}; expected a number or nothing") from None
