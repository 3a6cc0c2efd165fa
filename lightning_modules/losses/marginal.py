"""Scores of partially labelled cases: background and every unlabelled class are one class there."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# exp(-1e4) is 0 in every floating-point type, and 0 x -1e4 is 0 where 0 x -inf would be NaN.
IMPOSSIBLE = -1e4


def merge_unlabelled(scores: Float[Tensor, "b c *grid"], labelled: Bool[Tensor, "b c"]) -> Float[Tensor, "b c *grid"]:
    """Adds the probability of unlabelled classes to the background's; their own becomes zero.

    Where an annotator drew only some classes, a pixel without a label is background *or* an unlabelled class.

    Args:
        scores: Logits, background first.
        labelled: Which classes were drawn in each case; column 0 is True.

    Returns:
        Logits whose softmax is the merged distribution.
    """
    if bool(labelled.all()):
        return scores
    drawn = labelled.view(*labelled.shape, *[1] * (scores.ndim - 2))
    undrawn = scores.masked_fill(drawn, IMPOSSIBLE)
    background = torch.logsumexp(torch.cat([scores[:, :1], undrawn[:, 1:]], dim=1), dim=1, keepdim=True)
    return torch.cat([background, scores[:, 1:].masked_fill(~drawn[:, 1:], IMPOSSIBLE)], dim=1)
