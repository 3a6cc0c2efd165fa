"""The way from the network's grid back to the untouched pixels of the image."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from datamodules.reading.geometry import SliceGrid
from lightning_modules.evaluation.pose import Pose


def likeliest_on_native_grid(
    probabilities: Float[Tensor, "c h w"],
    grid: SliceGrid,
    native_size: tuple[int, int],
    native_spacing_mm: tuple[float, float],
    pose: Pose | None = None,
) -> Int[Tensor, "H W"]:
    """The likeliest class at every native pixel; background outside of the network's field, where nothing is seen."""
    return likeliest(to_native_grid(probabilities[1:], grid, native_size, native_spacing_mm, pose))


def likeliest(foreground: Float[Tensor, "n H W"]) -> Int[Tensor, "H W"]:
    """The likeliest class, from the probabilities of all but the background."""
    return torch.cat([1 - foreground.sum(dim=0, keepdim=True), foreground]).argmax(dim=0)


def to_native_grid(
    values: Float[Tensor, "c h w"],
    grid: SliceGrid,
    native_size: tuple[int, int],
    native_spacing_mm: tuple[float, float],
    pose: Pose | None = None,
) -> Float[Tensor, "c H W"]:
    """Bilinear values at every native pixel; zero outside the network grid (see `SliceGrid` for the map).

    `values` may lie on the pixels of `grid` or on coarser cells that cover the same field. Where the patient lies
    otherwise in the network's picture, `pose` says how.
    """
    rows, columns = _coordinates(grid, native_size, native_spacing_mm, pose)
    points = torch.stack([columns, rows], dim=-1)
    # The half pixel between the last centre and the edge takes the last value instead of fading out.
    sampled = F.grid_sample(values[None], points[None].to(values), padding_mode="border", align_corners=False)[0]
    return sampled * _inside(rows, columns)


def field_of_view(
    grid: SliceGrid,
    native_size: tuple[int, int],
    native_spacing_mm: tuple[float, float],
    pose: Pose | None = None,
) -> Bool[Tensor, "H W"]:
    """Native pixels that the network sees."""
    return _inside(*_coordinates(grid, native_size, native_spacing_mm, pose))


def _coordinates(
    grid: SliceGrid,
    native_size: tuple[int, int],
    native_spacing_mm: tuple[float, float],
    pose: Pose | None,
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """Row and column of every native pixel; -1 and 1 are the outer edges of the grid, as `grid_sample` has it."""
    offsets_mm = []
    for axis in (0, 1):
        centred = torch.arange(native_size[axis]) - (native_size[axis] - 1) / 2
        offsets_mm.append(centred * native_spacing_mm[axis] - grid.offset_mm[axis])
    rows_mm, columns_mm = torch.meshgrid(*offsets_mm, indexing="ij")
    if pose is not None:
        rows_mm, columns_mm = pose.to_picture(rows_mm, columns_mm)
    return 2 * rows_mm / (grid.spacing_mm * grid.size[0]), 2 * columns_mm / (grid.spacing_mm * grid.size[1])


def _inside(rows: Float[Tensor, "H W"], columns: Float[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    return (rows.abs() <= 1) & (columns.abs() <= 1)


def points_to_native(
    points: Float[Tensor, "k 2"],
    grid: SliceGrid,
    native_size: tuple[int, int],
    native_spacing_mm: tuple[float, float],
    pose: Pose | None = None,
) -> Float[Tensor, "k 2"]:
    """Points (x, y) in pixels of the network's grid become points in native pixels; NaN stays NaN."""
    columns_mm, rows_mm = ((points[:, axis] - (grid.size[1 - axis] - 1) / 2) * grid.spacing_mm for axis in (0, 1))
    if pose is not None:
        rows_mm, columns_mm = pose.to_scan(rows_mm, columns_mm)
    native = [
        (place_mm + grid.offset_mm[axis]) / native_spacing_mm[axis] + (native_size[axis] - 1) / 2
        for axis, place_mm in ((1, columns_mm), (0, rows_mm))
    ]
    return torch.stack(native, dim=1)


def boxes_to_native(
    boxes: Float[Tensor, "n 4"], grid: SliceGrid, native_size: tuple[int, int], native_spacing_mm: tuple[float, float]
) -> Float[Tensor, "n 4"]:
    """Boxes in 0..1 of the network grid become boxes in 0..1 of the native image."""
    grid_mm = torch.tensor([side * grid.spacing_mm for side in (grid.size[1], grid.size[0])])
    native_mm = torch.tensor([native_size[axis] * native_spacing_mm[axis] for axis in (1, 0)])
    offset_mm = torch.tensor([grid.offset_mm[1], grid.offset_mm[0]])
    centre = ((boxes[:, :2] - 0.5) * grid_mm + offset_mm) / native_mm + 0.5
    return torch.cat([centre, boxes[:, 2:] * grid_mm / native_mm], dim=1)
