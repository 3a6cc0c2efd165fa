"""Plots of what is read out beside the scores: labels against accuracy, confusion, agreement."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.page.blocks import Figure
from reports.page.values import is_number, number, spoken
from reports.plots.style import COLOURS, MARKERS, SMALL, WIDTH, Style, finished, new_canvas, styled, wrapped

SHOWN_FROM = 0.5  # percent; a smaller share has no number in a matrix


def labels_curve(table: pd.DataFrame, *, title: str) -> Figure:
    """Dice over the number of patients with masks, a line a supervision, with intervals.

    Args:
        table: Rows of curve.csv of one row of the table and the metric dice.
        title: What the row is called.
    """
    arms = list(dict.fromkeys(table["supervision"].astype(str)))
    points = sorted(set(table["masked_patients"].astype(int)))
    with styled():
        canvas = new_canvas(WIDTH, 3.4)
        axis = canvas.subplots()
        for place, arm in enumerate(arms):
            own = table.loc[table["supervision"] == arm].sort_values("masked_patients")
            # Side by side, so that intervals of the arms do not hide each other; the axis is in doublings.
            at = np.log2(own["masked_patients"].to_numpy(dtype=float)) + 0.06 * (place - (len(arms) - 1) / 2)
            mean, low, high = (100 * own[name].to_numpy(dtype=float) for name in ("mean", "ci95_low", "ci95_high"))
            look: dict[str, Any] = {"color": COLOURS[(0, 3, 2, 4)[place % 4]], "marker": MARKERS[place % len(MARKERS)]}
            ends = np.stack([mean - low, high - mean]).clip(min=0)
            axis.errorbar(at, mean, yerr=ends, capsize=3, linewidth=1.6, markersize=6, label=arm, **look)
        axis.set_xticks(np.log2(points), [str(count) for count in points])
        axis.set_xlim(np.log2(points[0]) - 0.4, np.log2(points[-1]) + 0.4)
        axis.set(xlabel="patients with masks", ylabel="Dice, %", title=title)
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
        canvas.legend(loc="outside lower center", ncols=max(1, len(arms)), fontsize=9)
        return finished(canvas, alt=f"Dice of {title} over the number of patients with masks: {', '.join(arms)}")


def confusion_matrix(table: pd.DataFrame, *, title: str) -> Figure:
    """Percent of each true structure's pixels (a line) that carry each label (a column).

    Args:
        table: Rows of confusion.csv of one row of the table.
        title: What the row is called.
    """
    order = list(dict.fromkeys(table["prediction"]))
    truths = [name for name in order if name in set(table["truth"])]
    grid = 100 * table.pivot(index="truth", columns="prediction", values="share").loc[truths, order].to_numpy(
        dtype=float
    )
    side = 0.36 * len(order)
    with styled():
        canvas = new_canvas(side + 1.2, 0.36 * len(truths) + 1.5)
        axis = canvas.subplots()
        axis.imshow(grid, cmap="Blues", vmin=0, vmax=120, aspect="equal")
        for (y, x), share in np.ndenumerate(grid):
            if share >= SHOWN_FROM:
                colour = "white" if share > 70 else "black"
                axis.text(x, y, number(share, 0), ha="center", va="center", fontsize=8, color=colour)
        axis.set_xticks(range(len(order)), [spoken(name) for name in order], rotation=90, fontsize=9)
        axis.set_yticks(range(len(truths)), [spoken(name) for name in truths], fontsize=9)
        axis.tick_params(length=0)
        axis.set(xlabel="prediction", ylabel="truth", title=title)
        axis.title.set_fontsize(10.5)
        return finished(canvas, alt=f"Confusion matrix of {title}: truth by prediction, percent of the true pixels")


def bland_altman_plot(values: pd.DataFrame, line: Mapping, *, title: str, unit: str) -> Figure:
    """Difference over mean of each patient's two values, with bias and limits of agreement.

    Args:
        values: Columns truth and prediction, a row a patient.
        line: The line of agreement.csv of these values.
        title: What is measured.
        unit: Of the values, "" for a share or an index.
    """
    truth, other = (values[name].to_numpy(dtype=float) for name in ("truth", "prediction"))
    with styled():
        canvas = new_canvas(SMALL, 2.9)
        axis = canvas.subplots()
        axis.axhline(0, color="0.6", linewidth=1)
        for name, style in (("bias", "-"), ("limit_low", "--"), ("limit_high", "--")):
            if is_number(line.get(name)):
                axis.axhline(line[name], color=COLOURS[3], linestyle=style, linewidth=1.6)
        axis.scatter((truth + other) / 2, other - truth, s=16, color=COLOURS[6], alpha=0.7, linewidth=0)
        in_unit = f", {unit}" if unit else ""
        axis.set(xlabel=f"mean of both{in_unit}", ylabel=f"prediction − truth{in_unit}")
        axis.set_title(wrapped(title, 34), fontsize=10.5)
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
        return finished(canvas, alt=f"Bland-Altman plot of {title}: difference over mean of each patient")


def keypoint_errors(
    table: pd.DataFrame, labels: Mapping[str, str], styles: Mapping[str, Style], structures: Sequence[str]
) -> Figure:
    """Mean key-point error of each structure with its interval, a line a row of the table.

    Args:
        table: Rows of keypoints.csv of one source, columns row, structure, mean_mm, ci95_low, ci95_high.
        labels: What a row is called.
        styles: How it is drawn, in the order of the rows.
        structures: Their order.
    """
    rows = [row for row in styles if row in set(table["row"])]
    with styled():
        canvas = new_canvas(WIDTH, 2.9 + 0.24 * ((len(rows) + 1) // 2))
        axis = canvas.subplots()
        for place, row in enumerate(rows):
            own = table.loc[table["row"] == row].set_index("structure").reindex(list(structures))
            at = np.arange(len(structures)) + 0.6 * ((place + 0.5) / len(rows) - 0.5)
            mean, low, high = (own[name].to_numpy(dtype=float) for name in ("mean_mm", "ci95_low", "ci95_high"))
            ends = np.stack([mean - low, high - mean]).clip(min=0)
            look: dict[str, Any] = {"color": styles[row].colour, "fmt": styles[row].marker, "markersize": 4.5}
            axis.errorbar(
                at, mean, yerr=ends, capsize=2, linewidth=1.3, label=wrapped(labels.get(row, row), 24), **look
            )
        axis.set_xticks(range(len(structures)), [spoken(name) for name in structures], rotation=90, fontsize=9)
        axis.set(ylabel="key-point error, mm")
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", alpha=0.3)
        canvas.legend(loc="outside lower center", ncols=2, fontsize=9)
        return finished(canvas, alt="Mean key-point error of each structure in millimetres, with intervals")
