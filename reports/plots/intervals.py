"""Plots of scores: differences to the reference, values of patients, ranks, arms."""

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
import pandas as pd

from reports.page.blocks import Figure
from reports.page.values import is_number, percent, spoken
from reports.plots.style import SMALL, WIDTH, Style, finished, new_canvas, styled, wrapped

LINE = 0.5  # inches of height a row of a plot takes
FRAME = 0.9  # inches above and below


def differences(
    table: pd.DataFrame,
    values: Mapping[str, np.ndarray],
    labels: Mapping[str, str],
    styles: Mapping[str, Style],
    margin: float,
) -> Figure:
    """Mean paired difference and interval of each row of `table` (columns row, difference, difference_low, _high).

    Args:
        table: One row of statistics.csv a system.
        values: Differences of single patients, drawn as points; a share of 1, as in `table`.
        labels: What a row is called.
        styles: How it is drawn.
        margin: Half width of the shaded band of differences without interest.
    """
    with styled():
        canvas = new_canvas(WIDTH, FRAME + LINE * len(table))
        axis = canvas.subplots()
        axis.axvspan(-100 * margin, 100 * margin, color="0.88", linewidth=0)
        axis.axvline(0, color="0.4", linewidth=1)
        for place, entry in enumerate(table.to_dict("records")):
            style = styles[entry["row"]]
            patients = 100 * np.asarray(values.get(entry["row"], ()), dtype=float)
            height = place + 0.22 + 0.18 * _spread(len(patients))
            axis.scatter(patients, height, s=7, color=style.colour, alpha=0.35, linewidth=0, rasterized=True)
            whisker(axis, place, entry, style)
        name_rows(axis, [labels.get(row, row) for row in table["row"]])
        axis.set_xlabel("Dice points against the reference\nleft: worse, right: better")
        return finished(canvas, alt="Paired differences of each row to the reference, with intervals")


def boxes(scores: pd.DataFrame, structure: str, labels: Mapping[str, str], styles: Mapping[str, Style]) -> Figure:
    """Dice of the patients on one structure, a box a row.

    Args:
        scores: Columns row and value (0..1), a row a patient.
        structure: What the plot is called.
        labels: What a row is called, in the order in which they are drawn.
        styles: How it is drawn.
    """
    groups = {row: 100 * scores.loc[scores["row"] == row, "value"].dropna().to_numpy(dtype=float) for row in labels}
    groups = {row: group for row, group in groups.items() if len(group)}
    with styled():
        canvas = new_canvas(SMALL, FRAME + 0.42 * len(groups))
        axis = canvas.subplots()
        for place, (row, group) in enumerate(groups.items()):
            colour = styles[row].colour
            height = place + 0.28 * _spread(len(group))
            axis.scatter(group, height, s=6, color=colour, alpha=0.4, linewidth=0, rasterized=True)
            line = {"color": colour, "linewidth": 1.4}
            axis.boxplot(
                [group],
                positions=[place],
                widths=0.62,
                orientation="horizontal",
                showfliers=False,
                boxprops=line,
                whiskerprops=line,
                capprops=line,
                medianprops={"color": colour, "linewidth": 2.6},
            )
        name_rows(axis, [labels[row] for row in groups])
        axis.set(title=spoken(structure), xlabel="Dice of a patient, %")
        return finished(canvas, alt=f"Dice of the patients on {spoken(structure)}, a box a row")


def ranks(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Share of the bootstrap draws in which a row has a rank: columns row, rank, probability."""
    grid = table.pivot_table(index="row", columns="rank", values="probability", aggfunc="sum", fill_value=0.0)
    order = (grid.to_numpy() * np.asarray(grid.columns, dtype=float)).sum(axis=1).argsort(kind="stable")
    grid = grid.iloc[order]
    size = 8 if len(grid.columns) > 7 else 9.5
    with styled():
        canvas = new_canvas(WIDTH, FRAME + 0.46 * len(grid))
        axis = canvas.subplots()
        axis.imshow(grid.to_numpy(), cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
        for (y, x), share in np.ndenumerate(grid.to_numpy()):
            if share >= 0.005:
                colour = "white" if share > 0.7 else "black"
                axis.text(x, y, percent(share, 0), ha="center", va="center", fontsize=size, color=colour)
        axis.set_xticks(range(len(grid.columns)), [str(int(rank)) for rank in grid.columns])
        name_rows(axis, [labels.get(str(row), str(row)) for row in grid.index], grid=False)
        axis.set_xlabel("rank by primary endpoint (1 = best);\n% of the bootstrap draws")
        return finished(canvas, alt="How often each row takes each rank in bootstrap draws over patients")


def arms(
    table: pd.DataFrame,
    *,
    against: str = "Dice points against the predicted boxes",
    alt: str = "Change of Dice when the gate is given other boxes",
) -> Figure:
    """Difference of each arm to the run's own test: columns arm, difference, difference_low, difference_high.

    Args:
        table: A row an arm.
        against: What the axis is called.
        alt: What the figure shows.
    """
    style = Style("#0072b2", "o")
    with styled():
        canvas = new_canvas(WIDTH, FRAME + 0.4 * len(table))
        axis = canvas.subplots()
        axis.axvline(0, color="0.4", linewidth=1)
        for place, entry in enumerate(table.to_dict("records")):
            whisker(axis, place, entry, style)
        name_rows(axis, [arm.replace("_", " ") for arm in table["arm"].astype(str)])
        axis.set_xlabel(f"{wrapped(against, 44)}\nleft: worse, right: better")
        return finished(canvas, alt=alt)


def whisker(axis, place: int, entry: Mapping, style: Style) -> None:
    """Mean and interval of a difference in points; the interval alone is left out where there is none."""
    names = ("difference", "difference_low", "difference_high")
    middle, low, high = (100 * float(entry[name]) if is_number(entry.get(name)) else nan for name in names)
    if np.isnan(middle):
        axis.text(0.5, place, "no value", transform=axis.get_yaxis_transform(), ha="center", va="center", fontsize=9)
        return
    if not np.isnan(low + high):
        axis.plot([low, high], [place, place], color=style.colour, linewidth=2.4, solid_capstyle="butt")
    axis.plot(middle, place, marker=style.marker, color=style.colour, markersize=8, markeredgecolor="white")


def name_rows(axis, names: Sequence[str], *, grid: bool = True) -> None:
    """Rows from the top down, with room for the first and last."""
    axis.set_yticks(range(len(names)), [wrapped(name) for name in names], fontsize=9.5, linespacing=0.95)
    axis.set_ylim(len(names) - 0.45, -0.55)
    axis.tick_params(axis="y", length=0)
    if grid:
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)


def _spread(count: int) -> np.ndarray:
    """Places of points that would lie on each other, -1..1, the same every time."""
    return np.random.default_rng(count).uniform(-1, 1, count)
