"""Cross-entropy between predicted and annotated masks, on any grid, for fully and partially labelled cases."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from datamodules.batch import SpineBatch
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.term import Term
from models.prediction import Prediction


class CrossEntropy(Term):
    """Cross-entropy of one output of the network.

    Args:
        source: Field of `Prediction` that is compared with the mask.
        resize: What happens where the output is coarser than the mask: "average" compares with the share of each class
            in a cell (a lamina of half a cell still counts), "nearest" with the label at its centre (the literal
            reading), "upsample" resizes the scores instead.
        weight: See `Term`.
        part: See `Term`.
    """

    def __init__(
        self, source: str = "logits", resize: str = "average", weight: float = 1.0, part: str | None = None
    ) -> None:
        super().__init__(weight=weight, part=part)
        _check_resize(resize)
        self.source, self.resize = source, resize

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Mean over the labelled pixels of the batch, weighted by class."""
        scores = getattr(prediction, self.source)
        if scores is None:
            raise ValueError(
                f"the objective has a cross-entropy on {self.source!r}, which this network does not predict: "
                f"take the term out (objective.terms.NAME=null) or choose a network that has it"
            )
        return mask_cross_entropy(scores, batch, class_weights, self.resize)


class DeepSupervision(Term):
    """Cross-entropy of the coarser decoder stages (BS-ESNet, section 2.2; no weights are published).

    Args:
        weighting: "exponential" halves the weight from each stage to the next coarser one, starting at a half;
            "same" gives all of them one.
        resize: As in `CrossEntropy`.
        weight: See `Term`.
        part: See `Term`.
    """

    def __init__(
        self,
        weighting: str = "exponential",
        resize: str = "average",
        weight: float = 1.0,
        part: str | None = None,
    ) -> None:
        super().__init__(weight=weight, part=part)
        _check_resize(resize)
        if weighting not in ("exponential", "same"):
            raise ValueError(f"deep supervision: weighting is {weighting!r}, expected exponential or same")
        self.decay = 0.5 if weighting == "exponential" else 1.0
        self.resize = resize

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Weighted sum over the stages; zero for a network that has none."""
        total = prediction.logits.new_zeros(())
        for step, scores in enumerate(prediction.deep, start=1):
            total = total + self.decay**step * mask_cross_entropy(scores, batch, class_weights, self.resize)
        return total


def mask_cross_entropy(
    scores: Float[Tensor, "b c h_s w_s"], batch: SpineBatch, class_weights: Float[Tensor, " c"], resize: str
) -> Float[Tensor, ""]:
    """Class-weighted mean cross-entropy over the pixels of the cases that have a mask."""
    if resize == "upsample" and scores.shape[2:] != batch.mask.shape[1:]:
        scores = F.interpolate(scores, batch.mask.shape[1:], mode="bilinear", align_corners=False)
    log_probability = merge_unlabelled(scores, batch.labelled).float().log_softmax(dim=1)
    if scores.shape[2:] == batch.mask.shape[1:]:
        target = batch.mask.masked_fill(~batch.has_mask[:, None, None], -100)
        total = F.nll_loss(log_probability, target, class_weights, ignore_index=-100, reduction="sum")
        mass = class_weights[batch.mask][batch.has_mask].sum()
        return total / mass.clamp(min=torch.finfo(mass.dtype).tiny)
    target = class_shares(batch.mask, scores.shape[1], scores.shape[2:], nearest=resize == "nearest")
    target = target * class_weights[:, None, None] * batch.has_mask[:, None, None, None]
    return -(target * log_probability).sum() / target.sum().clamp(min=torch.finfo(target.dtype).tiny)


def class_shares(mask: Tensor, num_classes: int, size: torch.Size, *, nearest: bool) -> Float[Tensor, "b c h_s w_s"]:
    """Share of every class in the cells of a coarser grid; with `nearest`, the class at the cell's centre alone."""
    if nearest:
        mask = F.interpolate(mask[:, None].float(), size, mode="nearest-exact")[:, 0].long()
    one_hot = F.one_hot(mask, num_classes).movedim(-1, 1).float()
    return one_hot if nearest else F.adaptive_avg_pool2d(one_hot, (size[0], size[1]))


def inverse_root_frequency(pixel_counts: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    """Class weights 1 / sqrt(frequency), scaled to a mean of one over the classes that occur.

    A class that never occurs has the weight of the background, whose pixels its own are among.
    """
    occurs: Bool[Tensor, " c"] = pixel_counts > 0
    weights = (pixel_counts.sum() / pixel_counts.clamp(min=1)).sqrt()
    weights = weights / weights[occurs].mean()
    return torch.where(occurs, weights, weights[0])


def _check_resize(resize: str) -> None:
    if resize not in ("average", "nearest", "upsample"):
        raise ValueError(f"resize is {resize!r}, expected average, nearest or upsample")
