"""Parts of a cohort that are looked at apart; all of them are exploratory (docs/protocol.md, aggregation)."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

TERTILES = ("low", "middle", "high")
TERTILE_FACTORS = {"fat_fraction": "fat tertile", "fascia_contrast": "fascia contrast", "snr": "snr"}
SLICE = ["case", "slice"]


def strata(cases: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every stratum's name with its rows of the case table.

    `level L4/5`, `quadratus lumborum present | absent`, and `fat tertile`, `fascia contrast` and `snr` `low | middle |
    high`: tertiles of the factor over the cohort's distinct slices, so that every row of the table is cut at the same
    values. A factor that no case has, or with fewer than three different values, has no stratum, and a slice for which
    it is not known is in none of its strata.
    """
    levels = cases["level"].astype(str)
    for level in sorted(set(levels) - {"", "nan"}):
        yield f"level {level}", cases.loc[levels == level]
    for factor, name in TERTILE_FACTORS.items():
        yield from tertiles(cases, factor, name)
    if "quadratus_lumborum" in cases and cases["quadratus_lumborum"].notna().to_numpy().any():
        for label, value in (("absent", 0.0), ("present", 1.0)):
            here = cases.loc[cases["quadratus_lumborum"] == value]
            if len(here):
                yield f"quadratus lumborum {label}", here


def tertiles(cases: pd.DataFrame, factor: str, name: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The strata `low | middle | high` of a factor; none where it cannot be cut."""
    limits = tertile_limits(cases, factor)
    if limits is None:
        return
    values = cases[factor].to_numpy(dtype=float)
    place = np.searchsorted(np.array(limits), values, side="left")
    for number, label in enumerate(TERTILES):
        yield f"{name} {label}", cases.loc[(place == number) & ~np.isnan(values)]


def tertile_limits(cases: pd.DataFrame, factor: str) -> tuple[float, float] | None:
    """The two values that cut a factor into thirds of the slices; None where it cannot be cut.

    A slice is `low` up to and including the first, `middle` up to and including the second.
    """
    if factor not in cases:
        return None
    values = cases.drop_duplicates(SLICE)[factor].dropna().to_numpy(dtype=float)
    if len(np.unique(values)) < len(TERTILES):
        return None
    low, high = np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf")
    return (float(low), float(high)) if low < high else None
