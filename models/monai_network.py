"""Networks as MONAI builds them, with what every network here takes, returns and says of itself."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, log2

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.prediction import Prediction
from models.strides import Strides
from models.unet import check_size


class MonaiNetwork(nn.Module):
    """A network of `monai.networks.nets`, in two dimensions, whose decoder joins features at full resolution.

    Heads under deep supervision are read where MONAI returns them: those of `DynUNet` in one tensor, enlarged to the
    full grid without interpolation (a loss on them is that on shares of classes in the cells of their own grid), those
    of `BasicUNetPlusPlus` in a list, the deepest path last. Outside of training there are none.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes, background among them.
        width: Channels of the finest stage.
        network: Builds the network from `in_channels`, `out_channels` and the arguments of `in_widths`.
        in_widths: Arguments of the network that are numbers of channels, in multiples of `width`: a number or a list.
        multiple: Channels are rounded up to multiples of this, which heads or groups can share out.
        bottleneck_stride: Pixels of the image, along a side, that a cell of the deepest features stands for.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        width: int = 64,
        network: Callable[..., nn.Module],
        in_widths: Mapping[str, float | int | Sequence[float | int]],
        multiple: int = 1,
        bottleneck_stride: int = 16,
    ) -> None:
        super().__init__()

        def channels(widths: float | int | Sequence[float | int]) -> int | list[int]:
            if isinstance(widths, int | float):
                return multiple * ceil(widths * width / multiple)
            return [multiple * ceil(each * width / multiple) for each in widths]

        given = {name: channels(widths) for name, widths in in_widths.items()}
        self.network = network(in_channels=in_channels, out_channels=num_classes, **given)
        self.strides = Strides(1, bottleneck_stride)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used.

        Raises:
            ValueError: If height or width cannot be halved as often as the network does.
        """
        check_size(image, num_stages=1 + int(log2(self.strides.bottleneck)), has_depth=False)
        logits, *deep = _finest_first(self.network(image))
        _let_go(self.network)
        return Prediction(logits=logits, deep=tuple(deep) if self.training else ())


def _finest_first(outputs: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    """The outputs of a network of MONAI's, each "b c h w"; that of the whole network first."""
    if isinstance(outputs, Tensor):
        return outputs.unbind(dim=1) if outputs.ndim == 5 else [outputs]
    return outputs[::-1]


def _let_go(network: nn.Module) -> None:
    """Empties the list in which `DynUNet` keeps what its heads said, with all that it was computed from.

    It could not be copied, and would hold memory until the next step.
    """
    kept = getattr(network, "heads", None)
    if isinstance(kept, list):
        kept[:] = [torch.zeros(1)] * len(kept)
