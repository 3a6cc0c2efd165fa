"""Everything a report says, as tables; `reports.collect` computes it once, then it is printed, drawn and judged."""

from dataclasses import dataclass, replace

import pandas as pd

from records.runs import Runs

STRUCTURES, AGREEMENT = "structures", "agreement"


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
        tables: Every table by the name of its CSV file, in the order of `TABLES`, which says who builds it.
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
