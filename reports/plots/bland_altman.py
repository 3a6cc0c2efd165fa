"""Agreement of two measurements of each patient."""

from collections.abc import Mapping

import pandas as pd

from reports.plots.style import COLOURS, SMALL, drawing, finished, ruled, wrapped
from reports.render.blocks import Figure
from reports.render.formats import is_number


def bland_altman_plot(values: pd.DataFrame, line: Mapping, *, title: str, unit: str) -> Figure:
    """Difference over mean of each patient's two values, with bias and limits of agreement.

    Args:
        values: Columns truth and prediction, a row a patient.
        line: The line of agreement.csv of these values.
        title: What is measured.
        unit: Of the values, "" for a share or an index.
    """
    truth, other = (values[name].to_numpy(dtype=float) for name in ("truth", "prediction"))
    in_unit = f", {unit}" if unit else ""
    with drawing(SMALL, 2.9) as (canvas, axis):
        axis.axhline(0, color="0.6", linewidth=1)
        for name, style in (("bias", "-"), ("limit_low", "--"), ("limit_high", "--")):
            if is_number(line.get(name)):
                axis.axhline(line[name], color=COLOURS[3], linestyle=style, linewidth=1.6)
        axis.scatter((truth + other) / 2, other - truth, s=16, color=COLOURS[6], alpha=0.7, linewidth=0)
        axis.set(xlabel=f"mean of both{in_unit}", ylabel=f"prediction − truth{in_unit}")
        axis.set_title(wrapped(title, 34), fontsize=10.5)
        ruled(axis)
        return finished(canvas, alt=f"Bland-Altman plot of {title}: difference over mean of each patient")
