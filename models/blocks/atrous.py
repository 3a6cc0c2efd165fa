"""Convolutions of several reaches beside each other, with reaches in millimetres."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def atrous_rates(
    rates_mm: Sequence[float | int], *, spacing_mm: float | int, stride: float | int, size: Sequence[int] | None
) -> list[int]:
    """Rates of dilated convolutions in cells, from how far their outer taps reach in mm; at least 1.

    Args:
        rates_mm: Reaches.
        spacing_mm: Pixel size of the images.
        stride: Pixels a cell of the map that the convolutions see.
        size: (rows, columns) of the images, which the reaches are checked against; None checks nothing.

    Raises:
        ValueError: If a reach is not above 0, or as long as the map: its outer taps would see zeros everywhere, and
            what is called a 3 x 3 convolution would be one of 1 x 1.
    """
    cell_mm, rates = spacing_mm * stride, []
    cells = None if size is None else [math.ceil(side / stride) for side in size]
    for rate_mm in rates_mm:
        if rate_mm <= 0:
            raise ValueError(f"model.rates_mm has {rate_mm}, expected positive numbers of millimetres")
        rate = max(1, round(rate_mm / cell_mm))
        if cells is not None and rate >= max(cells):
            raise ValueError(
                f"model.rates_mm has {rate_mm} mm, {rate} cells of {cell_mm:g} mm, on a map of {cells[0]} x {cells[1]} "
                "cells: the outer taps lie beyond the map everywhere; enlarge the field (data.size x data.spacing_mm) "
                "or take a shorter reach"
            )
        rates.append(rate)
    return rates


class DilatedConvolutions(nn.Module):
    """3 x 3 convolutions of different dilation side by side, an equal share of the channels each, joined by 1 x 1.

    MRLN's "dilation convolution group" and the bottleneck of CDAN's parallel dilated U-Net; neither paper's layers are
    public, so shares and joint are our reading.

    Args:
        channels: Of the input and of the output.
        rates: Dilations in cells.

    Raises:
        ValueError: If the channels cannot be shared equally.
    """

    def __init__(self, channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        share, rest = divmod(channels, len(rates))
        if rest:
            raise ValueError(
                f"{channels} channels cannot be shared by {len(rates)} dilated convolutions; set model.width to a "
                f"multiple of {len(rates)}, or give another number of model.rates_mm"
            )
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, share, kernel_size=3, padding=rate, dilation=rate, bias=False),
                nn.BatchNorm2d(share),
                nn.ReLU(inplace=True),
            )
            for rate in rates
        )
        self.join = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Returns features of the same size."""
        return self.join(torch.cat([branch(features) for branch in self.branches], dim=1))
