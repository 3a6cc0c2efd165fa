"""Errors of regions by level, by fat and by size; exploratory (PROTOCOL.md, aggregation)."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from reports.muscles.areas import METRICS, patient_means
from reports.statistics.intervals import intervals
from reports.statistics.strata import SLICE, strata, tertiles

THIRDS = ("first", "middle", "last")
SHOWN = ("dice", "csa_error_percent", "csa_error_mm2")
COLUMNS = ("row", "stratum", "region", "metric", "num_slices", "num_patients", "mean", "low", "high", "interval")


def build_region_strata(cases: pd.DataFrame, row: str) -> pd.DataFrame:
    """`region_strata.csv`: mean over patients of each region's Dice and CSA error in each stratum, with COLUMNS."""
    own = cases.loc[cases["row"] == row]
    if own.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    records, samples = [], []
    for name, part in region_strata(own):
        for region in dict.fromkeys(own["structure"]):
            here = part.loc[part["structure"] == region]
            for metric in SHOWN:
                values = here.assign(value=METRICS[metric] * here[metric].astype(float)).dropna(subset=["value"])
                samples.append(patient_means(values))
                counts = (len(values[SLICE].drop_duplicates()), len(samples[-1]))
                records.append((row, name, region, metric, *counts))
    table = pd.DataFrame(records, columns=list(COLUMNS[:6]))
    table[["mean", "low", "high", "interval"]] = intervals(samples)[["mean", "low", "high", "interval"]]
    return table.loc[:, list(COLUMNS)]


def region_strata(cases: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """`reports.statistics.strata.strata`, and parts by what the records say themselves.

    `true fat low | middle | high` by the share of fat in the true mask of the slice, `area low | ...` by the true area
    of its largest region, and, where no level is known, `stack first | middle | last` third of a volume's slices in the
    order of its file.
    """
    yield from strata(cases)
    yield from tertiles(cases, "true_fat_share", "true fat")
    largest = cases.groupby(SLICE)["area_true_mm2"].transform("max")
    yield from tertiles(cases.assign(largest=largest), "largest", "area")
    if set(cases["level"].astype(str)) == {""}:
        volumes = cases.groupby("case")["slice"]
        place, size = volumes.rank(method="dense").to_numpy(), volumes.transform("nunique").to_numpy(dtype=float)
        third = np.floor(3 * (place - 1) / size)
        for number, name in enumerate(THIRDS):
            here = cases.loc[(size >= len(THIRDS)) & (third == number)]
            if len(here):
                yield f"stack {name}", here
