"""Plots of a setting that the paper varies: what its values give, and what it gains on small and large structures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.page.blocks import Figure
from reports.page.values import is_number, number, spoken
from reports.plots.intervals import name_rows, whisker
from reports.plots.style import COLOURS, WIDTH, Style, finished, new_canvas, styled

OURS, PAPER = COLOURS[6], COLOURS[5]


def value_differences(table: pd.DataFrame, noise: Mapping[str, Any], *, name: str, values: Sequence[str]) -> Figure:
    """Difference of each value to the control in Dice points, ours with intervals and the paper's.

    Args:
        table: Rows of varied.csv of one setting.
        noise: Its line of varied_noise.csv; what 95 % of chance ranges stay below is drawn as a bar of that height.
        name: What the setting is called.
        values: What its values are called.
    """
    control = table.loc[table["value"] == table["control"]].iloc[0]
    ours = 100 * paired_differences(table)
    ends = 100 * table[["difference_low", "difference_high"]].to_numpy(dtype=float)
    paper = (table["published"] - control["published"]).to_numpy(dtype=float)
    places = np.arange(len(table), dtype=float)
    with styled():
        canvas = new_canvas(WIDTH, 3.5)
        axis = canvas.subplots()
        axis.axhline(0, color="0.5", linewidth=1)
        for place, (low, high) in zip(places, ends, strict=True):
            axis.plot([place - 0.1] * 2, [low, high], color=OURS, linewidth=2.2, solid_capstyle="butt")
        axis.plot(places - 0.1, ours, "o", color=OURS, markersize=7, label="ours, 95 % over patients")
        if np.isfinite(paper).any():
            axis.plot(places + 0.1, paper, "D", color=PAPER, markersize=6, label="paper")
        if is_number(noise.get("noise_range")):
            half = 50 * float(noise["noise_range"])
            middle = (np.nanmin(ours) + np.nanmax(ours)) / 2
            axis.axhspan(middle - half, middle + half, color="0.9", linewidth=0, zorder=0, label="range by seeds alone")
        axis.set_xticks(places, list(values))
        axis.set(
            xlabel=name, ylabel=f"Dice points against {name} {values[list(table['value']).index(control['value'])]}"
        )
        axis.set_axisbelow(True)
        axis.grid(axis="y", alpha=0.3)
        canvas.legend(loc="outside lower center", ncols=2, fontsize=9)
        return finished(canvas, alt=f"Dice of each value of {name} against the smallest, ours and the paper's")


def paired_differences(table: pd.DataFrame) -> np.ndarray:
    """Difference of each value to the control in the patients that both have, as the interval is; 0 for the control.

    The difference of their means would also be one of patients.
    """
    return np.where(table["value"] == table["control"], 0.0, table["difference"].to_numpy(dtype=float))


def gain_by_area(table: pd.DataFrame, *, title: str) -> Figure:
    """Gain of each structure with its interval, the smallest structure at the top, its area beside its name.

    Args:
        table: Rows of varied_gains.csv, the mean left out, from the smallest structure up.
        title: What is subtracted from what.
    """
    records = table.to_dict("records")
    with styled():
        canvas = new_canvas(WIDTH, 0.9 + 0.42 * len(records))
        axis = canvas.subplots()
        axis.axvline(0, color="0.4", linewidth=1)
        for place, line in enumerate(records):
            whisker(axis, place, line, Style(OURS, "o"))
        name_rows(axis, [f"{spoken(str(line['structure']))}, {number(line['area_mm2'], 0)} mm²" for line in records])
        axis.set_xlabel(f"Dice points, {title}")
        return finished(canvas, alt=f"Gain in Dice of each structure, the smallest at the top: {title}")
