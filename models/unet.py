"""U-Net (Ronneberger et al. 2015) in separate encoder and decoder, so that other systems can work on every stage."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.prediction import Prediction
from models.strides import Strides


class DoubleConvolution(nn.Sequential):
    """Two 3 x 3 convolutions, each with batch normalisation and ReLU; keeps the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        for channels in (in_channels, out_channels):
            self.append(nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False))
            self.append(nn.BatchNorm2d(out_channels))
            self.append(nn.ReLU(inplace=True))


class Encoder(nn.Module):
    """Contracting path: `depth` stages of `width`, 2 `width`, 4 `width` ... channels, each half the size of the last.

    Attributes:
        channels: Channels of each stage, finest first.
        stride: Height and width of the input must be multiples of this.
    """

    def __init__(self, *, in_channels: int, width: int, depth: int = 5) -> None:
        super().__init__()
        self.channels = tuple(width * 2**stage for stage in range(depth))
        self.stride = 2 ** (depth - 1)
        self.stages = nn.ModuleList(
            DoubleConvolution(before, after)
            for before, after in zip((in_channels, *self.channels), self.channels, strict=False)
        )
        self.pool = nn.MaxPool2d(2)

    def forward(self, image: Float[Tensor, "b m h w"]) -> tuple[Tensor, ...]:
        """Returns the features of every stage, finest first.

        Raises:
            ValueError: If height or width is not a multiple of `stride`.
        """
        check_size(image, num_stages=len(self.stages))
        features = [self.stages[0](image)]
        for stage in self.stages[1:]:
            features.append(stage(self.pool(features[-1])))
        return tuple(features)


def check_size(image: Float[Tensor, "b m h w"], *, num_stages: int, has_depth: bool = True) -> None:
    """Refuses an image that cannot be halved `num_stages` - 1 times.

    Args:
        image: Input of a network.
        num_stages: Stages of its encoder, the first at full resolution.
        has_depth: Whether their number is a setting.

    Raises:
        ValueError: With the size that fits.
    """
    (height, width), stride = image.shape[2:], 2 ** (num_stages - 1)
    if height % stride or width % stride:
        fitting = [-(-side // stride) * stride for side in (height, width)]
        raise ValueError(
            f"input is {height} x {width} pixels, but {num_stages} encoder stages need multiples of "
            f"{stride}: set data.size=[{fitting[0]},{fitting[1]}]" + " or fewer stages (model.depth)" * has_depth
        )


class Decoder(nn.Module):
    """Expanding path: transposed convolutions, each joined with the encoder stage of its size.

    Args:
        channels: Channels of the encoder stages, finest first.
        num_steps: How many times the size is doubled; fewer than all gives a coarse decoder.
    """

    def __init__(self, channels: Sequence[int], num_steps: int | None = None) -> None:
        super().__init__()
        coarse_to_fine = list(channels)[::-1]
        pairs = list(pairwise(coarse_to_fine))[:num_steps]
        self.channels = tuple(fine for _, fine in pairs)
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, kernel_size=2, stride=2) for coarse, fine in pairs
        )
        self.stages = nn.ModuleList(DoubleConvolution(2 * fine, fine) for _, fine in pairs)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns the features of every decoder stage, coarsest first."""
        decoded = [features[-1]]
        skips = list(features)[-2::-1]
        for upsample, stage, skip in zip(self.upsample, self.stages, skips, strict=False):
            decoded.append(stage(torch.cat([skip, upsample(decoded[-1])], dim=1)))
        return tuple(decoded[1:])


class UNet(nn.Module):
    """U-Net with batch normalisation and same-size convolutions: 31.04 M parameters at width 64 and ten classes.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes, background among them.
        width: Channels of the finest stage.
        depth: Number of stages.
        init: What a training starts from; its task reads the file, the network is the same: see
            `lightning_modules.tasks.initial_weights`.
    """

    def __init__(
        self, *, in_channels: int, num_classes: int, width: int = 64, depth: int = 5, init: str | None = None
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels=in_channels, width=width, depth=depth)
        self.strides = Strides(1, self.encoder.stride)
        self.decoder = Decoder(self.encoder.channels)
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; the annotated `boxes` that every network is offered in training are not used here."""
        return Prediction(logits=self.head(self.decoder(self.encoder(image))[-1]))
