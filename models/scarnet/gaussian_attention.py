"""The adaptive transformer of SCAR-Net as attention around key points (section 3.2, its second description)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.scarnet.attention import PositionAttention

FLOOR = (
    1e-3  # ours: what is left of the weight of a position far from all key points; where none is found, of every one
)


class GaussianAttentionAdapter(nn.Module):
    """The recognition feature, plus what the segmentation feature holds near the key points.

    Every position attends to all positions of the segmentation feature; the weights are multiplied by how near the
    attended position is to a key point (`nearness_to_peaks`) and sum to 1 again. What is gathered is added by a learned
    scale that starts at 0, as those of the cross attention. Where key points lie is read off the heat maps of the
    recognition path, and no gradient passes through it: masks train the recognition encoder by its feature alone.

    Args:
        channels: Of both features.
        spacing_mm: Pixel size of the heat maps.
        sigma_mm: Standard deviation of the Gaussian of the distance.

    Raises:
        ValueError: If the standard deviation is not above 0.
    """

    def __init__(self, *, channels: int, spacing_mm: float | int, sigma_mm: float | int = 15.0) -> None:
        super().__init__()
        if sigma_mm <= 0:
            raise ValueError(f"model.adapter.sigma_mm is {sigma_mm}, expected a positive number of millimetres")
        self.spacing_mm, self.sigma_mm = spacing_mm, sigma_mm
        self.attention = PositionAttention(channels)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(
        self,
        segmentation: Float[Tensor, "b c h w"],
        recognition: Float[Tensor, "b c h w"],
        heatmaps: Float[Tensor, "b k h_i w_i"],
    ) -> Float[Tensor, "b c h w"]:
        """Returns the recognition feature with what was gathered around the peaks of the heat maps."""
        near = nearness_to_peaks(heatmaps, segmentation.shape[2:], spacing_mm=self.spacing_mm, sigma_mm=self.sigma_mm)
        return recognition + self.scale * self.attention(segmentation, near)


def nearness_to_peaks(
    heatmaps: Float[Tensor, "b k h_i w_i"], grid: Sequence[int], *, spacing_mm: float, sigma_mm: float
) -> Float[Tensor, "b h w"]:
    """How near each cell of a `grid` (rows, columns) of the field is to the nearest key point: `FLOOR` to 1.

    The largest over the key points of p exp(-d² / 2 sigma²), with d the distance in mm of the cell's centre from the
    peak of the heat map, and p the height of the peak above the mean of its map, from 0 to 1: heat maps are trained to
    a height of 1 where the point is seen, and a flat one shows none.
    """
    heatmaps = heatmaps.float()
    highest, place = heatmaps.flatten(2).max(dim=2)
    height = (highest - heatmaps.mean(dim=(2, 3))).clamp(0, 1)
    peak = (place // heatmaps.shape[3], place % heatmaps.shape[3])
    profiles = []
    for axis, num_cells in enumerate(grid):
        pixels_a_cell = heatmaps.shape[2 + axis] / num_cells
        centre = (torch.arange(num_cells, device=heatmaps.device) + 0.5) * pixels_a_cell - 0.5
        away_mm = (centre - peak[axis][..., None]) * spacing_mm
        profiles.append(torch.exp(-away_mm.square() / (2 * sigma_mm**2)))
    rows, columns = profiles
    gaussians = height[..., None, None] * rows[..., :, None] * columns[..., None, :]
    return gaussians.amax(dim=1).clamp(min=FLOOR)
