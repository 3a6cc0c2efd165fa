"""The overlay sheet of a patient: outlines on slices of the scan."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from datamodules.anatomy import Anatomy
from lightning_modules.evaluation.evaluated import grey_levels
from lightning_modules.prediction.outlines import Block
from pictures.marks import INK, mark_bar, mark_sides
from records.whole_files import naming

MOST_SLICES = 12
MARGIN_MM = 12.0  # of image around the structures
BARS_MM, BAR_SHARE = (50.0, 20.0, 10.0), 0.65  # the longest that takes no more of a panel's width
PAGE_INCHES = (8.4, 5.2)  # at most, all panels together: half a page
LEGEND_COLUMNS, LEGEND_ROW_INCHES = 5, 0.15


def draw_sheet(blocks: Sequence[Block], anatomy: Anatomy, path: Path, *, title: str, notice: str) -> None:
    """Draws up to twelve slices, evenly spread over those on which something was found, from head to foot.

    Axial slices are seen from the feet: the patient's right is on the left of the picture.
    """
    slices = _shown(blocks)
    half_mm = _half_extent_mm(slices)
    num_rows, num_columns, width = _arranged(len(slices), float(half_mm[0] / half_mm[1]))
    height = width * half_mm[0] / half_mm[1]
    shown = {name for block, index in slices for name in _structures_on(block, index, anatomy)}
    foot = 0.36 + LEGEND_ROW_INCHES * -(-len(shown) // LEGEND_COLUMNS)
    size = (max(num_columns * width, 4.5) + 0.1, num_rows * height + 0.3 + foot)
    figure = Figure(figsize=size, dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axis in axes[len(slices) :]:
        axis.axis("off")
    several = len({block.name for block, _ in slices}) > 1
    for axis, (block, index) in zip(axes, slices, strict=False):
        _draw_slice(axis, block, index, anatomy, half_mm)
        where = f"{block.level or (block.name if several else '')} slice {block.slice_names[index]}"
        axis.text(0.02, 0.98, where.strip(), transform=axis.transAxes, va="top", parse_math=False, **INK)
    figure.legend(
        handles=[
            Line2D([], [], color=anatomy.colours[name], label=name.replace("_", " "))
            for name in anatomy.structures
            if name in shown
        ],
        loc="lower center",
        bbox_to_anchor=(0.5, 0.22 / size[1]),
        ncols=LEGEND_COLUMNS,
        fontsize=7,
        frameon=False,
    )
    figure.text(0.5, 1 - 0.15 / size[1], title, ha="center", va="center", fontsize=9, parse_math=False)
    figure.text(0.5, 0.12 / size[1], notice, ha="center", va="center", fontsize=5.5, wrap=True)
    figure.subplots_adjust(
        left=0.005, right=0.995, top=1 - 0.28 / size[1], bottom=foot / size[1], wspace=0.02, hspace=0.02
    )
    with warnings.catch_warnings():
        # A patient's name in a script that the font lacks is drawn as boxes; the page shows it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with naming(path):
            figure.savefig(path)


def _shown(blocks: Sequence[Block]) -> list[tuple[Block, int]]:
    looked_at = [(block, int(index)) for block in blocks for index in np.flatnonzero(block.chosen)]
    filled = [(block, index) for block, index in looked_at if block.mask[index].any()] or looked_at
    return [filled[place] for place in np.unique(np.linspace(0, len(filled) - 1, MOST_SLICES).round().astype(int))]


def _arranged(number: int, height_to_width: float) -> tuple[int, int, float]:
    """Rows, columns and the width in inches of the panels, as large as fit onto the page."""
    candidates = []
    for columns in range(1, number + 1):
        rows = -(-number // columns)
        width = min(PAGE_INCHES[0] / columns, PAGE_INCHES[1] / rows / height_to_width)
        candidates.append((width, rows, columns))
    width, rows, columns = max(candidates)
    return rows, columns, width


def _half_extent_mm(slices: Sequence[tuple[Block, int]]) -> np.ndarray:
    """Half the height and width that every panel shows, (row, column): the largest that a slice needs."""
    needed = []
    for block, index in slices:
        rows, columns = _rows_and_columns(block, index)
        needed.append([np.ptp(rows) * block.spacing_mm[0], np.ptp(columns) * block.spacing_mm[1]])
    return np.max(needed, axis=0) / 2 + MARGIN_MM


def _rows_and_columns(block: Block, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Where something was found; the whole image where nothing was."""
    present = block.mask[index] > 0
    rows, columns = np.nonzero(present if present.any() else np.ones_like(present))
    return rows, columns


def _draw_slice(axis: Axes, block: Block, index: int, anatomy: Anatomy, half_mm: np.ndarray) -> None:
    spacing = block.spacing_mm
    axis.imshow(grey_levels(block.image[0, index]), cmap="gray", vmin=0, vmax=255, aspect=spacing[0] / spacing[1])
    axis.set(xticks=[], yticks=[])
    for name in _structures_on(block, index, anatomy):
        inside = block.mask[index] == anatomy.class_index(name)
        # Padded, so that what reaches the edge of the image is closed there.
        lines = np.pad(inside.astype(float), 1)
        rows, columns = (np.arange(-1, side + 1) for side in inside.shape)
        axis.contour(columns, rows, lines, levels=[0.5], colors=[anatomy.colours[name]], linewidths=0.9)
    middle = [(places.min() + places.max()) / 2 for places in _rows_and_columns(block, index)]
    reach = half_mm / spacing
    bottom, left = middle[0] + reach[0], middle[1] - reach[1]
    axis.set(xlim=(left, middle[1] + reach[1]), ylim=(bottom, middle[0] - reach[0]))
    axis.set_facecolor("black")
    mark_sides(axis, anatomy.view)
    # Of a bar that is longer than the panel, a part would be seen beside the length of the whole.
    bar_mm = next((length for length in BARS_MM if length <= BAR_SHARE * 2 * half_mm[1]), BARS_MM[-1])
    mark_bar(axis, spacing[1], bar_mm)


def _structures_on(block: Block, index: int, anatomy: Anatomy) -> list[str]:
    found = set(np.unique(block.mask[index]).tolist())
    return [name for number, name in enumerate(anatomy.structures, start=1) if number in found]
