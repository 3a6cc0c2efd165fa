"""LumNet (Zhang et al. 2019), reconstructed from its abstract: a VGG-11 U-Net with attention in the decoder."""

import torch
from jaxtyping import Float
from monai.networks.blocks.squeeze_and_excitation import ChannelSELayer
from torch import Tensor, nn

from models.blocks.imagenet import VGGEncoder
from models.blocks.initialisation import keep_variance
from models.blocks.width import in_proportion
from models.prediction import Prediction
from models.strides import Strides

ATTENTIONS = ("channel", "spatial", "channel_and_spatial", "none")


class LumNet(nn.Module):
    """Known of LumNet: an encoder of VGG-11, skips, and a block in the decoder that recalibrates its input.

    The rest is our reading: stages of a 3 x 3 convolution and a 3 x 3 transposed convolution, skips concatenated, the
    attention on what they join. 23.1 M parameters at width 64 and eight classes.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        width: Channels of the encoder's first stage; 64 as published, every other layer in proportion.
        attention: "channel" (squeeze and excitation, where "recalibrate" comes from), "spatial", "channel_and_spatial"
            (their sum), or "none".
        weights: Path of an ImageNet VGG-11's state dict, which LumNet starts from; None starts from scratch.

    Raises:
        ValueError: On an unknown attention.
    """

    strides = Strides(1, 32)

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        width: int = 64,
        attention: str = "channel",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if attention not in ATTENTIONS:
            raise ValueError(f"model.attention is {attention!r}, expected one of {', '.join(ATTENTIONS)}")
        self.encoder = VGGEncoder("vgg11", in_channels=in_channels, width=width, weights=weights)
        deepest = self.encoder.channels[-1]
        upsampled = [in_proportion(channels, width) for channels in (256, 256, 128, 64, 32)]
        between = [in_proportion(channels, width) for channels in (512, 512, 512, 256, 128)]
        self.centre = _expanding(deepest, between[0], upsampled[0])
        joined = [up + skip for up, skip in zip(upsampled, self.encoder.channels[::-1], strict=True)]
        self.attentions = nn.ModuleList(Recalibration(channels, attention) for channels in joined)
        self.decoder = nn.ModuleList(
            _expanding(channels, middle, after)
            for channels, middle, after in zip(joined[:-1], between[1:], upsampled[1:], strict=True)
        )
        finest = upsampled[-1]
        self.finest = nn.Sequential(nn.Conv2d(joined[-1], finest, kernel_size=3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Conv2d(finest, num_classes, kernel_size=1)
        for part in (self.centre, self.decoder, self.finest, *([] if weights else [self.encoder])):
            keep_variance(part)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used."""
        skips = self.encoder(image)
        features = self.centre(self.encoder.pool(skips[-1]))
        for stage, attention, skip in zip((*self.decoder, self.finest), self.attentions, skips[::-1], strict=True):
            features = stage(attention(torch.cat([features, skip], dim=1)))
        return Prediction(logits=self.head(features))


class Recalibration(nn.Module):
    """Weighs channels, pixels, or both (added: Roy et al. 2018) of a feature map."""

    def __init__(self, channels: int, attention: str) -> None:
        super().__init__()
        self.channel = ChannelSELayer(2, channels, r=min(16, channels)) if "channel" in attention else None
        self.spatial = nn.Conv2d(channels, 1, kernel_size=1) if "spatial" in attention else None

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Keeps size and channels."""
        weighed = [] if self.channel is None else [self.channel(features)]
        if self.spatial is not None:
            weighed.append(features * self.spatial(features).sigmoid())
        return torch.stack(weighed).sum(dim=0) if weighed else features


def _expanding(in_channels: int, between: int, out_channels: int) -> nn.Sequential:
    """A 3 x 3 convolution, then a 3 x 3 transposed one to twice the side, each with ReLU."""
    return nn.Sequential(
        *(nn.Conv2d(in_channels, between, kernel_size=3, padding=1), nn.ReLU(inplace=True)),
        nn.ConvTranspose2d(between, out_channels, kernel_size=3, stride=2, padding=1, output_padding=1),
        nn.ReLU(inplace=True),
    )
