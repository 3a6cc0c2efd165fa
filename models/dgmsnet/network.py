"""Two paths, one that segments and one that recognises key points and helps it: DGMSNet, and SCAR-Net on top of it."""

from collections.abc import Callable, Sequence
from typing import Unpack

from jaxtyping import Float, Int
from torch import Tensor, nn

from models.dgmsnet.deeplab import Decoder, EncoderSettings, image_encoder
from models.dgmsnet.fusion import Fusion
from models.prediction import Prediction


class TwoPathNetwork(nn.Module):
    """Segmentation path and recognition path, joined at their high-level features.

    With high-level features F_S and F_R of the two encoders and the heat maps H, the segmentation decoder sees
    `fusion(F_S, adapter(F_S, F_R, H))`; the recognition decoder sees F_R alone, and no gradient comes back through H.
    So the loss of the heat maps trains the recognition path only, and the loss of the masks trains everything but the
    recognition decoder: key points help the masks through the recognition encoder, never the other way round by a short
    cut. The gradient of the masks in that encoder is fifty times and more that of the key points;
    `masks_train_recognition` false keeps it out.

    10.35 M parameters at width 64 with the dynamic kernel and the sum (DGMSNet, Pang et al. 2022), 10.47 M with
    multi-channel cross attention (SCAR-Net, Lei et al.), for ten key points and eleven classes.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        keypoints: Names of the key points, a heat map each.
        adapter: Builds what brings the recognition path to the segmentation path, from `channels`; called with both
            features and the heat maps, these at the image's size and detached.
        fusion: Builds what joins it with the segmentation feature, from `channels`.
        masks_train_recognition: Whether the loss of the masks reaches the recognition encoder, as in DGMSNet's public
            code, which does not detach.
        settings: Of both encoders; see `models.dgmsnet.deeplab.image_encoder`.

    Attributes:
        strides: Pixels a cell of the low-level and of the high-level features.

    Raises:
        ValueError: If there are no key points to recognise.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        keypoints: Sequence[str],
        adapter: Callable[..., nn.Module],
        fusion: Callable[..., Fusion],
        masks_train_recognition: bool = True,
        **settings: Unpack[EncoderSettings],
    ) -> None:
        super().__init__()
        self.masks_train_recognition = masks_train_recognition
        if not keypoints:
            raise ValueError(
                "model.keypoints is empty: this network recognises key points and the anatomy has none; choose one "
                "with key points (anatomy=sagittal10, vertebrae5), or add them to its file"
            )
        self.segmentation_encoder, self.recognition_encoder = (
            image_encoder(in_channels=in_channels, **settings) for _ in range(2)
        )
        self.strides = self.segmentation_encoder.strides
        channels = self.segmentation_encoder.high_channels
        self.adapter = adapter(channels=channels)
        self.fusion = fusion(channels=channels)
        self.segmentation_decoder = Decoder(self.segmentation_encoder, out_channels=num_classes)
        self.recognition_decoder = Decoder(self.recognition_encoder, out_channels=len(keypoints))
        # Heat maps are nearly all zero. From random ones, training first silences the noise and its features with it,
        # and needs twice the steps to find the peaks.
        nn.init.zeros_(self.recognition_decoder.head.weight)
        assert self.recognition_decoder.head.bias is not None
        nn.init.zeros_(self.recognition_decoder.head.bias)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments and recognises; annotated `boxes` are not used."""
        segmented, recognised = self.segmentation_encoder(image), self.recognition_encoder(image)
        size = image.shape[2:]
        heatmaps = self.recognition_decoder(recognised.low, recognised.high, size)
        taught = recognised.high if self.masks_train_recognition else recognised.high.detach()
        fused = self.fusion(segmented.high, self.adapter(segmented.high, taught, heatmaps.detach()))
        attention = None
        if not self.training:
            attention = self.fusion.attention_at(segmented.high, cells_of_peaks(heatmaps, segmented.high.shape[2:]))
        return Prediction(
            logits=self.segmentation_decoder(segmented.low, fused, size), heatmaps=heatmaps, attention=attention
        )


def cells_of_peaks(heatmaps: Float[Tensor, "b k h w"], grid: Sequence[int]) -> Int[Tensor, "b k"]:
    """The cell that holds the peak of each heat map, row by row, on a coarser `grid` (rows, columns) of the field."""
    height, width = heatmaps.shape[2:]
    peak = heatmaps.flatten(2).argmax(dim=2)
    row, column = peak // width * grid[0] // height, peak % width * grid[1] // width
    return row * grid[1] + column
