"""`statistics.csv`: every mean with its interval and every comparison with the reference (PROTOCOL.md)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from reports.statistics.comparisons import bold_rows, compare, holm
from reports.statistics.intervals import EQUAL, FEWEST_FOR_BCA, FEWEST_FOR_TEST, intervals
from reports.statistics.patients import LOWER_IS_BETTER, SEEDED, over_seeds, patient_scores, spread_over_seeds
from reports.statistics.strata import strata

STRATUM_METRICS = ("dice", "hd95_mm", "box_iou")
COLUMNS = (
    *("split", "arm", "row", "reference", "stratum", "structure", "metric", "num_patients", "mean"),
    *("ci95_low", "ci95_high", "interval", "difference", "difference_low", "difference_high", "p_wilcoxon"),
    *("p_permutation", "p_holm", "effect_size", "seed_sd", "num_seeds", "bold", "testable", "note"),
    *("num_pairs", "difference_interval", "rank_biserial", "p_equivalence", "p_noninferiority"),
)
COLUMN = ["split", "stratum", "structure", "metric"]  # what is a column of a table: Holm and bold stay within it


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One mean to be estimated, and the differences to be tested, if any."""

    labels: dict[str, object]
    values: np.ndarray
    differences: np.ndarray | None
    bold: bool


def build_statistics(
    cases: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    rows: Sequence[str],
    systems: Sequence[str],
    reference: str,
    margin: float,
    averaged: Sequence[str],
) -> pd.DataFrame:
    """All statistics of a report, with COLUMNS.

    Values are in the unit of the metric (Dice in 0..1), one a patient, averaged over its seeds. The own tests of all
    rows are compared with those of `reference`; an arm is compared with the own test of its row. `p_holm` adjusts
    `p_wilcoxon` over the rows (or arms) of one column: split, stratum, structure and metric. `effect_size` is Cohen's
    dz, `p_equivalence` and `p_noninferiority` (Dice alone) are against `margin`; see `compare`.

    Args:
        cases: Case tables joined, for the strata; of these STRATUM_METRICS are looked at.
        scores: `patient_scores` of all of them.
        rows: Order of the rows.
        systems: Those of them that compete for the best of a column.
        reference: Row that the others are compared with.
        margin: Difference of interest in Dice.
        averaged: Structures that "mean" is the mean of.
    """
    own = cases.loc[cases["arm"] == ""]
    cells = [*_own_cells(scores.loc[scores["arm"] == ""], "", rows, systems, reference), *_arm_cells(scores)]
    for split in own["split"].drop_duplicates():
        for name, part in strata(own.loc[own["split"] == split]):
            cells += _own_cells(patient_scores(part, STRATUM_METRICS, averaged), name, rows, systems, reference)
    return _estimate(cells, margin)


def patient_table(scores: pd.DataFrame, rows: Sequence[str] | None = None) -> pd.DataFrame:
    """Values of one column, a patient a line (sorted) and a row of the table a column, averaged over seeds.

    Args:
        scores: Of one split, arm, structure and metric.
        rows: The rows to take, in this order; all by name without it. One without a value is left out.
    """
    table = over_seeds(scores).pivot(index="patient", columns="row", values="value")
    return table if rows is None else table.loc[:, [row for row in rows if row in table]]


def _own_cells(
    scores: pd.DataFrame, stratum: str, rows: Sequence[str], systems: Sequence[str], reference: str
) -> Iterator[Cell]:
    keys = ["split", "structure", "metric"]
    tables = over_seeds(scores).pivot(index=[*keys, "patient"], columns="row", values="value")
    tables = tables.loc[:, [row for row in rows if row in tables]]
    spreads = _seed_spreads(scores, [*keys, "row"])
    key: Any
    for key, values in _values_of(tables, keys):
        split, structure, metric = key
        competing = pd.DataFrame({row: values[row] for row in values if row in systems})
        bold = bold_rows(competing, higher_is_better=metric not in LOWER_IS_BETTER)
        for row in values:
            labels = {"split": split, "arm": "", "stratum": stratum, "structure": structure, "metric": metric}
            labels |= {"row": row, "reference": "" if row == reference else reference}
            compared = values.get(reference) if row != reference else None
            yield _cell(labels, spreads[*key, row], values[row], compared, bold=row in bold)


def _arm_cells(scores: pd.DataFrame) -> Iterator[Cell]:
    with_arms = scores.loc[scores["row"].isin(scores.loc[scores["arm"] != "", "row"])]
    if with_arms.empty:
        return
    keys = ["split", "row", "structure", "metric"]
    tables = over_seeds(with_arms).pivot(index=[*keys, "patient"], columns="arm", values="value")
    spreads = _seed_spreads(with_arms, [*keys, "arm"])
    key: Any
    for key, values in _values_of(tables, keys):
        split, row, structure, metric = key
        compared = values.get("")
        for arm in (name for name in values if name):
            labels = {"split": split, "arm": arm, "stratum": "", "structure": structure, "metric": metric}
            labels |= {"row": row, "reference": "" if compared is None else row}
            yield _cell(labels, spreads[*key, arm], values[arm], compared, bold=False)


def _seed_spreads(scores: pd.DataFrame, keys: Sequence[str]) -> dict[Any, tuple[float, int]]:
    """`seed_spread` of the scores of each key, without a table for each of thousands."""
    columns = [scores[name].to_numpy() for name in SEEDED]
    places: dict[Any, np.ndarray] = scores.groupby(list(keys), sort=False).indices
    return {key: spread_over_seeds(*(column[rows] for column in columns)) for key, rows in places.items()}


def _values_of(tables: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[Any, dict[str, np.ndarray]]]:
    """Of each key the values of its patients by column, NaN where one has none; columns without any are left out.

    As arrays, since there are thousands of them.
    """
    array = tables.to_numpy(dtype=float)
    for key, rows in tables.groupby(level=list(keys), sort=False).indices.items():
        part = array[rows]
        some = np.flatnonzero((~np.isnan(part)).any(axis=0))
        yield key, {str(tables.columns[place]): part[:, place] for place in some}


def _cell(
    labels: dict[str, object],
    seeds: tuple[float, int],
    values: np.ndarray,
    compared: np.ndarray | None,
    *,
    bold: bool,
) -> Cell:
    """`values` and `compared` are those of the same patients, NaN where one has none; `seeds` their `seed_spread`."""
    spread, num_seeds = seeds
    differences = None if compared is None else values - compared
    num_compared = 0 if compared is None else int((~np.isnan(compared)).sum())
    values = values[~np.isnan(values)]
    differences = None if differences is None else differences[~np.isnan(differences)]
    notes = []
    if len(values) < FEWEST_FOR_TEST:
        notes.append("fewer than 6 patients: range, not testable")
    elif len(values) < FEWEST_FOR_BCA:
        notes.append("fewer than 20 patients: t interval")
    if len(values) and np.ptp(values) < EQUAL:
        notes.append("all values are equal")
    if differences is not None and len(differences) < max(len(values), num_compared):
        notes.append(f"compared on the {len(differences)} patients that both have")
    labels = labels | {"seed_sd": spread, "num_seeds": num_seeds, "note": "; ".join(notes)}
    return Cell(labels=labels, values=values, differences=differences, bold=bold)


def _estimate(cells: Sequence[Cell], margin: float) -> pd.DataFrame:
    """Intervals and tests of all cells at once, which is what makes them affordable."""
    table = pd.DataFrame([cell.labels for cell in cells])
    table["num_patients"] = [len(cell.values) for cell in cells]
    means = intervals([cell.values for cell in cells])
    table[["mean", "ci95_low", "ci95_high", "interval"]] = means[["mean", "low", "high", "interval"]].to_numpy()
    compared = [index for index, cell in enumerate(cells) if cell.differences is not None]
    tests = compare([cells[index].differences for index in compared], margin)  # pyright: ignore[reportArgumentType]
    for name in tests.columns:
        table[name] = "" if name == "difference_interval" else nan
        table.loc[compared, name] = tests[name].to_numpy()
    table["num_pairs"] = table["num_pairs"].fillna(0).astype(int)
    not_dice = table["metric"] != "dice"
    table.loc[not_dice, ["p_equivalence", "p_noninferiority"]] = nan
    counted = table["num_pairs"].where(table["reference"] != "", table["num_patients"])
    table["testable"] = counted >= FEWEST_FOR_TEST
    table["bold"] = [cell.bold for cell in cells]
    # Arms of a row are a family of their own.
    table["family"] = table["row"].where(table["arm"] != "", "")
    adjusted = table.groupby([*COLUMN, "family"], sort=False)["p_wilcoxon"]
    table["p_holm"] = adjusted.transform(lambda p_values: holm(p_values.to_numpy()))
    numbers = ("mean", "ci95_low", "ci95_high")
    return table.astype(dict.fromkeys(numbers, float)).loc[:, list(COLUMNS)]
