"""The decoder step that CE-Net introduced and the MSFF network took over."""

from torch import nn

from models.blocks.width import LEAST_CHANNELS, in_proportion


class TransposedBlock(nn.Sequential):
    """1 x 1 convolution to a quarter of the channels, 3 x 3 transposed convolution, 1 x 1 convolution: twice the side.

    Batch normalisation and ReLU follow each.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        between = max(min(in_channels, LEAST_CHANNELS), in_channels // 4)
        super().__init__(
            *(nn.Conv2d(in_channels, between, kernel_size=1), nn.BatchNorm2d(between), nn.ReLU(inplace=True)),
            nn.ConvTranspose2d(between, between, kernel_size=3, stride=2, padding=1, output_padding=1),
            *(nn.BatchNorm2d(between), nn.ReLU(inplace=True)),
            *(nn.Conv2d(between, out_channels, kernel_size=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)),
        )


class FinalHead(nn.Sequential):
    """From the stem's side to class scores at the image's: a transposed convolution, then two of 3 x 3.

    Args:
        in_channels: Channels of the last decoder step.
        num_classes: Classes with background.
        width: Of the network; at 64 the head has 32 channels.
        stem_stride: By how much the side grows. The transposed convolution is 4 x 4 at 2, as published, 3 x 3 at 1.
    """

    def __init__(self, in_channels: int, num_classes: int, *, width: int, stem_stride: int) -> None:
        between, size = in_proportion(32, width), stem_stride + 2
        super().__init__(
            nn.ConvTranspose2d(in_channels, between, kernel_size=size, stride=stem_stride, padding=1),
            nn.ReLU(inplace=True),
            *(nn.Conv2d(between, between, kernel_size=3, padding=1), nn.ReLU(inplace=True)),
            nn.Conv2d(between, num_classes, kernel_size=3, padding=1),
        )
