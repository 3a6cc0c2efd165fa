"""CDAN: a U-Net with dilated convolutions, and pixels that are told apart (Li Z. et al. 2023), reconstructed."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from models.blocks.atrous import DilatedConvolutions, atrous_rates
from models.mrln import REACHES_MM
from models.prediction import Prediction
from models.strides import Strides
from models.unet import Decoder, Encoder


class CDAN(nn.Module):
    """The generator of a game: a U-Net whose deepest features are seen at four reaches; 41.5 M parameters at width 64.

    The abstract names a parallel dilated U-Net, a generative adversarial network and contrastive learning for finer
    edges. The adversary belongs to the training (`lightning_modules.adversarial`), not to what predicts.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        width: Channels of the finest stage.
        depth: Number of stages.
        spacing_mm: Pixel size of the images.
        rates_mm: Reaches of the dilated convolutions.
        size: (rows, columns) that the reaches are checked against; None checks nothing.
        embedding: Length of the vector of a pixel that the contrastive loss compares.

    Attributes:
        strides: Pixels a cell of the finest and of the deepest features.
        in_channels: As given; a discriminator sees the image as well.

    Raises:
        ValueError: If a reach is longer than the deepest map, or the channels cannot be shared.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        width: int = 64,
        depth: int = 5,
        spacing_mm: float | int = 0.7,
        rates_mm: Sequence[float | int] = REACHES_MM,
        size: Sequence[int] | None = None,
        embedding: int = 128,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.encoder = Encoder(in_channels=in_channels, width=width, depth=depth)
        self.strides = Strides(1, self.encoder.stride)
        rates = atrous_rates(rates_mm, spacing_mm=spacing_mm, stride=self.encoder.stride, size=size)
        self.dilated = DilatedConvolutions(self.encoder.channels[-1], rates)
        self.decoder = Decoder(self.encoder.channels)
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)
        self.embed = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=1), nn.ReLU(inplace=True), nn.Conv2d(width, embedding, kernel_size=1)
        )

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used. Pixels have vectors in training alone."""
        *skips, deepest = self.encoder(image)
        features = self.decoder((*skips, self.dilated(deepest)))[-1]
        return Prediction(logits=self.head(features), embedding=self.embed(features) if self.training else None)
