"""The tables of an Evidence about settings that the paper varies."""

from collections.abc import Sequence

import pandas as pd

from reports.summaries import primary_split
from reports.varied.gains import build_gains
from reports.varied.tables import build_noise, build_values


def vary(
    cases: pd.DataFrame, scores: pd.DataFrame, rows: Sequence[str], published: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """`varied`, `varied_noise` and `varied_gains`, of the own tests of the first table's split."""
    split = primary_split(cases)
    cases, scores = (table.loc[(table["split"] == split) & (table["arm"] == "")] for table in (cases, scores))
    values = build_values(scores, rows, published)
    return {
        "varied": values,
        "varied_noise": build_noise(cases, scores, values),
        "varied_gains": build_gains(cases, scores, rows, published),
    }
