"""MRLN: segmentation and localisation that attend to each other (Zhang R. et al. 2020), reconstructed."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.blocks.atrous import DilatedConvolutions, atrous_rates
from models.prediction import Prediction
from models.strides import Strides
from models.unet import Decoder, Encoder

REACHES_MM = (11.2, 22.4, 44.8, 89.6)  # ours: 1, 2, 4 and 8 cells of 16 pixels of 0.7 mm


class OrderOfRows(nn.Module):
    """A bidirectional LSTM down the rows of a map: what a level is depends on those above and below.

    Args:
        channels: Of the map; a quarter of them is the hidden state of a direction.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.sequence = nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
        self.back = nn.Linear(2 * hidden, channels)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Returns the map; to every column of a row is added what the sequence says of that row."""
        said, _ = self.sequence(features.mean(dim=3).transpose(1, 2))
        return features + self.back(said).transpose(1, 2)[..., None]


class CoAttention(nn.Module):
    """Each of two maps of a size is weighed by the other: F (1 + sigmoid(convolution of the other)).

    The factor is 1.5 while a convolution is zero, and lies between 1 and 2: nothing is ever closed.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.by_location, self.by_segmentation = (nn.Conv2d(channels, channels, kernel_size=1) for _ in range(2))

    def forward(
        self, segmented: Float[Tensor, "b c h w"], located: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        """Returns both, each as the other came in."""
        return (
            segmented * (1 + self.by_location(located).sigmoid()),
            located * (1 + self.by_segmentation(segmented).sigmoid()),
        )


class MRLN(nn.Module):
    """U-Net encoder, dilated convolutions, an LSTM, two decoders in step: 57.6 M parameters at width 64.

    The abstract names the parts: a group of dilated convolutions, an LSTM for the order of the vertebrae, co-attention
    between the decoders of segmentation and localisation, and an exclusive-or loss between the two. Layers, sizes and
    where the LSTM stands are our reading. What is localised is an area, not a point: an exclusive or with a narrow peak
    would forbid a vertebra larger than the peak.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        width: Channels of the finest stage.
        depth: Number of stages.
        spacing_mm: Pixel size of the images.
        rates_mm: Reaches of the dilated convolutions.
        size: (rows, columns) that the reaches are checked against; None checks nothing.

    Attributes:
        strides: Pixels a cell of the finest and of the deepest features.

    Raises:
        ValueError: If a reach is longer than the deepest map, or the channels cannot be shared.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        width: int = 64,
        depth: int = 5,
        spacing_mm: float | int = 0.7,
        rates_mm: Sequence[float | int] = REACHES_MM,
        size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels=in_channels, width=width, depth=depth)
        self.strides = Strides(1, self.encoder.stride)
        rates = atrous_rates(rates_mm, spacing_mm=spacing_mm, stride=self.encoder.stride, size=size)
        deepest = self.encoder.channels[-1]
        self.dilated = DilatedConvolutions(deepest, rates)
        self.order = OrderOfRows(deepest)
        self.segmentation, self.localization = (Decoder(self.encoder.channels) for _ in range(2))
        self.attention = nn.ModuleList(CoAttention(channels) for channels in self.segmentation.channels)
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)
        self.area_head = nn.Conv2d(width, num_classes - 1, kernel_size=1)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments and localises; annotated `boxes` are not used."""
        *skips, deepest = self.encoder(image)
        segmented = located = self.order(self.dilated(deepest))
        for level, skip in enumerate(reversed(skips)):
            segmented, located = (
                decoder.stages[level](torch.cat([skip, decoder.upsample[level](features)], dim=1))
                for decoder, features in ((self.segmentation, segmented), (self.localization, located))
            )
            segmented, located = self.attention[level](segmented, located)
        return Prediction(logits=self.head(segmented), areas=self.area_head(located))
