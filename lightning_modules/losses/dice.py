"""Soft Dice of the structures, as MONAI computes it."""

from jaxtyping import Float
from monai.losses.dice import DiceLoss
from torch import Tensor
from torch.nn import functional as F

from datamodules.batch import SpineBatch
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.term import Term
from models.prediction import Prediction


class Dice(Term):
    """One minus the soft Dice of every structure over the batch, averaged (Milletari et al. 2016).

    Over the batch, as nnU-Net: most slices lack some structure, and the Dice of what is nowhere teaches nothing.

    Args:
        smooth: Added to numerator and denominator, in pixels.
        weight: See `Term`.
        part: See `Term`.
    """

    def __init__(self, smooth: float = 1.0, weight: float = 1.0, part: str | None = None) -> None:
        super().__init__(weight=weight, part=part)
        self._loss = DiceLoss(include_background=False, batch=True, smooth_nr=smooth, smooth_dr=smooth)

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Mean over the structures; of a case whose annotator did not draw a structure, that one does not count."""
        if not bool(batch.has_mask.any()):
            return prediction.logits.new_zeros(())
        scores = merge_unlabelled(prediction.logits, batch.labelled)[batch.has_mask]
        one_hot = F.one_hot(batch.mask[batch.has_mask], scores.shape[1]).movedim(-1, 1)
        return self._loss(scores.float().softmax(dim=1), one_hot.to(scores.device))
