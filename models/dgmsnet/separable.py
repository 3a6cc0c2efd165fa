"""Depthwise separable convolutions, what DGMSNet is built of."""

from torch import nn


class SeparableConvolution(nn.Sequential):
    """3 x 3 convolution of each channel, then a 1 x 1 convolution across channels, batch normalisation after both.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        stride: Of the 3 x 3 convolution; the size is divided by it, rounded up.
        dilation: Of the 3 x 3 convolution.
        rectify: Whether a ReLU follows each normalisation, as in pyramid and decoders; blocks of the encoder have
            theirs in front.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1, rectify: bool = False
    ) -> None:
        depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size=3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            groups=in_channels,
            bias=False,
        )
        pointwise = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        layers: list[nn.Module] = []
        for convolution, channels in ((depthwise, in_channels), (pointwise, out_channels)):
            layers += [convolution, nn.BatchNorm2d(channels)]
            if rectify:
                layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class PointwiseConvolution(nn.Sequential):
    """1 x 1 convolution, batch normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )
