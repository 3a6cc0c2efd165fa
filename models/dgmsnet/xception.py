"""The slim aligned Xception of DGMSNet: fewer channels and three middle blocks instead of sixteen."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks.width import in_proportion
from models.dgmsnet.separable import SeparableConvolution

NUM_MIDDLE_BLOCKS = 3


class ResidualBlock(nn.Module):
    """Three separable convolutions, a ReLU in front of each, beside a shortcut.

    Args:
        channels: Of the input and behind each of the three convolutions.
        stride: Of the last convolution and of the shortcut.
        starts_rectified: False where the input comes from a ReLU already.
    """

    def __init__(self, channels: Sequence[int], *, stride: int = 1, starts_rectified: bool = True) -> None:
        super().__init__()
        *_, before, after = channels
        self.first, self.second = (SeparableConvolution(*pair) for pair in pairwise(channels[:3]))
        self.last = SeparableConvolution(before, after, stride=stride)
        self.starts_rectified = starts_rectified
        self.shortcut = nn.Identity()
        if stride != 1 or channels[0] != after:
            # A 1 x 1 convolution of stride 2, in two steps: in one, channels last, oneDNN's backward pass (torch 2.14)
            # writes beyond its buffer and crashes the process.
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(kernel_size=1, stride=stride),
                nn.Conv2d(channels[0], after, kernel_size=1, bias=False),
                nn.BatchNorm2d(after),
            )

    def fine(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """What the first two convolutions make, before the stride."""
        start = F.relu(features) if self.starts_rectified else features
        return self.second(F.relu(self.first(start)))

    def finish(
        self, features: Float[Tensor, "b c h w"], fine: Float[Tensor, "b d h w"]
    ) -> Float[Tensor, "b e h_s w_s"]:
        """The output of the block, from its input and from `fine` of it."""
        return self.last(F.relu(fine)) + self.shortcut(features)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e h_s w_s"]:
        """Returns the features divided by the stride in size."""
        return self.finish(features, self.fine(features))


class SlimXception(nn.Module):
    """Features at a quarter and at a sixteenth of the image's side (public code of Pang et al. 2022).

    Args:
        in_channels: Channels of the image.
        width: Channels of the first residual block; 64 as published, every other layer in proportion.
        stem_stride: Of the first convolution; 2 as published, 1 doubles the side of all features.

    Attributes:
        low_channels: Channels of the low-level features.
        high_channels: Channels of the high-level features.
    """

    def __init__(self, *, in_channels: int, width: int, stem_stride: int = 2) -> None:
        super().__init__()
        stem, after_stem, c64, c128, c364, c512, c768, c1024 = (
            in_proportion(channels, width) for channels in (16, 32, 64, 128, 364, 512, 768, 1024)
        )
        self.stem = nn.Sequential()
        for before, after, stride in ((in_channels, stem, stem_stride), (stem, after_stem, 1)):
            self.stem.append(nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False))
            self.stem.append(nn.BatchNorm2d(after))
            self.stem.append(nn.ReLU(inplace=True))
        self.first = ResidualBlock((after_stem, c64, c64, c64), stride=2, starts_rectified=False)
        self.second = ResidualBlock((c64, c128, c128, c128), stride=2)
        self.third = ResidualBlock((c128, c364, c364, c364), stride=2)
        self.middle = nn.Sequential(*(ResidualBlock((c364,) * 4) for _ in range(NUM_MIDDLE_BLOCKS)))
        self.exit = nn.Sequential(
            ResidualBlock((c364, c364, c512, c512)),
            *(SeparableConvolution(*pair, dilation=2, rectify=True) for pair in pairwise((c512, c768, c768, c1024))),
        )
        self.low_channels, self.high_channels = c128, c1024

    def forward(
        self, image: Float[Tensor, "b m h w"]
    ) -> tuple[Float[Tensor, "b c_l h_l w_l"], Float[Tensor, "b c_h h_h w_h"]]:
        """Returns low-level features, those of the second block before its stride, and high-level ones."""
        features = self.first(self.stem(image))
        low = self.second.fine(features)
        return low, self.exit(self.middle(self.third(self.second.finish(features, low))))
