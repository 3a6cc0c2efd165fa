"""The share of fat of patients by their grade."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from records.readout_files import PREDICTED, TRUE
from reports.page.blocks import Figure
from reports.plots.style import COLOURS, WIDTH, finished, new_canvas, styled

SOURCES = {PREDICTED: ("prediction", COLOURS[3]), TRUE: ("truth", COLOURS[6])}


def fat_by_grade(table: pd.DataFrame, grades: Sequence[str], *, title: str) -> Figure:
    """A box and points for each grade that somebody has, of predicted masks and of true ones.

    Args:
        table: Lines of grades.csv of one row, muscle and scale.
        grades: All grades of the scale.
        title: What the muscle is called.
    """
    shown = [grade for grade in grades if any((table[source] == grade).any() for source in SOURCES)]
    shares = 100 * table[[f"{source}_share" for source in SOURCES]].to_numpy(dtype=float)
    with styled():
        canvas = new_canvas(WIDTH, 3.2)
        axes = canvas.subplots(1, len(SOURCES), sharey=True)
        for axis, (source, (name, colour)) in zip(axes, SOURCES.items(), strict=True):
            for place, grade in enumerate(shown):
                own = 100 * table.loc[table[source] == grade, f"{source}_share"].dropna().to_numpy(dtype=float)
                if not len(own):
                    continue
                line = {"color": colour, "linewidth": 1.4}
                axis.boxplot(
                    [own],
                    positions=[place],
                    widths=0.6,
                    showfliers=False,
                    boxprops=line,
                    whiskerprops=line,
                    capprops=line,
                    medianprops={"color": colour, "linewidth": 2.6},
                )
                at = place + np.random.default_rng(place).uniform(-0.18, 0.18, len(own))
                axis.scatter(at, own, s=9, color=colour, alpha=0.5, linewidth=0)
            counts = [list(table[source]).count(grade) for grade in shown]
            axis.set_xticks(
                range(len(shown)), [f"{grade}\nn = {count}" for grade, count in zip(shown, counts, strict=True)]
            )
            axis.set_xlim(-0.6, max(len(shown), 1) - 0.4)
            axis.set_title(name, fontsize=10.5)
            axis.grid(axis="y", alpha=0.3)
            axis.set_axisbelow(True)
        top = float(np.nanmax(shares)) if np.isfinite(shares).any() else 1.0
        axes[0].set_ylim(0, 1.08 * max(top, 1.0))
        axes[0].set_ylabel("share of fat, %")
        canvas.suptitle(title, fontsize=10.5)
        return finished(canvas, alt=f"Share of fat of the patients by grade of {title}, predicted and true")
