"""Two paths, one that segments and one that recognises key points and helps it: DGMSNet, and SCAR-Net on top of it."""

from collections.abc import Callable, Sequence

from jaxtyping import Float, Int
from torch import Tensor, nn

from models.dgmsnet.deeplab import Decoder, Encoder
from models.dgmsnet.fusion import Fusion
from models.prediction import Prediction


class TwoPathNetwork(nn.Module):
    """Segmentation path and recognition path, joined at their high-level features.

    With high-level features F_S and F_R of the two encoders, the segmentation decoder sees
    `fusion(F_S, adapter(F_S, F_R))`; the recognition decoder sees F_R alone. So the loss of the heat maps trains the
    recognition path only, and the loss of the masks trains everything but the recognition decoder: key points help the
    masks through the recognition encoder, never the other way round by a short cut. The gradient of the masks in that
    encoder is fifty times and more that of the key points; `masks_train_recognition` false keeps it out.

    10.35 M parameters at width 64 with the dynamic kernel and the sum (DGMSNet, Pang et al. 2022), 10.47 M with
    multi-channel cross attention (SCAR-Net, Lei et al.), for ten key points and eleven classes.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        keypoints: Names of the key points, a heat map each.
        adapter: Builds what brings the recognition feature to the segmentation path, from `channels`.
        fusion: Builds what joins it with the segmentation feature, from `channels`.
        width: Channels of the encoders' first residual block; 64 as published, every other layer in proportion.
        masks_train_recognition: Whether the loss of the masks reaches the recognition encoder; neither paper says.

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
        width: int = 64,
        masks_train_recognition: bool = True,
    ) -> None:
        super().__init__()
        self.masks_train_recognition = masks_train_recognition
        if not keypoints:
            raise ValueError(
                "model.keypoints is empty: this network recognises key points and the anatomy has none; choose one "
                "with key points (anatomy=sagittal10, vertebrae5), or add them to its file"
            )
        self.segmentation_encoder = Encoder(in_channels=in_channels, width=width)
        self.recognition_encoder = Encoder(in_channels=in_channels, width=width)
        channels = self.segmentation_encoder.high_channels
        self.adapter = adapter(channels=channels)
        self.fusion = fusion(channels=channels)
        sizes = {
            "low_channels": self.segmentation_encoder.low_channels,
            "high_channels": channels,
            "width": width,
        }
        self.segmentation_decoder = Decoder(out_channels=num_classes, **sizes)
        self.recognition_decoder = Decoder(out_channels=len(keypoints), **sizes)
        # Heat maps are nearly all zero. From random ones, training first silences the noise and its features with it,
        # and needs twice the steps to find the peaks.
        nn.init.zeros_(self.recognition_decoder.head.weight)
        assert self.recognition_decoder.head.bias is not None
        nn.init.zeros_(self.recognition_decoder.head.bias)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments and recognises; annotated `boxes` are not used."""
        segmented, recognised = self.segmentation_encoder(image), self.recognition_encoder(image)
        delivered = recognised.high if self.masks_train_recognition else recognised.high.detach()
        fused = self.fusion(segmented.high, self.adapter(segmented.high, delivered))
        size = image.shape[2:]
        heatmaps = self.recognition_decoder(recognised.low, recognised.high, size)
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
