"""What every picture of a slice bears: the sides of the patient and a bar of millimetres."""

from typing import Any

from matplotlib.axes import Axes

from datamodules.anatomy import View

EDGES: dict[View, tuple[str, str]] = {"axial": ("R", "L"), "sagittal": ("A", "P")}  # of a picture, left and right
INK: dict[str, Any] = {
    **{"color": "white", "fontsize": 7},
    "bbox": {"facecolor": "black", "alpha": 0.5, "pad": 1.2, "linewidth": 0},
}


def mark_sides(axis: Axes, view: View, *, height: float = 0.5, fontsize: float = 7.0) -> None:
    """Writes the patient's sides at both edges of a picture, at a height of 0..1."""
    for place, edge in zip((0.02, 0.98), EDGES[view], strict=True):
        side = "left" if place < 0.5 else "right"
        style = {**INK, "fontsize": fontsize}
        axis.text(place, height, edge, transform=axis.transAxes, va="center", ha=side, **style)


def mark_bar(axis: Axes, column_mm: float, bar_mm: float, *, fontsize: float = 5.5) -> None:
    """Draws a bar of so many millimetres near the lower edge of what an axis shows, with its length beside it.

    Args:
        axis: Shows a picture whose limits are set already; x is its column.
        column_mm: Width of a pixel.
        bar_mm: Length of the bar.
        fontsize: Of its length.
    """
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    start = left + 0.05 * (right - left)
    end, height = start + bar_mm / column_mm, bottom + 0.05 * (top - bottom)
    for colour, width in (("black", 3.0), ("white", 1.5)):
        axis.plot([start, end], [height, height], color=colour, linewidth=width, solid_capstyle="butt", gid="bar")
    axis.text(end + (right - left) / 60, height, f"{bar_mm:.0f} mm", va="center", **{**INK, "fontsize": fontsize})
    axis.set(xlim=(left, right), ylim=(bottom, top))
