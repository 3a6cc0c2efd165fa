"""Key points: how far a spine's are off, and what became of each that is visible."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from records.readout_files import HEATMAP, MASK
from records.run import Run
from reports.chapters.parts import Part
from reports.evidence import Evidence
from reports.plots.intervals import keypoint_errors
from reports.plots.style import row_styles
from reports.render.blocks import Block, Figure, Figures
from reports.render.formats import has_values, pick
from reports.render.tables import ROW, Column, Table, counts
from reports.setting import in_order, is_sagittal
from reports.sources import Sources
from reports.statistics.patients import MEAN, means_by_structure

COLUMNS = (
    *("row", "source", "structure", "num_patients", "mean_mm", "ci95_low", "ci95_high", "interval", "median_mm"),
    *("p95_mm", "num_points", "num_missing", "num_one_off", "num_further_off", "num_astray"),
)
METRIC_OF = {HEATMAP: "keypoint_error_mm", MASK: "mask_keypoint_error_mm"}
NAMES = {HEATMAP: "heat map", MASK: "centre of the mask"}
FILES = {"keypoints": "Distances of key points, of fusions and runs without masks, too (`build_keypoints`)."}
TABLE = Table(
    title="Key points, distance in millimetres",
    caption="Mean over patients; visible key points of the truth, and what became of them, all seeds.",
    columns=[
        ROW,
        Column("key point of", lambda line: NAMES.get(line["source"], line["source"]), kind="words"),
        Column("structure", "structure", kind="words"),
        Column("error, mm", "mean_mm", digits=2, interval="ci95"),
        Column("median", "median_mm", digits=2),
        Column("95th percentile", "p95_mm", digits=2),
        *counts(num_points="visible", num_missing="not found", num_one_off="nearest to a neighbour"),
        *counts(num_further_off="to one farther off", num_astray="to none", num_patients="patients"),
    ],
)


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`keypoints`."""
    runs = [*sources.with_fusions, *sources.runs.keypoint_only]
    return {"keypoints": build_keypoints(runs, sources.every_case, sources.runs.structures)}


def build_keypoints(runs: Sequence[Run], cases: pd.DataFrame, structures: Sequence[str]) -> pd.DataFrame:
    """`keypoints.csv`: distance between true and predicted key points, by row, source and structure ("mean": all).

    `mean_mm` and its interval are over patients, `median_mm` and the 95th percentile `p95_mm` over points. A visible
    key point without a prediction is in `num_missing` and in no mean. Of the others, `num_one_off` and
    `num_further_off` lie nearest to the true point of a neighbour, or of another structure, `num_astray` near none.

    Args:
        runs: Whose key points are counted, arms left out.
        cases: Their case tables joined (`reports.case_tables.joined_cases`).
        structures: In the anatomy's order.
    """
    points = joined_readouts(runs, "keypoints")
    if points.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    points = points.loc[points["visible"]]
    series = _series(runs)
    records = []
    key: Any
    for key, part in points.groupby(["row", "source"], sort=False):
        row, source = key
        metric = METRIC_OF[str(source)]
        means = means_by_structure(cases.loc[cases["row"] == row], metric)
        for structure in (MEAN, *(name for name in structures if name in set(part["structure"]))):
            own = part if structure == MEAN else part.loc[part["structure"] == structure]
            errors = own["error_mm"].dropna().to_numpy(dtype=float)
            found = own.dropna(subset=["x"])  # with a nominal spacing, those that were found have no error in mm either
            median, p95 = np.quantile(errors, [0.5, 0.95]) if len(errors) else (nan, nan)
            records.append(
                {"row": row, "source": source, "structure": structure, **means(structure, "mean_mm")}
                | {"median_mm": median, "p95_mm": p95, "num_points": len(own), "num_missing": len(own) - len(found)}
                | _nearest(found, series)
            )
    return pd.DataFrame(records, columns=list(COLUMNS))


def joined_readouts(runs: Sequence[Run], name: str) -> pd.DataFrame:
    """A table of the read-outs of runs, arms left out, joined, with row and seed; empty where none has it."""
    tables = [(run, getattr(run.readouts, name)) for run in runs if not run.arm]
    frames = [table.assign(row=run.row, seed=run.seed) for run, table in tables if table is not None]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _series(runs: Sequence[Run]) -> dict[str, tuple[str, int]]:
    known: Mapping[str, Sequence[str]] = next((run.series for run in runs if run.series), {})
    return {name: (kind, place) for kind, names in known.items() for place, name in enumerate(names)}


def _nearest(points: pd.DataFrame, series: Mapping[str, tuple[str, int]]) -> dict[str, int]:
    """How many lie at another structure: a neighbour in the series, any other, or none at all."""
    counts = {"num_one_off": 0, "num_further_off": 0, "num_astray": 0}
    for structure, nearest in zip(points["structure"], points["nearest"], strict=True):
        if not nearest:
            counts["num_astray"] += 1
        elif nearest != structure:
            mine, found = series.get(structure, ("", 0)), series.get(nearest, ("?", 0))
            neighbour = mine[0] == found[0] and abs(mine[1] - found[1]) == 1
            counts["num_one_off" if neighbour else "num_further_off"] += 1
    return counts


def keypoints(evidence: Evidence) -> list[Block]:
    """Errors and what became of every point: over all structures, then of each, then drawn."""
    table = in_order(evidence, evidence["keypoints"])
    if not has_values(table, "mean_mm"):
        return []
    whole = table["structure"] == MEAN
    caption = "A key point that was not found is in no mean; it is counted above."
    drawn = Figures(figures=lambda: _figures(evidence, table.loc[~whole]), caption=caption)
    return [*TABLE.first_and_rest(table.loc[whole], table.loc[~whole], evidence.labels), drawn]


def _figures(evidence: Evidence, table: pd.DataFrame) -> list[Figure]:
    structures = [name for name in evidence.runs.structures if name in set(table["structure"])]
    styles, figures = row_styles(list(dict.fromkeys((*evidence.rows, *table["row"])))), []
    for source, name in NAMES.items():
        own = pick(table, source=source)
        if has_values(own, "mean_mm"):
            drawn = keypoint_errors(own, evidence.labels, styles, structures)
            figures.append(Figure(source=drawn.source, alt=drawn.alt, width=drawn.width, caption=name))
    return figures


GAP = "No run folder has a keypoints.csv."
PARTS = [Part("keypoints", 0, keypoints, "Key points", gap=GAP, command="{sweep}", missed_by=is_sagittal)]
