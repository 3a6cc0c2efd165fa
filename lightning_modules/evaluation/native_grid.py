"""The way from the network's grid back to the untouched pixels of the image."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from datamodules.reading.geometry import SliceGrid
from lightning_modules.evaluation.pose import Pose


@dataclass(frozen=True, kw_only=True)
class NativeGrid:
    """The pixels of an image, and where the network saw them.

    Attributes:
        grid: Of the network; see `SliceGrid` for the map.
        size: Rows and columns of the image.
        spacing_mm: Size of its pixels, (row, column).
        pose: How the patient lies in the network's picture, if otherwise than in the image.
    """

    grid: SliceGrid
    size: tuple[int, int]
    spacing_mm: tuple[float, float]
    pose: Pose | None = None

    @property
    def field_of_view(self) -> Bool[Tensor, "H W"]:
        """Pixels that the network sees."""
        return _inside(*self._coordinates())

    def values(self, values: Float[Tensor, "c h w"]) -> Float[Tensor, "c H W"]:
        """Bilinear values at every pixel; zero outside of the network's field.

        `values` may lie on the pixels of the network's grid or on coarser cells that cover the same field.
        """
        rows, columns = self._coordinates()
        points = torch.stack([columns, rows], dim=-1)
        # The half pixel between the last centre and the edge takes the last value instead of fading out.
        sampled = F.grid_sample(values[None], points[None].to(values), padding_mode="border", align_corners=False)[0]
        return sampled * _inside(rows, columns)

    def likeliest(self, probabilities: Float[Tensor, "c h w"]) -> Int[Tensor, "H W"]:
        """The likeliest class at every pixel; background outside of the network's field, where nothing is seen."""
        return likeliest(self.values(probabilities[1:]))

    def points(self, points: Float[Tensor, "k 2"]) -> Float[Tensor, "k 2"]:
        """Points (x, y) in pixels of the network's grid become points in pixels of the image; NaN stays NaN."""
        grid = self.grid
        columns_mm, rows_mm = ((points[:, axis] - (grid.size[1 - axis] - 1) / 2) * grid.spacing_mm for axis in (0, 1))
        if self.pose is not None:
            rows_mm, columns_mm = self.pose.to_scan(rows_mm, columns_mm)
        native = [
            (place_mm + grid.offset_mm[axis]) / self.spacing_mm[axis] + (self.size[axis] - 1) / 2
            for axis, place_mm in ((1, columns_mm), (0, rows_mm))
        ]
        return torch.stack(native, dim=1)

    def points_seen(self, points: Float[Tensor, "k 2"]) -> Float[Tensor, "k 2"]:
        """The inverse of `points`: where in the network's grid points of the image are seen, be it outside of it."""
        assert self.pose is None, "only of patients who lie as scanned"
        grid, seen = self.grid, []
        for axis in (1, 0):
            place_mm = (points[:, 1 - axis] - (self.size[axis] - 1) / 2) * self.spacing_mm[axis] - grid.offset_mm[axis]
            seen.append(place_mm / grid.spacing_mm + (grid.size[axis] - 1) / 2)
        return torch.stack(seen, dim=1)

    def boxes_seen(self, boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n 4"]:
        """The inverse of `boxes`: boxes in 0..1 of the image become boxes in 0..1 of the network's grid."""
        centre = self.points_seen(boxes[:, :2] * boxes.new_tensor([self.size[1], self.size[0]]) - 0.5)
        pixels = boxes.new_tensor([self.grid.size[1], self.grid.size[0]])
        mm = boxes.new_tensor([self.size[axis] * self.spacing_mm[axis] for axis in (1, 0)])
        return torch.cat([(centre + 0.5) / pixels, boxes[:, 2:] * mm / (pixels * self.grid.spacing_mm)], dim=1)

    def boxes(self, boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n 4"]:
        """Boxes in 0..1 of the network's grid become boxes in 0..1 of the image.

        Those of a patient who lies otherwise do not turn back into upright ones.
        """
        assert self.pose is None, "a box that was turned is no box of the image"
        grid = self.grid
        grid_mm = torch.tensor([side * grid.spacing_mm for side in (grid.size[1], grid.size[0])])
        native_mm = torch.tensor([self.size[axis] * self.spacing_mm[axis] for axis in (1, 0)])
        offset_mm = torch.tensor([grid.offset_mm[1], grid.offset_mm[0]])
        centre = ((boxes[:, :2] - 0.5) * grid_mm + offset_mm) / native_mm + 0.5
        return torch.cat([centre, boxes[:, 2:] * grid_mm / native_mm], dim=1)

    def _coordinates(self) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]]:
        """Row and column of every pixel; -1 and 1 are the outer edges of the network's grid, as in `grid_sample`."""
        grid, offsets_mm = self.grid, []
        for axis in (0, 1):
            centred = torch.arange(self.size[axis]) - (self.size[axis] - 1) / 2
            offsets_mm.append(centred * self.spacing_mm[axis] - grid.offset_mm[axis])
        rows_mm, columns_mm = torch.meshgrid(*offsets_mm, indexing="ij")
        if self.pose is not None:
            rows_mm, columns_mm = self.pose.to_picture(rows_mm, columns_mm)
        return 2 * rows_mm / (grid.spacing_mm * grid.size[0]), 2 * columns_mm / (grid.spacing_mm * grid.size[1])


def likeliest(foreground: Float[Tensor, "n H W"]) -> Int[Tensor, "H W"]:
    """The likeliest class, from the probabilities of all but the background."""
    return torch.cat([1 - foreground.sum(dim=0, keepdim=True), foreground]).argmax(dim=0)


def _inside(rows: Float[Tensor, "H W"], columns: Float[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    return (rows.abs() <= 1) & (columns.abs() <= 1)
