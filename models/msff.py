"""The network of the MSFF paper (Zhang et al. 2023): ResNet-18, multi-scale feature fusion, transposed convolutions."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks.imagenet import ResNetEncoder
from models.blocks.transposed import FinalHead, TransposedBlock
from models.blocks.width import in_proportion
from models.blocks.windows import window_in
from models.prediction import Prediction
from models.strides import Strides

POOLINGS = {
    "window": lambda features, side: F.avg_pool2d(features, window_in(features, side)),
    "adaptive": F.adaptive_avg_pool2d,
}


class MultiScaleFeatureFusion(nn.Module):
    """Eight branches side by side, joined (section 2.2, Fig. 3).

    Three atrous depthwise separable convolutions, each behind a 1 x 1 convolution that reduces the channels; one 1 x 1
    convolution; four average poolings, each with a 1 x 1 convolution, brought back by bilinear interpolation. The paper
    calls them cascaded in its introduction and parallel in section 2.2 and Fig. 3; they are parallel here.

    Branches have the channels below at a bottleneck of 512, and in proportion at another.

    Args:
        in_channels: Channels of the bottleneck.
        branch_channels: Channels of each convolution branch.
        reduced_channels: Channels behind the 1 x 1 convolution before an atrous one. "Single channel" (section 2.2)
            taken literally is 1.
        pooled_channels: Channels of each pooling branch.
        rates: Of the atrous convolutions; the paper names none.
        kernels: Of the poolings.
        pooling: "window" averages windows of k x k, clamped to the map where that is smaller; a rest that fills no
            window is left out, as CE-Net's public code has it. "adaptive" averages to a grid of k x k ("global",
            section 2.2).

    Attributes:
        channels: Channels of the output.

    Raises:
        ValueError: On an unknown pooling.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        branch_channels: int = 128,
        reduced_channels: int = 128,
        pooled_channels: int = 128,
        rates: Sequence[int] = (1, 3, 5),
        kernels: Sequence[int] = (2, 3, 4, 5),
        pooling: str = "window",
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"model.bottleneck.pooling is {pooling!r}, expected one of {', '.join(POOLINGS)}")
        width = in_channels // 8  # of the ResNet
        branch, reduced, pooled = (
            in_proportion(channels, width) for channels in (branch_channels, reduced_channels, pooled_channels)
        )
        self.convolutions = nn.ModuleList(
            nn.Sequential(
                *_normalised(nn.Conv2d(in_channels, reduced, kernel_size=1, bias=False)),
                *_normalised(_depthwise(reduced, rate)),
                *_normalised(nn.Conv2d(reduced, branch, kernel_size=1, bias=False)),
            )
            for rate in rates
        )
        point = nn.Conv2d(in_channels, branch, kernel_size=1, bias=False)
        self.convolutions.append(nn.Sequential(*_normalised(point)))
        self.pool, self.kernels = POOLINGS[pooling], tuple(kernels)
        self.pooled = nn.ModuleList(nn.Conv2d(in_channels, pooled, kernel_size=1) for _ in kernels)
        self.channels = branch * len(self.convolutions) + pooled * len(self.pooled)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Joins the branches; keeps the size."""
        size = features.shape[2:]
        branches = [branch(features) for branch in self.convolutions]
        for kernel, convolution in zip(self.kernels, self.pooled, strict=True):
            pooled = convolution(self.pool(features, kernel))
            branches.append(F.interpolate(pooled, size, mode="bilinear", align_corners=False))
        return torch.cat(branches, dim=1)


class NoFusion(nn.Identity):
    """Hands the bottleneck on as it is (Table 3, "without MSFF")."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.channels = in_channels


class MSFFNetwork(nn.Module):
    """13.06 M parameters at width 64 and eight classes, 11.80 M without the fusion.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        bottleneck: Builds what the deepest features pass from their number of channels; has `channels`.
        width: Channels of the encoder's first stage; 64 as published, every other layer in proportion.
        stem_stride: Of the encoder's first convolution: 2 as published, 1 for cells half as large.
        weights: Path of an ImageNet ResNet-18's state dict, which the paper starts from; None starts from scratch.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        bottleneck: "Callable[[int], MultiScaleFeatureFusion | NoFusion]",
        width: int = 64,
        stem_stride: int = 2,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.encoder = ResNetEncoder(
            "resnet18", in_channels=in_channels, width=width, stem_stride=stem_stride, weights=weights
        )
        self.strides = Strides(stem_stride, self.encoder.stride)
        stem, first, second, third, fourth = self.encoder.channels
        self.bottleneck = bottleneck(fourth)
        # Section 2.3: every upsampled map is concatenated with the encoder's of its size.
        self.decoder = nn.ModuleList(
            [
                TransposedBlock(self.bottleneck.channels, third),
                TransposedBlock(2 * third, second),
                TransposedBlock(2 * second, first),
                TransposedBlock(2 * first, stem),
            ]
        )
        self.head = FinalHead(2 * stem, num_classes, width=width, stem_stride=stem_stride)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used."""
        *skips, deepest = self.encoder(image)
        features = self.bottleneck(deepest)
        for block, skip in zip(self.decoder, skips[::-1], strict=True):
            features = torch.cat([block(features), skip], dim=1)
        return Prediction(logits=self.head(features))


def _depthwise(channels: int, rate: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel_size=3, padding=rate, dilation=rate, groups=channels, bias=False)


def _normalised(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)
