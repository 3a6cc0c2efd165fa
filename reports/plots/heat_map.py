"""Shares in the cells of a grid."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.plots.style import WIDTH, drawing, finished, wrapped
from reports.render.blocks import Figure
from reports.render.formats import number, spoken

SHOWN_FROM = 0.5  # percent; a smaller share has no number


def heat_map(
    grid: pd.DataFrame, size: tuple[float, float], *, alt: str, font: float = 8, turn: float = 0, **texts: Any
) -> Figure:
    """Shares (0..1) by line and column of a grid, in percent.

    Args:
        grid: Its index and columns are printed.
        size: Width and height in inches.
        alt: What the figure shows.
        font: Size of the numbers in points.
        turn: Degrees by which the names of the columns are turned.
        texts: Of the axes.
    """
    shares = 100 * grid.to_numpy(dtype=float)
    with drawing(*size) as (canvas, axis):
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=120, aspect="auto")
        for (y, x), share in np.ndenumerate(shares):
            if share >= SHOWN_FROM:
                colour = "white" if share > 70 else "black"
                axis.text(x, y, number(share, 0), ha="center", va="center", fontsize=font, color=colour)
        axis.set_xticks(range(len(grid.columns)), list(grid.columns), rotation=turn, fontsize=9.5)
        axis.set_yticks(range(len(grid)), list(grid.index), fontsize=9.5, linespacing=0.95)
        axis.tick_params(length=0)
        axis.set(**texts)
        axis.title.set_fontsize(10.5)
        return finished(canvas, alt=alt)


def ranks(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Share of the bootstrap draws in which a row has a rank: columns row, rank, probability."""
    grid = table.pivot_table(index="row", columns="rank", values="probability", aggfunc="sum", fill_value=0.0)
    mean_rank = grid.to_numpy() @ np.asarray(grid.columns, dtype=float)
    grid = grid.iloc[mean_rank.argsort(kind="stable")]
    grid = grid.rename(index=lambda row: wrapped(labels.get(str(row), str(row))), columns=lambda rank: str(int(rank)))
    label = "rank by primary endpoint (1 = best);\n% of the bootstrap draws"
    alt, font = (
        "How often each row takes each rank in bootstrap draws over patients",
        8.1 if len(grid.columns) > 7 else 9.5,
    )
    return heat_map(grid, (WIDTH, 0.9 + 0.46 * len(grid)), alt=alt, font=font, xlabel=label)


def confusion_matrix(table: pd.DataFrame, *, title: str) -> Figure:
    """Percent of each true structure's pixels (a line) that carry each label (a column): confusion.csv of one row."""
    order = list(dict.fromkeys(table["prediction"]))
    truths = [name for name in order if name in set(table["truth"])]
    grid = table.pivot(index="truth", columns="prediction", values="share").loc[truths, order]
    grid, size = grid.rename(index=spoken, columns=spoken), (0.36 * len(order) + 1.2, 0.36 * len(truths) + 1.5)
    alt = f"Confusion matrix of {title}: truth by prediction, percent of the true pixels"
    return heat_map(grid, size, alt=alt, turn=90, xlabel="prediction", ylabel="truth", title=title)
