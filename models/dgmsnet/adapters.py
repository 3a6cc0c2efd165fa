"""What the recognition path delivers to the segmentation path."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.dgmsnet.separable import PointwiseConvolution


class DirectAdapter(nn.Module):
    """The recognition feature as it is: the baseline without an adapter."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()

    def forward(
        self,
        segmentation: Float[Tensor, "b c h w"],
        recognition: Float[Tensor, "b c h w"],
        heatmaps: Float[Tensor, "b k h_i w_i"],
    ) -> Float[Tensor, "b c h w"]:
        """Returns the recognition feature; the others are not used."""
        return recognition


class DynamicKernelAdapter(nn.Module):
    """The segmentation feature, filtered by kernels that the recognition feature of the same slice dictates.

    F' = V(theta * U(F)) with U a 1 x 1 convolution, V a 1 x 1 convolution with batch normalisation and ReLU, and theta
    one kernel for each slice and channel: the recognition feature, averaged to the kernel's size, through a 1 x 1
    convolution (DGMSNet's detection-guided learner; SCAR-Net, section 3.2, 7 x 7 x 128).

    The side counts cells and not millimetres, as the paper's 7 x 7 is a number of parameters: 78 mm on the paper's
    cells of 11.2 mm, 98 mm on the 14 mm of the small preset, a factor of 1.25.

    Args:
        channels: Of both features.
        kernel_size: Side of theta in cells, odd.

    Raises:
        ValueError: On an even kernel size.
    """

    def __init__(self, *, channels: int, kernel_size: int = 7) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"model.adapter.kernel_size is {kernel_size}, expected an odd number such as 7")
        self.theta = nn.Sequential(nn.AdaptiveAvgPool2d(kernel_size), nn.Conv2d(channels, channels, kernel_size=1))
        self.u = nn.Conv2d(channels, channels, kernel_size=1)
        self.v = PointwiseConvolution(channels, channels)

    def forward(
        self,
        segmentation: Float[Tensor, "b c h w"],
        recognition: Float[Tensor, "b c h w"],
        heatmaps: Float[Tensor, "b k h_i w_i"],
    ) -> Float[Tensor, "b c h w"]:
        """Returns the filtered segmentation feature; `heatmaps` are not used."""
        return self.v(filter_by_slice(self.u(segmentation), self.theta(recognition)))


def filter_by_slice(features: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c h w"]:
    """Correlates every channel of every slice with a kernel of its own, zeros beyond the border.

    The batch is folded into the channels, so that it is one grouped convolution and no loop over slices.
    """
    groups, side = features.shape[0] * features.shape[1], kernels.shape[-1]
    folded = features.reshape(1, groups, *features.shape[2:])
    filtered = F.conv2d(folded, kernels.reshape(groups, 1, side, side), padding=side // 2, groups=groups)
    return filtered.reshape(features.shape)
