"""How plots look: one colour and marker a row wherever it is drawn, and figures as SVG inside the page."""

import io
import textwrap
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, NamedTuple
from zlib import crc32

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from reports.papers import load_published, published_tables
from reports.render.blocks import Figure

# Okabe and Ito's colours, which the colour-blind tell apart, without their yellow (too faint on white); then greys and
# browns for rows beyond seven. Markers differ too, so that no row depends on its colour.
COLOURS = ("#000000", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#e69f00", "#0072b2", "#7f7f7f", "#8a7a00", "#7f4f24")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
WIDTH = 4.6  # inches; a phone shows them at four fifths, so that 11 pt is still read
SMALL = 3.6  # inches; of several beside each other
DPI = 96  # CSS pixels an inch
SETTINGS: dict[Any, Any] = {
    **{"font.size": 11, "svg.hashsalt": "paraspine", "svg.fonttype": "path"},
    **{"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 10},
}


class Style(NamedTuple):
    """How a row is drawn."""

    colour: str
    marker: str


def row_styles(rows: Sequence[str]) -> dict[str, Style]:
    """A style for each row: a row of a paper has its own in every report, whichever rows are beside it.

    Any other begins at a place that follows from its name and takes the first from there that no row here has.
    """
    known = published_rows()
    places = {row: known.index(row) % len(COLOURS) for row in rows if row in known}
    for row in sorted(set(rows) - set(places)):
        start = crc32(row.encode()) % len(COLOURS)
        ring = [(start + step) % len(COLOURS) for step in range(len(COLOURS))]
        taken = set(places.values())
        places[row] = next((place for place in ring if place not in taken), start)
    return {row: Style(COLOURS[places[row]], MARKERS[places[row]]) for row in rows}


@cache
def published_rows() -> list[str]:
    """Rows of the papers' tables, table after table; those of one table have different styles."""
    rows: dict[str, None] = {}
    for name in published_tables():
        rows |= dict.fromkeys(str(row) for row in load_published(name)["row"] if row and " " not in str(row))
    return list(rows)


def wrapped(label: str, width: int = 20) -> str:
    """A label broken into lines; a dollar sign is no formula."""
    return "\n".join(textwrap.wrap(label, width, break_long_words=True)).replace("$", r"\$") or " "


@contextmanager
def drawing(width: float, height: float, columns: int = 1) -> Iterator[tuple[Canvas, Any]]:
    """An empty figure of so many inches and its axis (axes, where there are several columns), to be `finished` within.

    Its letters are legible at the width of a phone.
    """
    with matplotlib.rc_context(SETTINGS):
        canvas = Canvas(figsize=(width, height), layout="constrained", facecolor="white")
        FigureCanvasSVG(canvas)
        yield canvas, canvas.subplots(1, columns, sharey=True)


def ruled(axis: Any, along: Literal["x", "y", "both"] = "both") -> None:
    """Faint lines below what is drawn."""
    axis.grid(axis=along, alpha=0.3)
    axis.set_axisbelow(True)


def jitter(count: int, half: float) -> np.ndarray:
    """Shifts of points that would lie on each other, -half..half, the same every time."""
    return half * np.random.default_rng(count).uniform(-1, 1, count)


def finished(canvas: Canvas, *, alt: str) -> Figure:
    """The figure as a picture of the page."""
    stream = io.BytesIO()
    canvas.savefig(stream, format="svg", metadata={"Date": None})
    source = "data:image/svg+xml;base64," + b64encode(stream.getvalue()).decode("ascii")
    return Figure(source=source, alt=alt, width=round(canvas.get_figwidth() * DPI))
