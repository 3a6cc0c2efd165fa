"""Plots of regions: how scores spread over slices, and in which parts of them errors are larger."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.muscles.areas import METRICS
from reports.page.blocks import Figure
from reports.page.values import spoken
from reports.plots.style import COLOURS, MARKERS, SMALL, WIDTH, finished, new_canvas, styled

MOST_POINTS = 1_500  # of a violin; more only blacken it
SHOWN = 0.98  # share of the values that the axis of an error, which has no end, reaches to
ORDER = (6, 3, 2, 4, 5, 1)  # places of COLOURS that regions take


def spread(cases: pd.DataFrame, regions: Sequence[str], metric: str, name: str) -> Figure:
    """Values of all slices, a violin with points for each region, with mean and median.

    Args:
        cases: `region_cases` of one row.
        regions: Which of them, in order.
        metric: A column of METRICS.
        name: What it is called, with its unit.
    """
    groups = [
        METRICS[metric] * cases.loc[cases["structure"] == region, metric].dropna().to_numpy(dtype=float)
        for region in regions
    ]
    known = np.concatenate([*groups, [1.0]])
    top = 101.0 if metric == "dice" else max(10.0, float(np.quantile(known, SHOWN)))
    with styled():
        canvas = new_canvas(SMALL, 3.4)
        axis = canvas.subplots()
        for place, values in enumerate(groups):
            colour = COLOURS[ORDER[place % len(ORDER)]]
            inside = np.clip(values, None, top)
            if len(inside) > 1 and np.ptp(inside) > 0:
                parts = axis.violinplot([inside], positions=[place], widths=0.85, showextrema=False)
                bodies: Any = parts["bodies"]
                for body in bodies:
                    body.set(facecolor=colour, alpha=0.25, linewidth=0)
            rng = np.random.default_rng(place)
            drawn = inside if len(inside) <= MOST_POINTS else rng.choice(inside, MOST_POINTS, replace=False)
            at = place + rng.uniform(-0.12, 0.12, len(drawn))
            axis.scatter(at, drawn, s=5, color=colour, alpha=0.35, linewidth=0, rasterized=True)
            if len(values):
                axis.hlines(min(values.mean(), top), place - 0.36, place + 0.36, color="black", linewidth=1.8)
                axis.hlines(min(np.median(values), top), place - 0.18, place + 0.18, color="black", linewidth=1.2)
            beyond = int((values > top).sum())
            if beyond:
                axis.annotate(
                    f"{beyond} above", (place, top), (0, 4), textcoords="offset points", ha="center", fontsize=9
                )
        axis.set_ylim(0, top)
        axis.set_xticks(range(len(regions)), [spoken(region) for region in regions])
        axis.set_ylabel(name)
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
        return finished(canvas, alt=f"{name} of every slice, a violin with points for each region")


def by_stratum(table: pd.DataFrame, metric: str, name: str) -> Figure:
    """Mean and interval of each region in each stratum.

    Args:
        table: Lines of region_strata.csv.
        metric: Which of its metrics.
        name: What it is called, with its unit.
    """
    own = table.loc[table["metric"] == metric]
    strata, regions = (list(dict.fromkeys(own[column])) for column in ("stratum", "region"))
    with styled():
        canvas = new_canvas(WIDTH, 1.5 + 0.3 * len(strata))
        axis = canvas.subplots()
        for place, region in enumerate(regions):
            lines = own.loc[own["region"] == region].set_index("stratum").reindex(strata)
            mean, low, high = (lines[column].to_numpy(dtype=float) for column in ("mean", "low", "high"))
            at = np.arange(len(strata)) + 0.5 * ((place + 0.5) / len(regions) - 0.5)
            ends = np.stack([mean - low, high - mean]).clip(min=0)
            colour, marker = COLOURS[ORDER[place % len(ORDER)]], MARKERS[place % len(MARKERS)]
            axis.errorbar(
                mean, at, xerr=ends, fmt=marker, color=colour, markersize=5, linewidth=1.4, label=spoken(region)
            )
        axis.set_yticks(range(len(strata)), strata, fontsize=9)
        axis.set_ylim(len(strata) - 0.5, -0.5)
        for place in range(1, len(strata)):
            if strata[place].rsplit(" ", 1)[0] != strata[place - 1].rsplit(" ", 1)[0]:
                axis.axhline(place - 0.5, color="0.7", linewidth=0.8)
        # An interval that leans on normal values may leave what is possible, which is not drawn.
        left, right = axis.get_xlim()
        axis.set_xlim(max(left, 0.0), min(right, 100.5) if metric == "dice" else right)
        axis.set_xlabel(name)
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
        canvas.legend(loc="outside lower center", ncols=max(1, len(regions)), fontsize=9)
        return finished(canvas, alt=f"{name} of each region in parts of the slices, mean over patients with intervals")
