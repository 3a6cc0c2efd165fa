"""Everything a report says, as tables; `reports.collect` computes it once, then it is printed, drawn and judged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from records.runs import Runs

STRUCTURES, AGREEMENT = "structures", "agreement"

# Tables of an Evidence beside those that a read-out writes (`reports.readouts.files`); any of either may be empty.
TABLES: Mapping[str, str] = {
    "cases": "Every case table joined, with row, split, arm, seed, fold (`joined_cases`).",
    "scores": "One value a patient (`reports.statistics.patients.patient_scores`).",
    "statistics": "statistics.csv (`reports.statistics.build_statistics`).",
    "table": "table.csv (`reports.summaries.build_table`).",
    "costs": "What a row costs, began with and was shown (`build_costs`).",
    "detection": "row, box (network | mask), iou, precision, recall (0..1), num_patients (`build_detection`).",
    "ranks": "row, rank, probability (`reports.statistics.comparisons.rank_probabilities`).",
    "folds": "split, fold, part, num_patients, num_slices, levels (`build_folds`).",
    "inflation": "What folds dealt by image add to Dice, 0..1, by row and structure (`build_inflation`).",
    "trainings": "Epochs that each training took to get near its end (`build_trainings`).",
    "measured": "One pair of measurements a patient (`reports.statistics.agreement.patient_pairs`).",
    "region_cases": "Scores of every slice's regions (`region_cases`).",
    "beside": "Case tables of curve and fusions, joined as `cases` are, for the claims alone.",
    "claims": "claims.csv (`reports.claims.judge.judge`); empty until they are judged.",
}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a report says.

    Attributes:
        runs: The runs it was made from.
        published: The paper's table in percent (`reports.papers`); empty without one.
        rows: Rows with a finished run, in the paper's order, then the others by name.
        labels: What a table prints for each row, published ones without a run included.
        averaged: What the primary endpoint is the mean of (`reports.endpoint.averaged_names`).
        reference: The proposed system, or whatever the others are compared with.
        margin: Difference of interest in Dice, 0..1.
        tables: Tables by name; TABLES and `reports.readouts.files` say what each is and who builds it.
        notes: What is printed under the table.
        overlay: STRUCTURES or AGREEMENT, how pictures show masks; "" for as the runs drew theirs.
    """

    runs: Runs
    published: pd.DataFrame
    rows: tuple[str, ...]
    labels: dict[str, str]
    averaged: tuple[str, ...]
    reference: str
    margin: float
    tables: dict[str, pd.DataFrame]
    notes: tuple[str, ...]
    overlay: str

    def with_tables(self, **tables: pd.DataFrame) -> "Evidence":
        """The same with some tables replaced."""
        return replace(self, tables={**self.tables, **tables})

    def __getitem__(self, name: str) -> pd.DataFrame:
        """A table by its name."""
        return self.tables[name]
