"""Soft Dice of the structures, as MONAI computes it."""

from jaxtyping import Float
from monai.losses.dice import DiceLoss
from torch import Tensor
from torch.nn import functional as F

from datamodules.batch import SpineBatch
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.segmentation import class_shares
from lightning_modules.losses.term import Term
from models.prediction import Prediction


class Dice(Term):
    """One minus the soft Dice of every structure over the batch, averaged (Milletari et al. 2016).

    Over the batch, as nnU-Net: most slices lack some structure, and the Dice of what is nowhere teaches nothing.

    With `CrossEntropy` it is the loss that nnU-Net trains with. It is not MONAI's `DiceCELoss` as a whole, since that
    knows neither classes that nobody drew in a case (merged into the background here before the softmax) nor cases
    without a mask nor heads on coarser grids; what is done once these are seen to is MONAI's `DiceLoss`.

    Args:
        source: Field of `Prediction` that is compared with the mask.
        smooth: Added to numerator and denominator, in pixels.
        weight: See `Term`.
        part: See `Term`.
    """

    def __init__(
        self, smooth: float = 1.0, weight: float = 1.0, part: str | None = None, source: str = "logits"
    ) -> None:
        super().__init__(weight=weight, part=part)
        self.source = source
        self._loss = DiceLoss(include_background=False, batch=True, smooth_nr=smooth, smooth_dr=smooth)

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Mean over the structures; of a case whose annotator did not draw a structure, that one does not count.

        Scores on a coarser grid than the mask's are compared with the share of each class in a cell.
        """
        if not bool(batch.has_mask.any()):
            return prediction.logits.new_zeros(())
        scores = merge_unlabelled(getattr(prediction, self.source), batch.labelled)[batch.has_mask]
        mask = batch.mask[batch.has_mask]
        if scores.shape[2:] == mask.shape[1:]:
            target = F.one_hot(mask, scores.shape[1]).movedim(-1, 1)
        else:
            target = class_shares(mask, scores.shape[1], scores.shape[2:], nearest=False)
        return self._loss(scores.float().softmax(dim=1), target.to(scores.device))
