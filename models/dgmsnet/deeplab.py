"""The DeepLabv3+ of DGMSNet: encoder with an atrous spatial pyramid, and decoder, of separable convolutions."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks.atrous import atrous_rates
from models.blocks.width import in_proportion
from models.dgmsnet.separable import PointwiseConvolution, SeparableConvolution
from models.dgmsnet.xception import SlimXception
from models.prediction import Prediction
from models.strides import Strides


class Features(NamedTuple):
    """What an encoder finds: as published `low` at a quarter of the image's side, `high` at a sixteenth."""

    low: Float[Tensor, "b c_l h_l w_l"]
    high: Float[Tensor, "b c h_h w_h"]


class EncoderSettings(TypedDict, total=False):
    """What every network on this encoder can be told; see `image_encoder`."""

    width: int
    stem_stride: int
    spacing_mm: float | int
    rates_mm: Sequence[float | int]
    size: Sequence[int] | None


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
        width: As given.
        strides: Pixels a cell of the low-level and of the high-level features.
        low_channels: Channels of the low-level features, 128 at width 64.
        high_channels: Channels of the high-level features, 128 at width 64.
    """

    def __init__(self, *, in_channels: int, width: int, stem_stride: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.width = width
        self.strides = strides_of_stem(stem_stride)
        self.xception = SlimXception(in_channels=in_channels, width=width, stem_stride=stem_stride)
        self.low_channels, self.high_channels = self.xception.low_channels, in_proportion(128, width)
        self.pyramid = AtrousPyramid(self.xception.high_channels, self.high_channels, rates)

    def forward(self, image: Float[Tensor, "b m h w"]) -> Features:
        """Returns low-level and high-level features."""
        low, high = self.xception(image)
        return Features(low, self.pyramid(high))


def strides_of_stem(stem_stride: int) -> Strides:
    """Pixels a cell of the encoder's features.

    Raises:
        ValueError: If the stride is not one that the encoder has.
    """
    if stem_stride not in (1, 2):
        raise ValueError(f"model.stem_stride is {stem_stride}, expected 2 (as published) or 1 (cells half as wide)")
    return Strides(low=2 * stem_stride, bottleneck=8 * stem_stride)


def image_encoder(
    *,
    in_channels: int,
    width: int = 64,
    stem_stride: int = 2,
    spacing_mm: float | int = 0.7,
    rates_mm: Sequence[float | int] = (67.2, 134.4, 201.6),
    size: Sequence[int] | None = None,
) -> Encoder:
    """The encoder for images of a pixel size, whose pyramid reaches as far in millimetres as the published one.

    The network was made for pixels of 0.7 mm. On coarser ones it keeps its scale in millimetres: the first convolution
    without a stride makes cells half as wide, and the reaches of the pyramid are stated in mm.

    Args:
        in_channels: Channels of the image.
        width: Channels of the first residual block; 64 as published, every other layer in proportion.
        stem_stride: Of the first convolution: 2 as published, or 1. The weights are the same.
        spacing_mm: Pixel size of the images.
        rates_mm: Reaches of the atrous pyramid; as published 6, 12 and 18 cells of 16 pixels of 0.7 mm.
        size: (rows, columns) of the images that the network is meant for, which the reaches are checked against; None
            checks nothing. Images of any size are processed.

    Raises:
        ValueError: If the stride is another, or a reach is longer than the map.
    """
    stride = strides_of_stem(stem_stride).bottleneck
    rates = atrous_rates(rates_mm, spacing_mm=spacing_mm, stride=stride, size=size)
    return Encoder(in_channels=in_channels, width=width, stem_stride=stem_stride, rates=rates)


class Decoder(nn.Module):
    """Joins high-level with projected low-level features: 0.116 M parameters at width 64.

    Args:
        encoder: Whose features these are; its width is the decoder's, too.
        out_channels: Maps to predict.
    """

    def __init__(self, encoder: Encoder, *, out_channels: int) -> None:
        super().__init__()
        projected, decoded = in_proportion(24, encoder.width), in_proportion(256, encoder.width)
        self.projection = PointwiseConvolution(encoder.low_channels, projected)
        self.convolutions = nn.Sequential(
            SeparableConvolution(encoder.high_channels + projected, decoded, rectify=True),
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


class DeepLab(nn.Module):
    """One path alone: 5.15 M parameters at width 64 and eleven classes, as many as in DGMSNet's public code.

    The yardstick of every row on this encoder: what separates them is what they add to it.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        settings: See `image_encoder`.

    Attributes:
        strides: Pixels a cell of the low-level and of the high-level features.
    """

    def __init__(self, *, in_channels: int, num_classes: int, **settings: Unpack[EncoderSettings]) -> None:
        super().__init__()
        self.encoder = image_encoder(in_channels=in_channels, **settings)
        self.strides = self.encoder.strides
        self.decoder = Decoder(self.encoder, out_channels=num_classes)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used."""
        low, high = self.encoder(image)
        return Prediction(logits=self.decoder(low, high, image.shape[2:]))
