"""CE-Net (Gu et al. 2019): ResNet-34, dense atrous convolutions, residual multi-kernel pooling."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks.imagenet import ResNetEncoder
from models.blocks.transposed import FinalHead, TransposedBlock
from models.blocks.windows import window_in
from models.prediction import Prediction
from models.strides import Strides


class DenseAtrousConvolution(nn.Module):
    """Four cascades of atrous convolutions, added to their input; the cascades share their convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        atrous = [nn.Conv2d(channels, channels, kernel_size=3, padding=rate, dilation=rate) for rate in (1, 3, 5)]
        self.rates = nn.ModuleList(atrous)
        self.point = nn.Conv2d(channels, channels, kernel_size=1)
        for convolution in (*atrous, self.point):
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Keeps size and channels."""
        one, three, five = self.rates
        narrow = one(features)
        middle = three(narrow)
        branches = (narrow, self.point(three(features)), self.point(middle), self.point(five(middle)))
        return features + torch.stack([F.relu(branch) for branch in branches]).sum(dim=0)


class ResidualMultiKernelPooling(nn.Module):
    """Maxima of windows of 2, 3, 5 and 6, each one channel by a shared 1 x 1 convolution, joined with the input.

    As in the public code, a rest of the map that fills no window is left out. A window larger than the map, which that
    code refuses, is clamped to it.
    """

    windows = (2, 3, 5, 6)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.point = nn.Conv2d(channels, 1, kernel_size=1)
        self.channels = channels + len(self.windows)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Keeps the size, adds four channels."""
        maxima = [self.point(F.max_pool2d(features, window_in(features, side))) for side in self.windows]
        size = features.shape[2:]
        pooled = [F.interpolate(scores, size, mode="bilinear", align_corners=False) for scores in maxima]
        return torch.cat([*pooled, features], dim=1)


class CENet(nn.Module):
    """29.0 M parameters at width 64 and eight classes.

    As in the public code, the last decoder step joins no skip: the stem's features reach the encoder alone.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        width: Channels of the encoder's first stage; 64 as published, every other layer in proportion.
        stem_stride: Of the encoder's first convolution: 2 as published, 1 for cells half as large.
        weights: Path of an ImageNet ResNet-34's state dict; None starts from scratch.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        width: int = 64,
        stem_stride: int = 2,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.encoder = ResNetEncoder(
            "resnet34", in_channels=in_channels, width=width, stem_stride=stem_stride, weights=weights
        )
        self.strides = Strides(2 * stem_stride, self.encoder.stride)
        stem, first, second, third, fourth = self.encoder.channels
        pooling = ResidualMultiKernelPooling(fourth)
        self.context = nn.Sequential(DenseAtrousConvolution(fourth), pooling)
        steps = ((pooling.channels, third), (third, second), (second, first), (first, stem))
        self.decoder = nn.ModuleList(TransposedBlock(before, after) for before, after in steps)
        self.head = FinalHead(stem, num_classes, width=width, stem_stride=stem_stride)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used."""
        _, *skips, deepest = self.encoder(image)
        features = self.context(deepest)
        *joined, last = self.decoder
        for block, skip in zip(joined, skips[::-1], strict=True):
            features = block(features) + skip
        return Prediction(logits=self.head(last(features)))
