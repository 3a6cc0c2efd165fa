"""The DeepLabv3+ of DGMSNet: encoder with an atrous spatial pyramid, and decoder, of separable convolutions."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks.width import in_proportion
from models.dgmsnet.separable import PointwiseConvolution, SeparableConvolution
from models.dgmsnet.xception import SlimXception


class Features(NamedTuple):
    """What an encoder finds: as published `low` at a quarter of the image's side, `high` at a sixteenth."""

    low: Float[Tensor, "b c_l h_l w_l"]
    high: Float[Tensor, "b c h_h w_h"]


def atrous_rates(rates_mm: Sequence[float | int], *, cell_mm: float, cells: Sequence[int] | None) -> list[int]:
    """Rates of the pyramid in cells, from how far its outer taps reach in mm; at least 1.

    Args:
        rates_mm: Reaches.
        cell_mm: Side of a cell of the map that the pyramid sees.
        cells: Size of that map, (rows, columns); None is not checked.

    Raises:
        ValueError: If a reach is not above 0, or as long as the map: its outer taps would see zeros everywhere, and
            what is called a 3 x 3 convolution would be one of 1 x 1.
    """
    rates = []
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


class ImagePooling(nn.Module):
    """The mean over the image, seen everywhere; the pyramid's branch of infinite reach."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Returns a map that is constant over the image.

        A batch of one slice (an epoch may end in one) has a single value a channel, which cannot be normalised by its
        own spread: there the running statistics serve, as outside training.
        """
        pooled = self.convolution(features.mean(dim=(2, 3), keepdim=True))
        norm = self.norm
        normalised = F.batch_norm(
            pooled,
            norm.running_mean,
            norm.running_var,
            norm.weight,
            norm.bias,
            training=self.training and len(pooled) > 1,
            momentum=norm.momentum or 0.0,
            eps=norm.eps,
        )
        return F.relu(normalised).expand(-1, -1, *features.shape[2:])


class AtrousPyramid(nn.Module):
    """1 x 1, a separable convolution dilated by each of `rates` and the image's mean, side by side and joined."""

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                PointwiseConvolution(in_channels, out_channels),
                *(SeparableConvolution(in_channels, out_channels, dilation=rate, rectify=True) for rate in rates),
                ImagePooling(in_channels, out_channels),
            ]
        )
        self.join = PointwiseConvolution(len(self.branches) * out_channels, out_channels)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Returns features of the same size."""
        return self.join(torch.cat([branch(features) for branch in self.branches], dim=1))


class Encoder(nn.Module):
    """Slim Xception with a pyramid on top: 5.03 M parameters at width 64.

    Args:
        in_channels: Channels of the image.
        width: See `SlimXception`.
        stem_stride: See `SlimXception`.
        rates: Dilations of the pyramid in cells.

    Attributes:
        low_channels: Channels of the low-level features, 128 at width 64.
        high_channels: Channels of the high-level features, 128 at width 64.
    """

    def __init__(self, *, in_channels: int, width: int, stem_stride: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.xception = SlimXception(in_channels=in_channels, width=width, stem_stride=stem_stride)
        self.low_channels, self.high_channels = self.xception.low_channels, in_proportion(128, width)
        self.pyramid = AtrousPyramid(self.xception.high_channels, self.high_channels, rates)

    def forward(self, image: Float[Tensor, "b m h w"]) -> Features:
        """Returns low-level and high-level features."""
        low, high = self.xception(image)
        return Features(low, self.pyramid(high))


class Decoder(nn.Module):
    """Joins high-level with projected low-level features: 0.116 M parameters at width 64.

    Args:
        low_channels: Channels of the low-level features.
        high_channels: Channels of the high-level features.
        out_channels: Maps to predict.
        width: See `SlimXception`.
    """

    def __init__(self, *, low_channels: int, high_channels: int, out_channels: int, width: int) -> None:
        super().__init__()
        projected, decoded = in_proportion(24, width), in_proportion(256, width)
        self.projection = PointwiseConvolution(low_channels, projected)
        self.convolutions = nn.Sequential(
            SeparableConvolution(high_channels + projected, decoded, rectify=True),
            SeparableConvolution(decoded, decoded, rectify=True),
        )
        self.head = nn.Conv2d(decoded, out_channels, kernel_size=1)

    def forward(
        self, low: Float[Tensor, "b c_l h_l w_l"], high: Float[Tensor, "b c_h h_h w_h"], size: Sequence[int]
    ) -> Float[Tensor, "b o h w"]:
        """Returns maps of `size` (rows, columns)."""
        low = self.projection(low)
        # The published code aligns corners, which stretches a map by as much as its side is short of an odd number;
        # without, what remains is a shift by a constant, which convolutions can undo.
        high = F.interpolate(high, low.shape[2:], mode="bilinear", align_corners=False)
        maps = self.head(self.convolutions(torch.cat([high, low], dim=1)))
        return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
