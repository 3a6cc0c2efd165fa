"""Attention U-Net (Oktay et al. 2018, Schlemper et al. 2019): additive grid gates on the skips of a U-Net."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.prediction import Prediction
from models.strides import Strides
from models.unet import Decoder, Encoder


class GateResult(NamedTuple):
    """Gated skip features and the coefficients that gated them."""

    features: Float[Tensor, "b c h w"]
    saliency: Float[Tensor, "b 1 h w"]


class GridGate(nn.Module):
    """Additive attention on a skip, steered by the next coarser features.

    With skip features x and gating signal g: a = sigmoid(psi(relu(theta(x) + phi(g)))), brought back to the grid of x;
    out = W(a x). theta halves the grid (2 x 2, stride 2, no bias), phi and psi are 1 x 1 with bias, W is 1 x 1 with
    batch normalisation.

    Args:
        skip_channels: Channels of x, and of the comparison.
        gating_channels: Channels of g.
    """

    def __init__(self, *, skip_channels: int, gating_channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(skip_channels, skip_channels, kernel_size=2, stride=2, bias=False)
        self.phi = nn.Conv2d(gating_channels, skip_channels, kernel_size=1)
        self.psi = nn.Conv2d(skip_channels, 1, kernel_size=1)
        self.output = nn.Sequential(
            nn.Conv2d(skip_channels, skip_channels, kernel_size=1), nn.BatchNorm2d(skip_channels)
        )

    def forward(self, skip: Float[Tensor, "b c h w"], gating: Float[Tensor, "b c_g h/2 w/2"]) -> GateResult:
        """Gates `skip`; the coefficients are computed on the grid of `gating` and resized."""
        coefficients = self.psi(F.relu(self.theta(skip) + self.phi(gating))).sigmoid()
        saliency = F.interpolate(coefficients, skip.shape[2:], mode="bilinear", align_corners=False)
        return GateResult(self.output(saliency * skip), saliency)


class GatedDecoder(Decoder):
    """A U-Net decoder whose skips pass a gate each, steered by the features that they will be joined with.

    The skip at full resolution has no gate. The deepest gate is steered by a 1 x 1 convolution of the bottleneck.

    Args:
        channels: Channels of the encoder stages, finest first.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__(channels)
        *gated, bottleneck = channels[1:]
        self.gating = nn.Sequential(
            nn.Conv2d(bottleneck, bottleneck, kernel_size=1), nn.BatchNorm2d(bottleneck), nn.ReLU(inplace=True)
        )
        pairs = zip(gated[::-1], channels[:1:-1], strict=True)
        self.gates = nn.ModuleList(GridGate(skip_channels=fine, gating_channels=coarse) for fine, coarse in pairs)

    def decode(self, features: Sequence[Tensor]) -> tuple[Tensor, Float[Tensor, "b 1 h_s w_s"]]:
        """Returns the finest decoder features and the coefficients of the finest gate."""
        decoded, gating = features[-1], self.gating(features[-1])
        skips = list(features)[-2::-1]
        saliency = None
        for level, (upsample, stage) in enumerate(zip(self.upsample, self.stages, strict=True)):
            skip = skips[level]
            if level < len(self.gates):
                skip, saliency = self.gates[level](skip, gating)
            decoded = gating = stage(torch.cat([skip, upsample(decoded)], dim=1))
        assert saliency is not None
        return decoded, saliency


class AttentionUNet(nn.Module):
    """U-Net with a grid gate on the skips of stages 2 to 4: 34.50 M parameters at width 64 and ten classes.

    The public code of the authors is three-dimensional, with two gates a level and deep supervision; here it is one
    gate a level and the loss of the host table.
    """

    def __init__(self, *, in_channels: int, num_classes: int, width: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels=in_channels, width=width)
        self.strides = Strides(1, self.encoder.stride)
        self.decoder = GatedDecoder(self.encoder.channels)
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; the saliency is that of the finest gate. Annotated `boxes` are not used."""
        features = self.encoder(image)
        decoded, saliency = self.decoder.decode(features)
        strength = None if self.training else features[1].abs().mean(dim=1, keepdim=True)
        return Prediction(logits=self.head(decoded), saliency=saliency, gated_features=strength)
