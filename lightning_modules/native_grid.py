"""The way from the network's grid back to the untouched pixels of the image."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from datamodules.geometry import SliceGrid


def likeliest_on_native_grid(
    probabilities: Float[Tensor, "c h w"],
    grid: SliceGrid,
    native_size: tuple[int, int],
    native_spacing_mm: tuple[float, float],
) -> Int[Tensor, "H W"]:
    """The likeliest class at every native pixel; background outside of the network's field, where nothing is seen."""
    return likeliest(to_native_grid(probabilities[1:], grid, native_size, native_spacing_mm))


def likeliest(foreground: Float[Tensor, "n H W"]) -> Int[Tensor, "H W"]:
    """The likeliest class, from the probabilities of all but the background."""
    return torch.cat([1 - foreground.sum(dim=0, keepdim=True), foreground]).argmax(dim=0)


def to_native_grid(
    values: Float[Tensor, "c h w"],
    grid: SliceGrid,
    native_size: tuple[int, int],
    native_spacing_mm: tuple[float, float],
) -> Float[Tensor, "c H W"]:
    """Bilinear values at every native pixel; zero outside the network grid (see `SliceGrid` for the map).

    `values` may lie on the pixels of `grid` or on coarser cells that cover the same field.
    """
    rows, columns = _coordinates(grid, native_size, native_spacing_mm)
    points = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    # The half pixel between the last centre and the edge takes the last value instead of fading out.
    sampled = F.grid_sample(values[None], points[None].to(values), padding_mode="border", align_corners=False)[0]
    return sampled * _inside(rows, columns)


def field_of_view(
    grid: SliceGrid, native_size: tuple[int, int], native_spacing_mm: tuple[float, float]
) -> Bool[Tensor, "H W"]:
    """Native pixels that the network sees."""
    return _inside(*_coordinates(grid, native_size, native_spacing_mm))


def _coordinates(
    grid: SliceGrid, native_size: tuple[int, int], native_spacing_mm: tuple[float, float]
) -> tuple[Float[Tensor, " H"], Float[Tensor, " W"]]:
    """Where native rows and columns lie; -1 and 1 are the outer edges of the grid, as `grid_sample` has it."""
    coordinates = []
    for axis in (0, 1):
        centred = torch.arange(native_size[axis]) - (native_size[axis] - 1) / 2
        offset_mm = centred * native_spacing_mm[axis] - grid.offset_mm[axis]
        coordinates.append(2 * offset_mm / (grid.spacing_mm * grid.size[axis]))
    return coordinates[0], coordinates[1]


def _inside(rows: Float[Tensor, " H"], columns: Float[Tensor, " W"]) -> Bool[Tensor, "H W"]:
    return (rows.abs() <= 1)[:, None] & (columns.abs() <= 1)[None, :]


def boxes_to_native(
    boxes: Float[Tensor, "n 4"], grid: SliceGrid, native_size: tuple[int, int], native_spacing_mm: tuple[float, float]
) -> Float[Tensor, "n 4"]:
    """Boxes in 0..1 of the network grid become boxes in 0..1 of the native image."""
    grid_mm = torch.tensor([side * grid.spacing_mm for side in (grid.size[1], grid.size[0])])
    native_mm = torch.tensor([native_size[axis] * native_spacing_mm[axis] for axis in (1, 0)])
    offset_mm = torch.tensor([grid.offset_mm[1], grid.offset_mm[0]])
    centre = ((boxes[:, :2] - 0.5) * grid_mm + offset_mm) / native_mm + 0.5
    return torch.cat([centre, boxes[:, 2:] * grid_mm / native_mm], dim=1)
