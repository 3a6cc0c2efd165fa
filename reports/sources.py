"""What tables of a report are built from: the runs, and what every one of them needs of them."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from records.runs import Run, Runs
from reports.case_tables import joined_cases
from reports.summaries import primary_split


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What read-outs are built from.

    Attributes:
        runs: All of them.
        published: The paper's table; empty without one.
        rows: Rows of the table.
        reference: The one that the others are compared with; "" without a table.
        averaged: What the primary endpoint is the mean of.
        cases: Case tables of the table's runs joined.
        scores: One value a patient of each.
        regions: `reports.region_scores.region_cases` of all runs.
    """

    runs: Runs
    published: pd.DataFrame
    rows: tuple[str, ...]
    reference: str
    averaged: tuple[str, ...]
    cases: pd.DataFrame
    scores: pd.DataFrame
    regions: pd.DataFrame

    @cached_property
    def split(self) -> str:
        """The split of the first table."""
        return primary_split(self.cases)

    @cached_property
    def own(self) -> list[Run]:
        """The table's runs with that split, arms among them."""
        return [run for run in self.runs.runs if run.split == self.split]

    @cached_property
    def with_fusions(self) -> list[Run]:
        """These and the fusions."""
        return [*self.own, *self.runs.fused]

    @cached_property
    def fused_cases(self) -> pd.DataFrame:
        """Case tables of the fusions joined."""
        return joined_cases(self.runs.fused)

    @cached_property
    def every_case(self) -> pd.DataFrame:
        """Case tables of the own tests of that split, of fusions and of runs without masks."""
        own = self.cases.loc[self.cases["split"] == self.split]
        every = pd.concat([own, self.fused_cases, joined_cases(self.runs.keypoint_only)])
        return every.loc[every["arm"] == ""]

    def tested(self, table: pd.DataFrame) -> pd.DataFrame:
        """Lines of `cases` or `scores` that are of own tests with that split."""
        return table.loc[(table["split"] == self.split) & (table["arm"] == "")]
