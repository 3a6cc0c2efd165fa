"""From the detections of a slice, each with a mask of its own, to one mask."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def best_of_each_class(labels: Int[Tensor, " o"], scores: Float[Tensor, " o"]) -> Int[Tensor, " k"]:
    """Positions of the best-scoring detection of each class that was detected, best first."""
    order = scores.argsort(descending=True, stable=True)
    earlier = (labels[order][:, None] == labels[order][None, :]).tril(diagonal=-1).any(dim=1)
    return order[~earlier]


def assemble(
    masks: Float[Tensor, "k h w"], classes: Int[Tensor, " k"], num_classes: int, threshold: float = 0.5
) -> Float[Tensor, "c h w"]:
    """One distribution over the classes at each pixel, whose likeliest class is the assembled mask.

    A pixel belongs to the first of the masks that exceed the threshold there, and to the background where none does.
    The masks are laid over each other like veils, the first on top: what one leaves, the next may take, the background
    gets the rest. So a single mask keeps its outline between pixels when the distribution is resampled, and where
    organs touch no seam opens. Before that, what could outvote the pixel's owner is taken out: where a mask exceeds the
    threshold, those before it; where none does, all but the strongest.

    Args:
        masks: Probability of each detection at every pixel, best detection first.
        classes: Their classes, each at most once.
        num_classes: Classes with background.
        threshold: Of the masks; a half, or the outline of a single mask would move.
    """
    probabilities = masks.new_zeros((num_classes, *masks.shape[1:]))
    if not len(masks):
        probabilities[0] = 1
        return probabilities
    above = masks > threshold
    rank = torch.arange(len(masks), device=masks.device)[:, None, None]
    kept = torch.where(above.any(dim=0), rank >= above.int().argmax(dim=0), rank == masks.argmax(dim=0))
    veils = masks * kept
    left = (1 - veils).cumprod(dim=0)
    probabilities[classes] = veils * torch.cat([torch.ones_like(left[:1]), left[:-1]])
    probabilities[0] = left[-1]
    return probabilities
