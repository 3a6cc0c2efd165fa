"""Non-local U-Net: a U-Net with the non-local block of Wang et al. (CVPR 2018)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.prediction import Prediction
from models.strides import Strides
from models.unet import Decoder, Encoder

BOTTLENECK = 4  # encoder stage at a sixteenth of the input side


class NonLocalBlock(nn.Module):
    """Every position takes up what all positions hold, weighted by how alike they are (embedded Gaussian).

    z = x + W(softmax(theta(x)^T phi(x)) g(x)), with 1 x 1 convolutions theta, phi and g, and W a 1 x 1 convolution with
    batch normalisation that starts at zero: at first the block changes nothing. The softmax is not scaled by the number
    of channels.

    Args:
        channels: Of x.
        inner_channels: Of theta, phi and g.
        subsample: Side of the max-pooling on phi and g; 1 for none.

    Attributes:
        saliency: In evaluation, how much each position of phi was attended to in the last call, on average over the
            positions that attend, divided by its maximum; None in training.
    """

    def __init__(self, channels: int, *, inner_channels: int, subsample: int = 1) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, inner_channels, kernel_size=1)
        self.phi = nn.Conv2d(channels, inner_channels, kernel_size=1)
        self.g = nn.Conv2d(channels, inner_channels, kernel_size=1)
        self.pool = nn.MaxPool2d(subsample)
        self.output = nn.Sequential(nn.Conv2d(inner_channels, channels, kernel_size=1), nn.BatchNorm2d(channels))
        for parameter in self.output[1].parameters():
            nn.init.zeros_(parameter)
        self.saliency: Float[Tensor, "b 1 h_s w_s"] | None = None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Returns features of the same shape."""
        coarse = self.pool(self.phi(x))
        # One head: with an axis of heads the fused kernels apply, which never hold the whole matrix.
        query, key, value = (
            features.flatten(2).mT[:, None] for features in (self.theta(x), coarse, self.pool(self.g(x)))
        )
        gathered = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]
        self.saliency = None if self.training else _saliency(query[:, 0], key[:, 0]).unflatten(2, coarse.shape[2:])
        return x + self.output(gathered.mT.unflatten(2, x.shape[2:]))


def _saliency(query: Float[Tensor, "b q c"], key: Float[Tensor, "b k c"]) -> Float[Tensor, "b 1 k"]:
    attended = torch.softmax(query @ key.mT, dim=2).mean(dim=1, keepdim=True)
    return attended / attended.amax(dim=2, keepdim=True)


class NonLocalUNet(nn.Module):
    """U-Net with non-local blocks: 33.14 M parameters at width 64 and ten classes with one block on the bottleneck.

    The BS-ESNet paper cites the block and does not say where it put it.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        width: Channels of the first encoder stage.
        placement: "bottleneck" (a sixteenth of the input side), "bottleneck_and_eighth", or "pooled": behind the first
            two poolings, with a quarter of the channels inside instead of half.
        subsample: Side of the max-pooling inside the blocks; None takes 4 for "pooled" and no pooling for the others.

    Raises:
        ValueError: On another placement.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        width: int = 64,
        placement: str = "bottleneck",
        subsample: int | None = None,
    ) -> None:
        super().__init__()
        if placement not in ("bottleneck", "bottleneck_and_eighth", "pooled"):
            raise ValueError(f"model.placement is {placement!r}, expected bottleneck, bottleneck_and_eighth or pooled")
        self.encoder = Encoder(in_channels=in_channels, width=width)
        self.strides = Strides(1, self.encoder.stride)
        channels, stages = self.encoder.channels, self.encoder.stages
        if placement == "pooled":
            for stage in (1, 2):
                before = channels[stage - 1]
                block = NonLocalBlock(before, inner_channels=max(1, before // 4), subsample=subsample or 4)
                stages[stage] = nn.Sequential(block, stages[stage])
        else:
            for stage in (BOTTLENECK,) if placement == "bottleneck" else (BOTTLENECK - 1, BOTTLENECK):
                block = NonLocalBlock(channels[stage], inner_channels=channels[stage] // 2, subsample=subsample or 1)
                stages[stage] = nn.Sequential(stages[stage], block)
        self.decoder = Decoder(channels)
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; the saliency is that of the deepest block, in evaluation. Annotated `boxes` are not used."""
        logits = self.head(self.decoder(self.encoder(image))[-1])
        *_, deepest = (module for module in self.encoder.modules() if isinstance(module, NonLocalBlock))
        return Prediction(logits=logits, saliency=deepest.saliency)
