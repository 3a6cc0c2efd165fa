"""What every picture of a slice bears: the sides of the patient and a bar of millimetres."""

from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

EDGES: dict[str, tuple[str, str]] = {"axial": ("R", "L"), "sagittal": ("A", "P")}  # of a picture, left and right
INK: dict[str, Any] = {
    **{"color": "white", "fontsize": 7},
    "bbox": {"facecolor": "black", "alpha": 0.5, "pad": 1.2, "linewidth": 0},
}
DPI = 128  # a power of two: pixels become inches and pixels again without a rest
Frame = tuple[float, float, float, float]  # left, right, bottom and top of a picture, in the data of its axis


def mark_sides(
    axis: Axes, view: str, *, height: float = 0.5, fontsize: float = 7.0, frame: Frame | None = None
) -> None:
    """Writes the patient's sides at both edges of a picture, at a height of 0..1.

    Args:
        axis: Shows the picture.
        view: Of the slice.
        height: Where.
        fontsize: Of both letters.
        frame: The picture within the axis; the whole of it without.
    """
    style = {**INK, "fontsize": fontsize, "va": "center"}
    for place, edge in zip((0.02, 0.98), EDGES[view], strict=True):
        side = "left" if place < 0.5 else "right"
        if frame is None:
            axis.text(place, height, edge, transform=axis.transAxes, ha=side, **style)
        else:
            left, right, bottom, top = frame
            axis.text(left + place * (right - left), bottom + height * (top - bottom), edge, ha=side, **style)


def mark_bar(axis: Axes, column_mm: float, bar_mm: float, *, fontsize: float = 5.5, frame: Frame | None = None) -> None:
    """Draws a bar of so many millimetres near the lower edge of a picture, with its length beside it.

    Args:
        axis: Shows a picture whose limits are set already; x is its column.
        column_mm: Width of a pixel.
        bar_mm: Length of the bar.
        fontsize: Of its length.
        frame: The picture within the axis; the whole of it without.
    """
    limits = (axis.get_xlim(), axis.get_ylim())
    left, right, bottom, top = (*limits[0], *limits[1]) if frame is None else frame
    start = left + 0.05 * (right - left)
    end, height = start + bar_mm / column_mm, bottom + 0.05 * (top - bottom)
    for colour, width in (("black", 3.0), ("white", 1.5)):
        axis.plot([start, end], [height, height], color=colour, linewidth=width, solid_capstyle="butt", gid="bar")
    axis.text(end + (right - left) / 60, height, f"{bar_mm:.0f} mm", va="center", **{**INK, "fontsize": fontsize})
    axis.set(xlim=limits[0], ylim=limits[1])


def marked(
    picture: UInt8[np.ndarray, "h w *rgb"], view: str, column_mm: float | None, bar_mm: float
) -> UInt8[np.ndarray, "h w 3"]:
    """A picture with both marks in its pixels, for what shows bare pictures.

    Args:
        picture: Grey or colours.
        view: Of the slice.
        column_mm: Width of a pixel; None where nobody measured it: there is no bar then.
        bar_mm: Length of the bar.
    """
    rows, columns = picture.shape[:2]
    figure = Figure(figsize=(columns / DPI, rows / DPI), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    axis = figure.add_axes((0, 0, 1, 1))
    coloured = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)  # no colour map: it rounds
    axis.imshow(coloured, aspect="auto", interpolation="none")
    axis.set_axis_off()
    small = float(np.clip(rows / 40, 3.5, 7.0))  # points
    mark_sides(axis, view, fontsize=small)
    if column_mm is not None:
        mark_bar(axis, column_mm, bar_mm, fontsize=0.8 * small)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
