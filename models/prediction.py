"""What every network returns."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Prediction(NamedTuple):
    """Outputs of a segmentation network; None or () where a network has none.

    Each supervised output has a field of its own, so that a loss term names what it reads and nothing has to ask what
    the entries of a tuple mean. Sizes h_*, w_* are those of the network's own grids.

    Attributes:
        logits: Class scores on the input grid, background first.
        deep: Class scores of the decoder levels under deep supervision, finest first, on their own grids.
        preliminary: Class scores of a coarse mask that a detector works on.
        key: Class scores of an attention gate's own mask.
        boxes: (cx, cy, w, h) in 0..1 of each structure.
        saliency: Attention map in 0..1.
        gated_features: Channel mean of the absolute features before the gate that `saliency` belongs to; outside
            training alone.
        regions: Scores of regions that may overlap (overall muscle, its lean part, its fat), each for a sigmoid.
        heatmaps: Key-point heat maps on the input grid, with peaks of 1.
        attention: Where attention looks from the position of each key point's peak; sums to 1 over its grid. Outside of
            training alone.
        second: Class scores of a second decoder or network, trained beside the first; in training alone.
        areas: Scores of where each structure lies, each for a sigmoid, of a path that localises.
        embedding: A vector a pixel, for losses that compare pixels; in training alone.
    """

    logits: Float[Tensor, "b c h w"]
    deep: tuple[Float[Tensor, "b c _ _"], ...] = ()
    preliminary: Float[Tensor, "b c h_p w_p"] | None = None
    key: Float[Tensor, "b c h_k w_k"] | None = None
    boxes: Float[Tensor, "b n 4"] | None = None
    saliency: Float[Tensor, "b 1 h_s w_s"] | None = None
    gated_features: Float[Tensor, "b 1 h_s w_s"] | None = None
    regions: Float[Tensor, "b r h w"] | None = None
    heatmaps: Float[Tensor, "b k h w"] | None = None
    attention: Float[Tensor, "b k h_a w_a"] | None = None
    second: Float[Tensor, "b c h w"] | None = None
    areas: Float[Tensor, "b n h w"] | None = None
    embedding: Float[Tensor, "b e h w"] | None = None
