"""How values of patients and of slices spread."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from records.readout_files import PREDICTED, TRUE
from reports.plots.intervals import REGIONS
from reports.plots.style import COLOURS, SMALL, WIDTH, Style, drawing, finished, jitter, ruled, wrapped
from reports.readouts.regions import METRICS
from reports.render.blocks import Figure
from reports.render.formats import spoken

MOST_POINTS = 1_500  # of a violin; more only blacken it
SHOWN = 0.98  # share of the values that the axis of an error, which has no end, reaches to
SOURCES = {PREDICTED: ("prediction", COLOURS[3]), TRUE: ("truth", COLOURS[6])}


def boxes(scores: pd.DataFrame, structure: str, labels: Mapping[str, str], styles: Mapping[str, Style]) -> Figure:
    """Dice of the patients on one structure, a box a row, in the order of `labels`.

    Args:
        scores: Columns row and value (0..1), a row a patient.
        structure: What the plot is called.
        labels: What a row is called.
        styles: How it is drawn.
    """
    groups = {row: 100 * scores.loc[scores["row"] == row, "value"].dropna().to_numpy(dtype=float) for row in labels}
    groups = {row: group for row, group in groups.items() if len(group)}
    with drawing(SMALL, 0.9 + 0.42 * len(groups)) as (canvas, axis):
        for place, (row, group) in enumerate(groups.items()):
            _box(axis, place, group, styles[row].colour, "horizontal")
        axis.set_yticks(range(len(groups)), [wrapped(labels[row]) for row in groups], fontsize=9.5, linespacing=0.95)
        axis.set(ylim=(len(groups) - 0.45, -0.55), title=spoken(structure), xlabel="Dice of a patient, %")
        axis.tick_params(axis="y", length=0)
        ruled(axis, "x")
        return finished(canvas, alt=f"Dice of the patients on {spoken(structure)}, a box a row")


def fat_by_grade(table: pd.DataFrame, grades: Sequence[str], *, title: str) -> Figure:
    """Share of fat of patients: a box and points for each grade that somebody has, of predicted masks and true ones.

    Args:
        table: Lines of grades.csv of one row, muscle and scale.
        grades: All grades of the scale.
        title: What the muscle is called.
    """
    shown = [grade for grade in grades if any((table[source] == grade).any() for source in SOURCES)]
    shares = 100 * table[[f"{source}_share" for source in SOURCES]].to_numpy(dtype=float)
    with drawing(WIDTH, 3.2, len(SOURCES)) as (canvas, axes):
        for axis, (source, (name, colour)) in zip(axes, SOURCES.items(), strict=True):
            own = [table.loc[table[source] == grade, f"{source}_share"] for grade in shown]
            for place, values in enumerate(own):
                _box(axis, place, 100 * values.dropna().to_numpy(dtype=float), colour, "vertical")
            counts = [f"{grade}\nn = {len(values)}" for grade, values in zip(shown, own, strict=True)]
            axis.set_xticks(range(len(shown)), counts)
            axis.set_xlim(-0.6, max(len(shown), 1) - 0.4)
            axis.set_title(name, fontsize=10.5)
            ruled(axis, "y")
        top = float(np.nanmax(shares)) if np.isfinite(shares).any() else 1.0
        axes[0].set(ylim=(0, 1.08 * max(top, 1.0)), ylabel="share of fat, %")
        canvas.suptitle(title, fontsize=10.5)
        return finished(canvas, alt=f"Share of fat of the patients by grade of {title}, predicted and true")


def spread(cases: pd.DataFrame, regions: Sequence[str], metric: str, name: str) -> Figure:
    """Values of all slices, a violin with points for each region, with mean and median.

    Args:
        cases: `region_cases` of one row.
        regions: Which of them, in order.
        metric: A column of METRICS.
        name: What it is called, with its unit.
    """
    own = [cases.loc[cases["structure"] == region, metric].dropna().to_numpy(dtype=float) for region in regions]
    groups = [METRICS[metric] * values for values in own]
    top = 101.0 if metric == "dice" else max(10.0, float(np.quantile(np.concatenate([*groups, [1.0]]), SHOWN)))
    with drawing(SMALL, 3.4) as (canvas, axis):
        for place, values in enumerate(groups):
            colour, inside = REGIONS[place % len(REGIONS)].colour, np.clip(values, None, top)
            if len(inside) > 1 and np.ptp(inside) > 0:
                parts: Any = axis.violinplot([inside], positions=[place], widths=0.85, showextrema=False)
                for body in parts["bodies"]:
                    body.set(facecolor=colour, alpha=0.25, linewidth=0)
            drawn = np.random.default_rng(place).permutation(inside)[:MOST_POINTS]
            at = place + jitter(len(drawn), 0.12)
            axis.scatter(at, drawn, s=5, color=colour, alpha=0.35, linewidth=0, rasterized=True)
            for middle, half in ((np.mean, 0.36), (np.median, 0.18)):
                if len(values):
                    axis.hlines(min(middle(values), top), place - half, place + half, color="black", linewidth=1.5)
            if beyond := int((values > top).sum()):
                above = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
                axis.annotate(f"{beyond} above", (place, top), (0, 4), **above)
        axis.set(ylim=(0, top), ylabel=name)
        axis.set_xticks(range(len(regions)), [spoken(region) for region in regions])
        ruled(axis, "y")
        return finished(canvas, alt=f"{name} of every slice, a violin with points for each region")


def _box(axis: Any, place: int, values: np.ndarray, colour: str, orientation: str) -> None:
    """Quartiles, median, whiskers, and the values as points beside each other; nothing without a value."""
    if not len(values):
        return
    line = {"color": colour, "linewidth": 1.4}
    looks = {"boxprops": line, "whiskerprops": line, "capprops": line, "medianprops": line | {"linewidth": 2.6}}
    axis.boxplot([values], positions=[place], widths=0.6, showfliers=False, orientation=orientation, **looks)
    beside = place + jitter(len(values), 0.25)
    points = (values, beside) if orientation == "horizontal" else (beside, values)
    axis.scatter(*points, s=7, color=colour, alpha=0.4, linewidth=0, rasterized=True)
