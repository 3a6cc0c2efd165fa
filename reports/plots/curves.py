"""Plots of the training: curves over epochs, and which part of a network was trained when."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from reports.plots.style import COLOURS, WIDTH, Style, drawing, finished, ruled, wrapped
from reports.render.blocks import Figure

# What the columns of metrics.csv are called in print, and the scale they are drawn on.
CURVES = {"loss/total": ("training loss", "log"), "val/dice": ("validation Dice", "linear")}
CURVES |= {"val/box_iou": ("validation box IoU", "linear")}


def mean_curve(tables: Sequence[pd.DataFrame], column: str) -> pd.Series:
    """Mean over runs at each epoch; an epoch that a run did not reach counts for the others alone."""
    known = [table.set_index("epoch")[column] for table in tables if {"epoch", column} <= set(table.columns)]
    if not known:
        return pd.Series(dtype=float)
    return pd.concat(known, axis=1).astype(float).mean(axis=1).dropna().sort_index()


def curves(
    column: str, tables: Mapping[str, Sequence[pd.DataFrame]], labels: Mapping[str, str], styles: Mapping[str, Style]
) -> Figure | None:
    """One of CURVES over the epochs, a line a row from the metrics.csv of its runs; None where no run has it."""
    lines = {row: mean_curve(runs, column) for row, runs in tables.items()}
    lines = {row: line for row, line in lines.items() if len(line)}
    if not lines:
        return None
    name, scale = CURVES[column]
    with drawing(WIDTH, 2.7 + 0.24 * ((len(lines) + 1) // 2 + 1)) as (canvas, axis):
        for row, line in lines.items():
            mark = {"marker": styles[row].marker, "markevery": max(1, len(line) // 6), "markersize": 5}
            label = wrapped(labels.get(row, row), 24)
            axis.plot(line.index, line.to_numpy(), color=styles[row].colour, linewidth=1.5, label=label, **mark)
        low, high = min(line.min() for line in lines.values()), max(line.max() for line in lines.values())
        # A logarithmic axis says nothing within one power of ten, and its labels there are hard to read.
        axis.set(xlabel="epoch", ylabel=name, yscale=scale if 0 < 10 * low < high else "linear")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        ruled(axis)
        canvas.legend(loc="outside lower center", ncols=2, fontsize=9, handlelength=1.6, columnspacing=1.0)
        return finished(canvas, alt=f"{name} over the epochs, mean over the runs of each row")


def timeline(epochs: pd.DataFrame) -> Figure:
    """A bar for every stretch of epochs in which a part was trained: columns epoch and schedule/<part> (0 or 1)."""
    parts = {name.removeprefix("schedule/"): epochs[name] for name in epochs.columns if name.startswith("schedule/")}
    when = epochs["epoch"].to_numpy(dtype=float)
    with drawing(WIDTH, 0.9 + 0.5 * len(parts)) as (canvas, axis):
        for place, active in enumerate(parts.values()):
            bars = stretches(when, active.to_numpy(dtype=float))
            axis.broken_barh(bars, (place - 0.35, 0.7), color=COLOURS[6 - 3 * (place % 2)])
        axis.set_yticks(range(len(parts)), [part.upper() for part in parts])
        axis.set(ylim=(len(parts) - 0.5, -0.5), xlabel="epoch", xlim=(0, float(when.max()) + 1))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        ruled(axis, "x")
        return finished(canvas, alt=f"Epochs in which each part was trained: {', '.join(parts)}")


def stretches(epochs: np.ndarray, active: np.ndarray) -> list[tuple[float, float]]:
    """(first epoch, number of epochs) of each run of epochs in which `active` is 1."""
    steps = np.diff(active > 0.5, prepend=False, append=False)
    edges = np.flatnonzero(steps).reshape(-1, 2)
    return [(float(epochs[a]), float(epochs[b - 1] - epochs[a] + 1)) for a, b in edges]
