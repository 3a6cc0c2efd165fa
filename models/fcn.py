"""FCN-8s (Long et al. 2015) on a VGG-16."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.blocks.imagenet import VGGEncoder
from models.blocks.initialisation import keep_variance
from models.blocks.width import in_proportion
from models.prediction import Prediction
from models.strides import Strides


class FCN8s(nn.Module):
    """134.3 M parameters at width 64 and eight classes, most of them in the first layer of the head.

    Scores of pool3, pool4 and the head are added from coarse to fine. The convolutions of the head keep the size, so
    that nothing is cropped.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        width: Channels of the encoder's first stage; 64 as published, every other layer in proportion.
        head_channels: Channels, at width 64, of the two layers that were VGG's fully connected ones.
        weights: Path of an ImageNet VGG-16's state dict; None starts from scratch. The head starts from scratch.
    """

    strides = Strides(8, 32)

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        width: int = 64,
        head_channels: int = 4096,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.encoder = VGGEncoder("vgg16", in_channels=in_channels, width=width, weights=weights)
        if not weights:
            keep_variance(self.encoder)
        *_, third, fourth, fifth = self.encoder.channels
        head = in_proportion(head_channels, width)
        self.head = nn.Sequential(
            *(nn.Conv2d(fifth, head, kernel_size=7, padding=3), nn.ReLU(inplace=True), nn.Dropout(0.5)),
            *(nn.Conv2d(head, head, kernel_size=1), nn.ReLU(inplace=True), nn.Dropout(0.5)),
        )
        self.scores = nn.ModuleList(
            nn.Conv2d(channels, num_classes, kernel_size=1) for channels in (head, fourth, third)
        )
        self.upsample = nn.ModuleList(bilinear_upsampling(num_classes, factor) for factor in (2, 2, 8))

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used."""
        third, fourth, fifth = (self.encoder.pool(features) for features in self.encoder(image)[2:])
        scores = self.upsample[0](self.scores[0](self.head(fifth)))
        scores = self.upsample[1](scores + self.scores[1](fourth))
        return Prediction(logits=self.upsample[2](scores + self.scores[2](third)))


def bilinear_upsampling(channels: int, factor: int) -> nn.ConvTranspose2d:
    """A transposed convolution that starts as bilinear interpolation by an even factor, channel by channel."""
    size = 2 * factor
    layer = nn.ConvTranspose2d(channels, channels, kernel_size=size, stride=factor, padding=factor // 2, bias=False)
    ramp = 1 - (torch.arange(size) - (size - 1) / 2).abs() / factor
    weight = torch.zeros_like(layer.weight)
    weight[range(channels), range(channels)] = ramp[:, None] * ramp
    layer.weight.data.copy_(weight)
    return layer
