"""The decoder step that CE-Net introduced and the MSFF network took over."""

from torch import nn


class TransposedBlock(nn.Sequential):
    """1 x 1 convolution to a quarter of the channels, 3 x 3 transposed convolution, 1 x 1 convolution: twice the side.

    Batch normalisation and ReLU follow each.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        between = in_channels // 4
        super().__init__(
            *(nn.Conv2d(in_channels, between, kernel_size=1), nn.BatchNorm2d(between), nn.ReLU(inplace=True)),
            nn.ConvTranspose2d(between, between, kernel_size=3, stride=2, padding=1, output_padding=1),
            *(nn.BatchNorm2d(between), nn.ReLU(inplace=True)),
            *(nn.Conv2d(between, out_channels, kernel_size=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)),
        )


class FinalHead(nn.Sequential):
    """From half the side to class scores: a 4 x 4 transposed convolution, then two of 3 x 3."""

    def __init__(self, in_channels: int, num_classes: int, width: int = 32) -> None:
        super().__init__(
            *(nn.ConvTranspose2d(in_channels, width, kernel_size=4, stride=2, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(width, width, kernel_size=3, padding=1), nn.ReLU(inplace=True)),
            nn.Conv2d(width, num_classes, kernel_size=3, padding=1),
        )
