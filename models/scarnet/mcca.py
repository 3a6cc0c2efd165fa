"""Multi-channel cross attention (SCAR-Net, section 3.1): inter-class, intra-class and channel attention."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.dgmsnet.fusion import Fusion
from models.dgmsnet.separable import PointwiseConvolution
from models.scarnet.attention import ChannelAttention, PositionAttention

# "F_S^H' is multiplied by a scale parameter; element-wise summation is performed on the results of step 2": of an
# inter-class stream x with attended x' and scale g, and an intra-class stream y with y' and h, the two sums.
SUMS = {
    "residual": lambda x, y, x_, y_, g, h: (g * x_ + x, h * y_ + y),  # C1: nothing changes at first
    "cross_sum": lambda x, y, x_, y_, g, h: (g * x_ + y_, h * y_ + x_),  # C2: to the letter; no identity path
    "cross_residual": lambda x, y, x_, y_, g, h: (g * x_ + y, h * y_ + x),  # C3
}


class MultiChannelCrossAttention(Fusion):
    """Fuses the segmentation feature with what the recognition path delivers.

    Both pass a position attention of their own; their sums by `reading` are joined to one feature; that passes a
    channel attention. Scales are learned and start at 0. 0.124 M parameters at 128 channels.

    Args:
        channels: Of both features.
        reading: How the streams are summed, see `SUMS`.
        combine: "concatenate" joins the sums by a 1 x 1 convolution with batch normalisation and ReLU, "add" adds them.
        channel_energy: See `ChannelAttention`.

    Raises:
        ValueError: On another reading, combination or energy.
    """

    def __init__(
        self,
        *,
        channels: int,
        reading: str = "residual",
        combine: str = "concatenate",
        channel_energy: str = "mean",
    ) -> None:
        super().__init__()
        if reading not in SUMS:
            raise ValueError(f"model.fusion.reading is {reading!r}, expected one of {', '.join(SUMS)}")
        if combine not in ("concatenate", "add"):
            raise ValueError(f"model.fusion.combine is {combine!r}, expected concatenate or add")
        self.inter_class, self.intra_class = PositionAttention(channels), PositionAttention(channels)
        self.channel = ChannelAttention(channels, energy=channel_energy)
        self.join = PointwiseConvolution(2 * channels, channels) if combine == "concatenate" else None
        self.sums = SUMS[reading]
        self.scale_inter, self.scale_intra, self.scale_channel = (nn.Parameter(torch.zeros(())) for _ in range(3))

    def forward(
        self, segmentation: Float[Tensor, "b c h w"], delivered: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        """Returns the cross-fused feature."""
        first, second = self.sums(
            segmentation,
            delivered,
            self.inter_class(segmentation),
            self.intra_class(delivered),
            self.scale_inter,
            self.scale_intra,
        )
        fused = first + second if self.join is None else self.join(torch.cat([first, second], dim=1))
        return self.scale_channel * self.channel(fused) + fused

    def attention_at(
        self, segmentation: Float[Tensor, "b c h w"], positions: Int[Tensor, "b k"]
    ) -> Float[Tensor, "b k h w"]:
        """Where chosen positions (row by row) look in the inter-class attention: weights that sum to 1."""
        return self.inter_class.weights(segmentation, positions)
