"""Attention U-Net as MONAI builds it, to be compared with the one of `models.attention_unet`."""

import torch
from jaxtyping import Float
from monai.networks.nets.attentionunet import AttentionLayer, AttentionUnet
from torch import Tensor, nn

from models.prediction import Prediction
from models.strides import Strides
from models.unet import check_size


class MonaiAttentionUNet(nn.Module):
    """MONAI's variant: 31.74 M parameters at width 64 and ten classes.

    It departs from the cited paper: every skip is gated, the one at full resolution too; the gating signal is the
    up-sampled lower feature, on the same grid; theta, phi and psi are 1 x 1 convolutions with batch normalisation; the
    encoder strides instead of pooling, and one convolution follows each concatenation.
    """

    strides = Strides(1, 16)

    def __init__(self, *, in_channels: int, num_classes: int, width: int = 64) -> None:
        super().__init__()
        channels = [width * 2**stage for stage in range(5)]
        self.network = AttentionUnet(2, in_channels, num_classes, channels=channels, strides=(2, 2, 2, 2))

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; the saliency is that of the gate at full resolution. Annotated `boxes` are not used."""
        check_size(image, num_stages=5)
        # MONAI's forward keeps the coefficients of its gates to itself: its outermost level is walked through here.
        head, finest, output = self.network.model
        assert isinstance(finest, AttentionLayer)
        features = head(image)
        lower = finest.upconv(finest.submodule(features))
        gate = finest.attention
        saliency = gate.psi(gate.relu(gate.W_g(lower) + gate.W_x(features)))
        merged = finest.merge(torch.cat([features * saliency, lower], dim=1))
        strength = None if self.training else features.abs().mean(dim=1, keepdim=True)
        return Prediction(logits=output(merged), saliency=saliency, gated_features=strength)
