"""Windows of the poolings that summarise the deepest features."""

from jaxtyping import Float
from torch import Tensor


def window_in(features: Float[Tensor, "b c h w"], side: int) -> tuple[int, int]:
    """Height and width of a window of `side` cells; no larger than the map, which it then covers as a whole."""
    height, width = features.shape[2:]
    return min(side, height), min(side, width)
