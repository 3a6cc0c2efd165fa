"""What every picture of a slice bears: the sides of the patient and a bar of millimetres."""

from typing import Any

from matplotlib.axes import Axes

EDGES: dict[str, tuple[str, str]] = {"axial": ("R", "L"), "sagittal": ("A", "P")}  # of a picture, left and right
INK: dict[str, Any] = {
    **{"color": "white", "fontsize": 7},
    "bbox": {"facecolor": "black", "alpha": 0.5, "pad": 1.2, "linewidth": 0},
}


def mark_sides(axis: Axes, view: str, *, height: float = 0.5, fontsize: float = 7.0) -> None:
    """Writes the patient's sides at both edges of a picture, at a height of 0..1.

    Args:
        axis: Shows the picture.
        view: Of the slice.
        height: Where.
        fontsize: Of both letters.
    """
    style = {**INK, "fontsize": fontsize, "va": "center", "transform": axis.transAxes}
    for place, side, edge in zip((0.02, 0.98), ("left", "right"), EDGES[view], strict=True):
        axis.text(place, height, edge, ha=side, **style)


def mark_bar(axis: Axes, column_mm: float, bar_mm: float, *, fontsize: float = 5.5) -> None:
    """Draws a bar of so many millimetres near the lower edge of a picture, with its length beside it.

    Args:
        axis: Shows a picture whose limits are set already; x is its column.
        column_mm: Width of a pixel.
        bar_mm: Length of the bar.
        fontsize: Of its length.
    """
    (left, right), (bottom, top) = limits = (axis.get_xlim(), axis.get_ylim())
    start = left + 0.05 * (right - left)
    end, height = start + bar_mm / column_mm, bottom + 0.05 * (top - bottom)
    style = {"solid_capstyle": "butt", "gid": "bar", "zorder": 4}  # above the box of its length
    for colour, width in (("black", 3.0), ("white", 1.5)):
        axis.plot([start, end], [height, height], color=colour, linewidth=width, **style)
    axis.text(end + (right - left) / 60, height, f"{bar_mm:.0f} mm", va="center", **{**INK, "fontsize": fontsize})
    axis.set(xlim=limits[0], ylim=limits[1])
