"""Explicit saliency-aware network: gate, U-Net decoder, heads under deep supervision (BS-ESNet, section 2.2)."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from models.unet import Decoder


class Segmented(NamedTuple):
    """What ESNet returns; see the fields of the same name in `models.prediction.Prediction`."""

    logits: Float[Tensor, "b c h w"]
    deep: tuple[Tensor, ...]
    saliency: Tensor | None
    key: Tensor | None
    gated_features: Tensor | None


class ExplicitSaliencyNetwork(nn.Module):
    """The segmenting half of BS-ESNet, without the encoder that it shares with the detecting half.

    Args:
        gate: Attention gate on encoder features, from `models.bs_esnet.sag`.
        encoder_channels: Channels of the encoder stages, finest first.
        num_classes: Classes with background.
        deep_supervision: Whether the coarser decoder stages get 1 x 1 heads of their own.
    """

    def __init__(
        self, *, gate: nn.Module, encoder_channels: tuple[int, ...], num_classes: int, deep_supervision: bool
    ) -> None:
        super().__init__()
        self.gate = gate
        self.decoder = Decoder(encoder_channels)
        coarse = self.decoder.channels[:-1] if deep_supervision else ()
        self.deep_heads = nn.ModuleList(nn.Conv2d(channels, num_classes, kernel_size=1) for channels in coarse)
        self.head = nn.Conv2d(self.decoder.channels[-1], num_classes, kernel_size=1)

    def forward(self, features: tuple[Tensor, ...], boxes: Float[Tensor, "b n 4"]) -> Segmented:
        """Segments encoder features, guided by `boxes`."""
        gated = self.gate(features, boxes)
        decoded = self.decoder(gated.features)
        deep = [head(stage) for head, stage in zip(self.deep_heads, decoded, strict=False)]
        return Segmented(self.head(decoded[-1]), tuple(deep[::-1]), gated.saliency, gated.key, gated.before)
