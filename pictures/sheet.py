"""A sheet of equally large panels with a legend below them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import blended_transform_factory

EDGE, GAP = 0.05, 0.04  # inches around the panels and between them


def new_sheet(
    shape: tuple[int, int],
    panel: tuple[float, float],
    *,
    legend: Sequence[Artist],
    left: float = EDGE,
    top: float = EDGE,
    below: float = EDGE,
    gap: float = GAP,
    least_width: float = 0.0,
    dpi: int = 130,
) -> tuple[Figure, np.ndarray]:
    """An empty sheet; lengths are inches, and panels begin at whole pixels.

    Args:
        shape: Rows and columns of panels.
        panel: Height and width of each.
        legend: What it explains, in as many columns as fit its width.
        left: What is free beside the panels.
        top: What is free above them.
        below: What is free below the legend.
        gap: Between panels.
        least_width: Of the sheet, with the panels in the middle.
        dpi: Pixels an inch.

    Returns:
        The figure and its axes [rows, columns].
    """
    gap = round(gap * dpi) / dpi
    high, wide = (number * side + (number - 1) * gap for number, side in zip(shape, panel, strict=True))
    width = max(left + wide + EDGE, least_width)
    figure = Figure(figsize=(width, 1), dpi=dpi)
    FigureCanvasAgg(figure)
    bottom, start = below + _add_legend(figure, legend, below) + EDGE, max(left, (width - wide) / 2)
    bottom, start = (float(np.ceil(length * dpi)) / dpi for length in (bottom, start))
    width, height = max(width, start + wide), bottom + high + top
    figure.set_size_inches(width, height)
    axes = figure.subplots(*shape, squeeze=False)
    figure.subplots_adjust(
        **{"left": start / width, "right": (start + wide) / width},
        **{"bottom": bottom / height, "top": (bottom + high) / height},
        **{"wspace": gap / panel[1], "hspace": gap / panel[0]},
    )
    return figure, axes


def patches(colours: Mapping[str, str]) -> list[Artist]:
    """A patch of colour for every name, for a legend."""
    return [Patch(color=colour, label=name.replace("_", " ")) for name, colour in colours.items()]


def _add_legend(figure: Figure, handles: Sequence[Artist], below: float) -> float:
    """Adds a legend so many inches above the lower edge, and returns its height in inches."""
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, below), "borderaxespad": 0.0}
    place["bbox_transform"] = blended_transform_factory(figure.transFigure, figure.dpi_scale_trans)
    for columns in range(min(5, len(handles)), 0, -1):
        legend = figure.legend(handles=list(handles), ncols=columns, fontsize=6.5, frameon=False, **place)
        size = legend.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        if size.width <= figure.get_figwidth() or columns == 1:
            return float(size.height)
        legend.remove()
    return 0.0
