"""Errors of regions by level, by fat and by size; exploratory (docs/protocol.md, aggregation)."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from reports.chapters.parts import Part, nobody
from reports.evidence import Evidence
from reports.plots.intervals import by_stratum
from reports.readouts.region_tables import NAMES
from reports.readouts.regions import METRICS, patient_means, shown_regions
from reports.render.blocks import Block, Figures, Folded
from reports.render.formats import spoken
from reports.render.tables import PATIENTS, Column, Table
from reports.setting import label_of
from reports.sources import Sources
from reports.statistics.intervals import intervals
from reports.statistics.strata import SLICE, strata, tertiles

THIRDS = ("first", "middle", "last")
TITLES = {"dice": "Dice, %", "csa_error_percent": "error, %", "csa_error_mm2": "error, mm²"}
SHOWN = tuple(TITLES)
COLUMNS = ("row", "stratum", "region", "metric", "num_slices", "num_patients", "mean", "low", "high", "interval")
FILES = {"region_strata": "Regions of the reference in parts of the slices (`build_region_strata`)."}
TABLE = Table(
    title="{label}: regions in parts of the slices, mean over patients",
    caption="Exploratory.",
    columns=[
        Column("part", "stratum", kind="text", tone="name"),
        Column("region", "structure", kind="words"),
        PATIENTS,
        *(Column(title, f"{name}:mean", interval=name) for name, title in TITLES.items()),
    ],
)


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`region_strata`."""
    cases = sources.tested(sources.regions).reset_index(drop=True)
    return {"region_strata": build_region_strata(cases, sources.reference)}


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


def region_parts(evidence: Evidence) -> list[Block]:
    """In which parts of the slices errors are larger; nothing where there are none."""
    regions = shown_regions(evidence["regions"])
    table = evidence["region_strata"].loc[evidence["region_strata"]["region"].isin(regions)]
    if table.empty:
        return []
    label, metrics = label_of(evidence, evidence.reference), ("dice", "csa_error_percent")
    text = (
        f"{label}: mean over patients and 95 % interval (a range below six patients) in parts of the slices. fat "
        "tertile: as the cohort says; true fat, area: thirds of the slices by the share of fat and the area of the "
        "true mask; stack: thirds of a volume in the order of its file. Exploratory."
    )
    drawn = Figures(figures=lambda: [by_stratum(table, name, NAMES[name]) for name in metrics], caption=text)
    lines = []
    for (stratum, region), part in table.groupby(["stratum", "region"], sort=False):
        line = {"stratum": stratum, "structure": spoken(str(region)), "num_patients": part["num_patients"].max()}
        for each in part.to_dict("records"):
            ends = {f"{each['metric']}_{end}": each[end] for end in ("low", "high", "interval")}
            line |= {f"{each['metric']}:mean": each["mean"], **ends}
        lines.append(line)
    return [drawn, Folded(summary="The same as a table", blocks=[TABLE.of(lines, evidence.labels, label=label)])]


PARTS = [Part("muscles", 2, region_parts, "Where errors are larger", missed_by=nobody)]
