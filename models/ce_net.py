"""CE-Net (Gu et al. 2019): ResNet-34, dense atrous convolutions, residual multi-kernel pooling."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks.imagenet import ResNetEncoder
from models.blocks.transposed import FinalHead, TransposedBlock
from models.prediction import Prediction


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
    """Maxima of windows of 2, 3, 5 and 6, each one channel by a shared 1 x 1 convolution, joined with the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # A bottleneck smaller than a window (an image of 128 pixels has 4 x 4) is pooled as a whole.
        self.poolings = nn.ModuleList(nn.MaxPool2d(size, size, ceil_mode=True) for size in (2, 3, 5, 6))
        self.point = nn.Conv2d(channels, 1, kernel_size=1)
        self.channels = channels + len(self.poolings)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Keeps the size, adds four channels."""
        pooled = [
            F.interpolate(self.point(pooling(features)), features.shape[2:], mode="bilinear", align_corners=False)
            for pooling in self.poolings
        ]
        return torch.cat([*pooled, features], dim=1)


class CENet(nn.Module):
    """29.0 M parameters at eight classes.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        weights: Path of an ImageNet ResNet-34's state dict; None starts from scratch.
    """

    def __init__(self, *, in_channels: int, num_classes: int, weights: str | None = None) -> None:
        super().__init__()
        self.encoder = ResNetEncoder("resnet34", in_channels=in_channels, weights=weights)
        stem, first, second, third, fourth = self.encoder.channels
        pooling = ResidualMultiKernelPooling(fourth)
        self.context = nn.Sequential(DenseAtrousConvolution(fourth), pooling)
        steps = ((pooling.channels, third), (third, second), (second, first), (first, stem))
        self.decoder = nn.ModuleList(TransposedBlock(before, after) for before, after in steps)
        self.head = FinalHead(stem, num_classes)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used."""
        *skips, deepest = self.encoder(image)
        features = self.context(deepest)
        for block, skip in zip(self.decoder, skips[::-1], strict=True):
            features = block(features) + skip
        return Prediction(logits=self.head(features))
