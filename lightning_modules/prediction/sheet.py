"""The overlay sheet of a patient: outlines on slices of the scan."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.anatomy import Anatomy
from lightning_modules.prediction.outlines import Block
from pictures.marks import INK
from pictures.sheet import new_sheet, patches
from pictures.view import SliceView, corners_of, grey_levels, zoomed
from records.whole_files import naming

MOST_SLICES = 12
MARGIN_MM = 12.0  # of image around the structures
BARS_MM, BAR_SHARE = (50.0, 20.0, 10.0), 0.65  # the longest that takes no more of a panel's width
PAGE_INCHES = (8.4, 5.2)  # at most, all panels together: half a page
FEWEST_INCHES = 4.6  # width, for the notice


def draw_sheet(blocks: Sequence[Block], anatomy: Anatomy, path: Path, *, title: str, notice: str) -> None:
    """Draws up to twelve slices, evenly spread over those on which something was found, from head to foot."""
    slices = _shown(blocks)
    views = zoomed([_view(block, index, anatomy) for block, index in slices], MARGIN_MM)
    shape, panel = _arranged(len(slices), views[0].proportion)
    found = {number for block, index in slices for number in np.unique(block.mask[index]).tolist()}
    names = {name: anatomy.colours[name] for number, name in enumerate(anatomy.structures, start=1) if number in found}
    figure, axes = new_sheet(
        shape, panel, legend=patches(names), top=0.28, below=0.22, least_width=FEWEST_INCHES, dpi=150
    )
    # Of a bar that is longer than the panel, a part would be seen beside the length of the whole.
    longest_mm = BAR_SHARE * views[0].shown_mm[1]
    bar_mm = next((length for length in BARS_MM if length <= longest_mm), BARS_MM[-1])
    several = len({block.name for block, _ in slices}) > 1
    for axis in axes.ravel()[len(slices) :]:
        axis.axis("off")
    for axis, view, (block, index) in zip(axes.ravel(), views, slices, strict=False):
        view.show(axis)
        view.outline(axis, block.mask[index], [anatomy.colours[name] for name in anatomy.structures])
        view.mark(axis, height=0.5, fontsize=7.0, bar_mm=bar_mm)
        where = f"{block.level or (block.name if several else '')} slice {block.slice_names[index]}"
        axis.text(0.02, 0.98, where.strip(), transform=axis.transAxes, va="top", parse_math=False, **INK)
    height = figure.get_figheight()
    figure.text(0.5, 1 - 0.15 / height, title, ha="center", va="center", fontsize=9, parse_math=False)
    figure.text(0.5, 0.12 / height, notice, ha="center", va="center", fontsize=5.5, wrap=True)
    with warnings.catch_warnings():
        # A patient's name in a script that the font lacks is drawn as boxes; the page shows it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with naming(path):
            figure.savefig(path)


def _shown(blocks: Sequence[Block]) -> list[tuple[Block, int]]:
    looked_at = [(block, int(index)) for block in blocks for index in np.flatnonzero(block.chosen)]
    filled = [(block, index) for block, index in looked_at if block.mask[index].any()] or looked_at
    return [filled[place] for place in np.unique(np.linspace(0, len(filled) - 1, MOST_SLICES).round().astype(int))]


def _arranged(number: int, proportion: float) -> tuple[tuple[int, int], tuple[float, float]]:
    """Rows and columns, and height and width in inches of the panels, as large as fit onto the page."""
    candidates = []
    for columns in range(1, number + 1):
        rows = -(-number // columns)
        width = min(PAGE_INCHES[0] / columns, PAGE_INCHES[1] / rows / proportion)
        candidates.append((width, rows, columns))
    width, rows, columns = max(candidates)
    return (rows, columns), (width * proportion, width)


def _view(block: Block, index: int, anatomy: Anatomy) -> SliceView:
    return SliceView(
        grey=grey_levels(block.image[0, index]),
        spacing_mm=block.spacing_mm,
        view=anatomy.view,
        around=corners_of(block.mask[index] > 0),
    )
