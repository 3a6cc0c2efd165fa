"""`statistics.csv`: every mean with its interval and every comparison with the reference (docs/protocol.md)."""

from collections.abc import Iterator, Sequence
from math import nan
from typing import Any, NamedTuple

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


class Cell(NamedTuple):
    """One mean to be estimated, and the differences to be tested, if any."""

    labels: dict[str, object]
    values: np.ndarray
    differences: np.ndarray | None


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
    own, arms = scores.loc[scores["arm"] == ""], scores.loc[scores["arm"] != ""]
    cells = [*_own_cells(own, "", rows, systems, reference)]
    cells += _cells(scores.loc[scores["row"].isin(arms["row"])], ["split", "row", "structure", "metric"], "arm")
    tested = cases.loc[cases["arm"] == ""]
    for split in tested["split"].drop_duplicates():
        for name, part in strata(tested.loc[tested["split"] == split]):
            cells += _own_cells(patient_scores(part, STRATUM_METRICS, averaged), name, rows, systems, reference)
    return _estimate(cells, margin)


def _own_cells(
    scores: pd.DataFrame, stratum: str, rows: Sequence[str], systems: Sequence[str], reference: str
) -> Iterator[Cell]:
    """Of the rows' own tests; each is compared with the reference."""
    for cell in _cells(scores, ["split", "structure", "metric"], "row", rows, systems, reference):
        against = "" if cell.labels["row"] == reference else reference
        yield cell._replace(labels=cell.labels | {"stratum": stratum, "reference": against})


def _cells(
    scores: pd.DataFrame,
    keys: list[str],
    column: str,
    order: Sequence[str] | None = None,
    systems: Sequence[str] = (),
    reference: str = "",
) -> Iterator[Cell]:
    """Of each key a cell for everything in a column, compared with what is called `reference` there."""
    if scores.empty:
        return
    tables = over_seeds(scores).pivot(index=[*keys, "patient"], columns=column, values="value")
    tables = tables.loc[:, [name for name in (tables.columns if order is None else order) if name in tables]]
    spreads = _seed_spreads(scores, [*keys, column])
    for key, values in _values_of(tables, keys):
        labels = {"arm": "", "stratum": "", "row": ""} | dict(zip(keys, key, strict=True))
        competing = pd.DataFrame({name: values[name] for name in values if name in systems})
        bold = bold_rows(competing, higher_is_better=labels["metric"] not in LOWER_IS_BETTER)
        compared = values.get(reference)
        for name in (name for name in values if name):  # what has no name is the own test beside the arms
            against = "" if compared is None else labels["row"]
            own: dict[str, object] = labels | {column: name, "reference": against, "bold": name in bold}
            yield _cell(own, spreads[*key, name], values[name], None if name == reference else compared)


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
    return Cell(labels, values, differences)


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
    # Arms of a row are a family of their own.
    table["family"] = table["row"].where(table["arm"] != "", "")
    adjusted = table.groupby([*COLUMN, "family"], sort=False)["p_wilcoxon"]
    table["p_holm"] = adjusted.transform(lambda p_values: holm(p_values.to_numpy()))
    numbers = ("mean", "ci95_low", "ci95_high")
    return table.astype(dict.fromkeys(numbers, float)).loc[:, list(COLUMNS)]
