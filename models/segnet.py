"""SegNet (Badrinarayanan et al. 2017): a VGG-16 and its mirror image, which unpools to where the maxima were."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks.imagenet import VGGEncoder, check_multiple
from models.prediction import Prediction
from models.strides import Strides

CONVOLUTIONS = (2, 2, 3, 3, 3)  # of VGG-16's stages


class SegNet(nn.Module):
    """29.5 M parameters at width 64 and eight classes; no skips but the places of the maxima.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        width: Channels of the encoder's first stage; 64 as published, every other layer in proportion.
        weights: Path of the state dict of an ImageNet VGG-16 with batch normalisation; None starts from scratch.
    """

    strides = Strides(1, 32)  # the decoder gets no features back, but places to a pixel

    def __init__(self, *, in_channels: int, num_classes: int, width: int = 64, weights: str | None = None) -> None:
        super().__init__()
        encoder = VGGEncoder("vgg16_bn", in_channels=in_channels, width=width, weights=weights)
        self.encoder, channels = encoder.stages, encoder.channels
        self.decoder = nn.ModuleList(
            _mirrored(channels[stage], channels[max(stage - 1, 0)], CONVOLUTIONS[stage] - (stage == 0))
            for stage in reversed(range(len(channels)))
        )
        self.head = nn.Conv2d(channels[0], num_classes, kernel_size=3, padding=1)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used.

        Raises:
            ValueError: If height or width is not a multiple of 32.
        """
        check_multiple(image, 32)
        features, places = image, []
        for stage in self.encoder:
            features, indices = F.max_pool2d_with_indices(stage(features), (2, 2))
            places.append(indices)
        for stage, indices in zip(self.decoder, places[::-1], strict=True):
            features = stage(F.max_unpool2d(features, indices, (2, 2)))
        return Prediction(logits=self.head(features))


def _mirrored(in_channels: int, out_channels: int, num_convolutions: int) -> nn.Sequential:
    """Convolutions of a decoder stage; the last one changes the channels."""
    channels = [in_channels] * num_convolutions + [out_channels]
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, kernel_size=3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
