"""Regions of a table as Baur et al. print them, over slices, and as docs/protocol.md asks, over patients.

What is said of them is in `reports.readouts.region_tables`.
"""

from collections.abc import Mapping, Sequence
from math import nan, sqrt
from typing import Any

import numpy as np
import pandas as pd

from reports.region_scores import region_output_cases
from reports.sources import Sources
from reports.statistics.intervals import intervals

POOLED = "csa_error_pooled_percent"
# What is printed of a region, and the factor that makes a share of it percent.
METRICS: Mapping[str, float] = {
    **{"area_true_mm2": 1.0, "area_pred_mm2": 1.0, "dice": 100.0, "csa_error_percent": 1.0, "precision": 100.0},
    **{"recall": 100.0, "segmented_percent": 1.0, "csa_error_mm2": 1.0, "csa_bias_percent": 1.0, "csa_bias_mm2": 1.0},
}
NORMAL = 1.96  # how the paper makes an interval of a mean: SD over the root of the number of slices, 1.96 times
COUNTS = ("num_slices", "num_segmented", "num_empty_truth", "num_missed", "num_false_alarms", "num_unlabelled")
COLUMNS = (
    *("row", "region", "metric", "published_mean", "published_sd", "published_low", "published_high"),
    *("slice_mean", "slice_sd", "slice_median", "num_values", "slice_low", "slice_high"),
    *("clustered_low", "clustered_high", "clustered_interval"),
    *("patient_mean", "patient_low", "patient_high", "patient_interval", "num_patients", *COUNTS),
)
FILES = {
    "regions": "Regions over slices and over patients (`build_regions`).",
    "region_outputs": "The same of outputs that overlap, each on its own.",
}


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`regions`, `region_outputs`, and `region_cases`, the scores of every slice's regions."""
    cases = sources.tested(sources.regions).reset_index(drop=True)
    outputs = region_output_cases([run for run in sources.with_fusions if run.split == sources.split and not run.arm])
    published = sources.published
    tables = {"regions": build_regions(cases, published), "region_outputs": build_regions(outputs, published)}
    return {"region_cases": cases, **tables}


def build_regions(cases: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """`regions.csv`: a line per row, region and metric, all in percent or mm2, with COLUMNS.

    * `slice_mean, slice_sd, slice_median` over the slices on which the metric is defined (`num_values`; relative errors
      need a truth that is not empty), averaged over seeds; `slice_low, slice_high` is the papers' mean +- 1.96 SD over
      the root of the number of slices, which takes slices of a patient for independent; `clustered_*` is the interval
      of the same mean with the slices of a patient kept together.
    * `patient_*`: mean over patients of their means over slices, and its interval. Of `csa_error_pooled_percent` the
      patient's value is the error of the area summed over its slices.
    * Counts are of slices, over all seeds; `num_segmented` have a prediction, `num_empty_truth` no truth.

    Args:
        cases: `reports.region_scores.region_cases` of one split.
        published: The paper's table, whose structures are regions.
    """
    records, totals, sizes, samples = [], [], [], []
    patients = sorted(set(cases["patient"].astype(str)))
    key: Any
    for key, part in cases.groupby(["row", "structure"], sort=False):
        row, region = key
        for metric, scale in METRICS.items():
            values = part.assign(value=scale * part[metric].astype(float)).dropna(subset=["value"])
            found: Any = values.groupby("patient")["value"].agg(["sum", "size"]).reindex(patients, fill_value=0)
            for kept, name in ((totals, "sum"), (sizes, "size")):
                kept.append(found[name].to_numpy(dtype=float))
            samples.append(patient_means(values))
            records.append({"row": row, "region": region, "metric": metric} | _over_slices(values) | _counted(part))
        pooled = _pooled(part)
        empty = np.zeros(len(patients))
        totals, sizes, samples = [*totals, empty], [*sizes, empty], [*samples, pooled]
        records.append({"row": row, "region": region, "metric": POOLED} | _over_slices(part.iloc[:0]) | _counted(part))
    table = pd.DataFrame(records, columns=[name for name in COLUMNS if name in (records or [{}])[0]])
    if table.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    clustered, own = intervals(np.stack(totals), np.stack(sizes)), intervals(samples)
    table[["clustered_low", "clustered_high", "clustered_interval"]] = clustered[["low", "high", "interval"]]
    table[["patient_mean", "patient_low", "patient_high", "patient_interval"]] = own
    table["num_patients"] = [len(sample) for sample in samples]
    return _with_published(table, published).loc[:, list(COLUMNS)]


def shown_regions(table: pd.DataFrame) -> list[str]:
    """Regions of `regions.csv` that the paper prints; all of them where it prints none."""
    printed = table.loc[table["published_mean"].notna(), "region"]
    return list(dict.fromkeys(printed if len(printed) else table["region"]))


def _over_slices(values: pd.DataFrame) -> dict[str, float]:
    if values.empty:
        names = ("slice_mean", "slice_sd", "slice_median", "slice_low", "slice_high")
        return {"num_values": 0, **dict.fromkeys(names, nan)}
    seeds: Any = values.groupby("seed")["value"].agg(["mean", "std", "median", "size"]).mean()
    mean, sd = float(seeds["mean"]), float(seeds["std"])
    half = NORMAL * sd / sqrt(float(seeds["size"]))
    known = {"slice_mean": mean, "slice_sd": sd, "slice_median": float(seeds["median"])}
    return {**known, "num_values": len(values), "slice_low": mean - half, "slice_high": mean + half}


def patient_means(values: pd.DataFrame) -> np.ndarray:
    """Mean over slices, then over seeds, of each patient, in the order of their names."""
    seeds = values.groupby(["patient", "seed"])["value"].agg("mean")
    return seeds.groupby("patient").agg("mean").to_numpy(dtype=float)


def _pooled(part: pd.DataFrame) -> np.ndarray:
    """Error of each patient's summed area in percent, mean over seeds; without those whose truth is empty."""
    sums = part.groupby(["patient", "seed"])[["area_true_mm2", "area_pred_mm2"]].agg("sum")
    sums = sums.loc[sums["area_true_mm2"] > 0]
    errors = 100 * (sums["area_pred_mm2"] - sums["area_true_mm2"]).abs() / sums["area_true_mm2"]
    return errors.groupby("patient").agg("mean").to_numpy(dtype=float)


def _counted(part: pd.DataFrame) -> dict[str, int]:
    status = list(part["status"])
    counts = {name: status.count(name) for name in ("scored", "missed", "false_alarm", "absent", "unlabelled")}
    drawn = (
        len(part) - counts["unlabelled"],
        counts["scored"] + counts["false_alarm"],
        counts["absent"] + counts["false_alarm"],
    )
    return dict(zip(COUNTS, (*drawn, counts["missed"], counts["false_alarm"], counts["unlabelled"]), strict=True))


def _with_published(table: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    names = {"mean": "published_mean", "sd": "published_sd", "ci95_low": "published_low", "ci95_high": "published_high"}
    printed = published.loc[published["row"] != "", ["row", "structure", "metric", *names]]
    printed = printed.rename(columns={**names, "structure": "region"}).drop_duplicates(["row", "region", "metric"])
    system = table["row"].str.split(" ").str[0]
    keyed = table.assign(system=system).merge(
        printed.rename(columns={"row": "system"}), on=["system", "region", "metric"], how="left"
    )
    return keyed.drop(columns="system")


def regions_of_row(table: pd.DataFrame, row: str, regions: Sequence[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """Lines of one row, by region and metric."""
    own = table.loc[(table["row"] == row) & table["region"].isin(list(regions))]
    return {(str(line["region"]), str(line["metric"])): dict(line) for line in own.to_dict("records")}
