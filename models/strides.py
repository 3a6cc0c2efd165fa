"""How coarse a network sees: what a cell of its features is in pixels, hence in millimetres."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

ROUNDING = 1e-6  # 1.5 mm x 2.8 is no more than 1.5 times 2.8 mm


class Strides(NamedTuple):
    """Side of a cell in pixels of the image; whole numbers but for a network that enlarges it.

    Attributes:
        low: Of the finest features of the encoder that the decoder joins.
        bottleneck: Of the deepest features.
    """

    low: float
    bottleneck: float

    def cells_mm(self, spacing_mm: float) -> dict[str, float]:
        """Side of each cell, by its name, on a grid whose pixels have the side `spacing_mm`."""
        return {name: stride * spacing_mm for name, stride in self._asdict().items()}


def check_cells(
    name: str, strides: Strides, spacing_mm: float, *, paper_mm: Mapping[str, float] | None, factor: float | None
) -> None:
    """Refuses a network whose cells are far from those of its paper: its numbers would speak of the grid.

    Args:
        name: What the message calls the network.
        strides: Its strides.
        spacing_mm: Side of a pixel of its grid.
        paper_mm: Sides of the paper's cells, "low" and "bottleneck"; None where the paper does not give its grid.
        factor: How many times as coarse or as fine as the paper's a cell may be; None for any.

    Raises:
        ValueError: If a cell is further off, `paper_mm` has other names, or no cell could fit `factor`.
    """
    if paper_mm is None or factor is None:
        return
    if set(paper_mm) != set(Strides._fields):
        raise ValueError(f"{name}: paper.cell_mm has {', '.join(paper_mm)}; expected {' and '.join(Strides._fields)}")
    if factor < 1:
        raise ValueError(f"{name}: scale.cell_factor={factor:g}; expected at least 1, or null for no check")
    cells_mm = strides.cells_mm(spacing_mm)
    ratios = {cell: cells_mm[cell] / paper_mm[cell] for cell in cells_mm}
    cell, ratio = max(ratios.items(), key=lambda item: max(item[1], 1 / item[1]))
    if max(ratio, 1 / ratio) <= factor + ROUNDING:
        return
    word, grid, stride = ("coarse", "finer", "smaller") if ratio > 1 else ("fine", "coarser", "larger")
    raise ValueError(
        f"{name}: its {cell} cell is {cells_mm[cell]:.3g} mm, the paper's {paper_mm[cell]:.3g} mm: "
        f"{max(ratio, 1 / ratio):.3g} times as {word}, more than scale.cell_factor={factor:g}; take a {grid} grid "
        f"(data.spacing_mm) or a {stride} stride of the stem (model.stem_stride), or train as it is with "
        "scale.cell_factor=null"
    )


def strides_of(network: nn.Module) -> Strides:
    """The `strides` that every network of the project states.

    Raises:
        ValueError: If it does not.
    """
    strides = getattr(network, "strides", None)
    if not isinstance(strides, Strides):
        raise ValueError(
            f"{type(network).__name__} does not state its cells; give it an attribute `strides`, models.strides.Strides"
        )
    return strides
