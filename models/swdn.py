"""SWDN: one encoder, a decoder for masks and another for weak labels (Luo and Yang 2020), reconstructed."""

from typing import Unpack

from jaxtyping import Float
from torch import Tensor, nn

from models.dgmsnet.deeplab import Decoder, EncoderSettings, image_encoder
from models.prediction import Prediction


class SWDN(nn.Module):
    """Strong and weak supervision share encoder and neck, and meet nowhere else: 5.41 M parameters at width 64.

    No code is public. The abstract says that a shared component has two parallel branches, one for each kind of
    supervision, at little extra cost; which layers these are, and that the strong branch alone predicts, is our
    reading.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        settings: See `models.dgmsnet.deeplab.image_encoder`.

    Attributes:
        strides: Pixels a cell of the low-level and of the high-level features.
    """

    def __init__(self, *, in_channels: int, num_classes: int, **settings: Unpack[EncoderSettings]) -> None:
        super().__init__()
        self.encoder = image_encoder(in_channels=in_channels, **settings)
        self.strides = self.encoder.strides
        channels = self.encoder.high_channels
        self.neck = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.strong, self.weak = (Decoder(self.encoder, out_channels=num_classes) for _ in range(2))

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used. The weak decoder works in training alone."""
        low, high = self.encoder(image)
        shared, size = self.neck(high), image.shape[2:]
        weak = self.weak(low, shared, size) if self.training else None
        return Prediction(logits=self.strong(low, shared, size), second=weak)
