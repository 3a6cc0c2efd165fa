"""Means with their intervals: every plot of them is one `interval_plot`."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from reports.plots.style import COLOURS, MARKERS, WIDTH, Style, drawing, finished, jitter, ruled, wrapped
from reports.render.blocks import Figure
from reports.render.formats import is_number, number, spoken

OURS, PAPER = Style(COLOURS[6], "o"), Style(COLOURS[5], "D")
ARMS = [Style(COLOURS[colour], MARKERS[place]) for place, colour in enumerate((0, 3, 2, 4))]
REGIONS = [Style(COLOURS[colour], MARKERS[place]) for place, colour in enumerate((6, 3, 2, 4, 5, 1))]
DIFFERENCE = ("difference", "difference_low", "difference_high")


class Group(NamedTuple):
    """What is drawn alike: `ends` [n, 3] has mean, lower and upper end at each place, NaN where there is none."""

    name: str  # in the legend; "" for none
    style: Style
    ends: np.ndarray


def interval_plot(
    groups: Sequence[Group],
    names: Sequence[str],
    *,
    label: str,
    alt: str,
    at: np.ndarray | None = None,
    upright: bool = False,
    room: float = 0.0,
    zero: bool = False,
    joined: bool = False,
    more: Callable[[Any], object] = lambda axis: None,
) -> Figure:
    """A marker and a bar for each mean of each group, places from the top down or, upright, from left to right.

    Args:
        groups: What is drawn.
        names: What the places are called.
        label: What the axis of values is called.
        alt: What the figure shows.
        at: Where the places are; 0, 1, ... without it.
        upright: Whether the axis of values is the vertical one.
        room: Share of the distance of places in which groups stand beside each other.
        zero: Whether there is a line at 0.
        joined: Whether the means of a group are joined.
        more: Draws what else there is.
    """
    at = np.arange(len(names), dtype=float) if at is None else at
    named = [group.name for group in groups if group.name]
    height = 3.0 if upright else 0.9 + (0.32 if room else 0.45) * len(names)
    with drawing(WIDTH, height + 0.24 * ((len(named) + 1) // 2)) as (canvas, axis):
        for place, (name, style, ends) in enumerate(groups):
            known = ~np.isnan(ends[:, 0])
            mean, low, high = ends[known].T
            beside = at[known] + room * ((place + 0.5) / len(groups) - 0.5)
            bars: dict[str, Any] = {"yerr" if upright else "xerr": np.stack([mean - low, high - mean]).clip(min=0)}
            bars |= {"fmt": style.marker + "-" * joined, "markersize": 5 if room else 8}
            bars |= {} if room else {"markeredgecolor": "white"}
            points = (beside, mean) if upright else (mean, beside)
            axis.errorbar(*points, **bars, color=style.colour, linewidth=1.8, label=name)
        if upright:
            axis.set_xticks(at, names, rotation=90 if max(map(len, names)) > 5 else 0, fontsize=9.5)
            axis.set(xlim=(at[0] - 0.5, at[-1] + 0.5), ylabel=label)
        else:
            axis.set_yticks(at, [wrapped(name, 26 if room else 20) for name in names], fontsize=9.5, linespacing=0.95)
            axis.set(ylim=(at[-1] + 0.55, at[0] - 0.55), xlabel=label)
            within = {"transform": axis.get_yaxis_transform(), "ha": "center", "va": "center", "fontsize": 9}
            for place in at[np.isnan([group.ends[:, 0] for group in groups]).all(axis=0)]:
                axis.text(0.5, place, "no value", **within)
        axis.tick_params(axis="x" if upright else "y", length=0)
        if zero:
            (axis.axhline if upright else axis.axvline)(0, color="0.4", linewidth=1, zorder=1.5)
        ruled(axis, "y" if upright else "x")
        more(axis)
        if named:
            canvas.legend(loc="outside lower center", ncols=2, fontsize=9)
        return finished(canvas, alt=alt)


def ends_of(table: pd.DataFrame, columns: Sequence[str], scale: float = 1.0) -> np.ndarray:
    """Mean and both ends of each line, [n, 3]."""
    return scale * table[list(columns)].to_numpy(dtype=float)


def differences(
    table: pd.DataFrame,
    values: Mapping[str, np.ndarray],
    labels: Mapping[str, str],
    styles: Mapping[str, Style],
    margin: float,
) -> Figure:
    """Mean paired difference and interval of each row of `table`, a line of statistics.csv each.

    `values` are the differences of single patients (shares of 1, as in `table`), drawn as points; the band of
    differences without interest is shaded, `margin` to either side.
    """
    rows, ends = list(table["row"]), ends_of(table, DIFFERENCE, 100)
    own = np.eye(len(rows), dtype=bool)[:, :, None]
    groups = [Group("", styles[row], np.where(alone, ends, np.nan)) for row, alone in zip(rows, own, strict=True)]

    def patients(axis: Any) -> None:
        axis.axvspan(-100 * margin, 100 * margin, color="0.88", linewidth=0)
        for place, row in enumerate(rows):
            points = 100 * np.asarray(values.get(row, ()), dtype=float)
            height = place + 0.22 + jitter(len(points), 0.18)
            axis.scatter(points, height, s=7, color=styles[row].colour, alpha=0.35, linewidth=0, rasterized=True)

    label = "Dice points against the reference\nleft: worse, right: better"
    alt = "Paired differences of each row to the reference, with intervals"
    names = [labels.get(row, row) for row in rows]
    return interval_plot(groups, names, label=label, alt=alt, zero=True, more=patients)


def arms(
    table: pd.DataFrame,
    *,
    against: str = "Dice points against the predicted boxes",
    alt: str = "Change of Dice when the gate is given other boxes",
) -> Figure:
    """Difference of each arm to the run's own test, which `against` names: columns arm and DIFFERENCE."""
    names = [str(arm).replace("_", " ") for arm in table["arm"]]
    label = f"{wrapped(against, 44)}\nleft: worse, right: better"
    return interval_plot([Group("", OURS, ends_of(table, DIFFERENCE, 100))], names, label=label, alt=alt, zero=True)


def gain_by_area(table: pd.DataFrame, *, title: str) -> Figure:
    """Gain of each structure, the smallest at the top: rows of varied_gains.csv without the mean, in that order.

    `title` says what is subtracted from what.
    """
    areas = zip(table["structure"].astype(str), table["area_mm2"], strict=True)
    names = [f"{spoken(structure)}, {number(area, 0)} mm²" for structure, area in areas]
    label, alt = f"Dice points, {title}", f"Gain in Dice of each structure, the smallest at the top: {title}"
    return interval_plot([Group("", OURS, ends_of(table, DIFFERENCE, 100))], names, label=label, alt=alt, zero=True)


def value_differences(table: pd.DataFrame, noise: Mapping[str, Any], *, name: str, values: Sequence[str]) -> Figure:
    """Difference of each value of a setting (lines of varied.csv) to the control, ours with intervals and the paper's.

    `noise` is the setting's line of varied_noise.csv: what 95 % of chance ranges stay below is a bar of that height.
    """
    control = (table["value"] == table["control"]).to_numpy()
    ours, paper = ends_of(table, DIFFERENCE, 100), np.full((len(table), 3), np.nan)
    ours[:, 0] = 100 * paired_differences(table)
    paper[:, 0] = table["published"] - table.loc[control, "published"].iloc[0]
    groups = [Group("ours, 95 % over patients", OURS, ours), Group("paper", PAPER, paper)]

    def chance(axis: Any) -> None:
        axis.set_xlabel(name)
        if is_number(noise.get("noise_range")):
            half, middle = 50 * float(noise["noise_range"]), (np.nanmin(ours[:, 0]) + np.nanmax(ours[:, 0])) / 2
            axis.axhspan(middle - half, middle + half, color="0.9", linewidth=0, zorder=0, label="range by seeds alone")

    shown = groups if np.isfinite(paper).any() else groups[:1]
    label = f"Dice points against {name} {values[int(control.argmax())]}"
    alt = f"Dice of each value of {name} against the smallest, ours and the paper's"
    return interval_plot(shown, values, label=label, alt=alt, upright=True, room=0.4, zero=True, more=chance)


def paired_differences(table: pd.DataFrame) -> np.ndarray:
    """Difference of each value to the control in the patients that both have, as the interval is; 0 for the control.

    The difference of their means would also be one of patients.
    """
    return np.where(table["value"] == table["control"], 0.0, table["difference"].to_numpy(dtype=float))


def labels_curve(table: pd.DataFrame, *, title: str) -> Figure:
    """Dice over the number of patients with masks in doublings, a line a supervision: a row's lines of curve.csv."""
    points, names = sorted(set(table["masked_patients"].astype(int))), list(dict.fromkeys(table["supervision"]))
    groups = []
    for name, style in zip(names, itertools.cycle(ARMS), strict=False):
        own = table.loc[table["supervision"] == name].set_index("masked_patients").reindex(points)
        groups.append(Group(str(name), style, ends_of(own, ("mean", "ci95_low", "ci95_high"), 100)))
    look: dict[str, Any] = {"upright": True, "joined": True, "at": np.log2(points), "room": 0.06 * len(names)}
    alt = f"Dice of {title} over the number of patients with masks: {', '.join(names)}"
    texts = {"xlabel": "patients with masks", "title": title}
    counts = [str(count) for count in points]
    return interval_plot(groups, counts, label="Dice, %", alt=alt, more=lambda axis: axis.set(**texts), **look)


def keypoint_errors(
    table: pd.DataFrame, labels: Mapping[str, str], styles: Mapping[str, Style], structures: Sequence[str]
) -> Figure:
    """Mean key-point error of each structure with its interval: lines of keypoints.csv of one source."""
    groups = []
    for row in (row for row in styles if row in set(table["row"])):
        own = table.loc[table["row"] == row].set_index("structure").reindex(list(structures))
        ends = ends_of(own, ("mean_mm", "ci95_low", "ci95_high"))
        groups.append(Group(wrapped(labels.get(row, row), 24), styles[row], ends))
    alt, names = "Mean key-point error of each structure in millimetres, with intervals", list(map(spoken, structures))
    look: dict[str, Any] = {"upright": True, "room": 0.6, "more": lambda axis: axis.set_ylim(bottom=0)}
    return interval_plot(groups, names, label="key-point error, mm", alt=alt, **look)


def by_stratum(table: pd.DataFrame, metric: str, name: str) -> Figure:
    """Mean and interval of a metric of each region in each stratum: lines of region_strata.csv."""
    own = table.loc[table["metric"] == metric]
    strata = list(dict.fromkeys(own["stratum"]))
    kinds = [stratum.rsplit(" ", 1)[0] for stratum in strata]
    groups = []
    for region, style in zip(dict.fromkeys(own["region"]), itertools.cycle(REGIONS), strict=False):
        lines = own.loc[own["region"] == region].set_index("stratum").reindex(strata)
        groups.append(Group(spoken(region), style, ends_of(lines, ("mean", "low", "high"))))

    def rules(axis: Any) -> None:
        for place in (place for place in range(1, len(kinds)) if kinds[place] != kinds[place - 1]):
            axis.axhline(place - 0.5, color="0.7", linewidth=0.8)
        # An interval that leans on normal values may leave what is possible, which is not drawn.
        left, right = axis.get_xlim()
        axis.set_xlim(max(left, 0.0), min(right, 100.5) if metric == "dice" else right)

    alt = f"{name} of each region in parts of the slices, mean over patients with intervals"
    return interval_plot(groups, strata, label=name, alt=alt, room=0.5, more=rules)
