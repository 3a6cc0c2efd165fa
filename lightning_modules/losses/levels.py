"""A term on the mask and on the coarser outputs beside it, as nnU-Net weighs them."""

from jaxtyping import Float
from torch import Tensor

from datamodules.batch import SpineBatch
from lightning_modules.losses.term import Term
from models.prediction import Prediction
from models.strides import Strides


class EveryLevel(Term):
    """Mean of another term over the logits and the heads under deep supervision, finest first.

    Weights are `decay` to the power of the level, divided by their sum: with a half, those of nnU-Net (Isensee et al.
    2021; it gives its coarsest head none, so a network has one head fewer here). A network without heads has the term
    itself. Unlike `DeepSupervision`, which adds coarse masks to a loss that stays as it is, the total keeps its size.

    Args:
        term: A term that reads `Prediction.logits`.
        decay: Weight of a level as a share of that of the next finer one, above 0; 1 weighs all the same.
        weight: See `Term`.

    Raises:
        ValueError: If `decay` is not above 0 and at most 1.
    """

    def __init__(self, term: Term, decay: float = 0.5, weight: float = 1.0) -> None:
        super().__init__(weight=weight, part=term.part)
        if not 0 < decay <= 1:
            raise ValueError(f"every level: decay is {decay:g}, expected a share above 0 and at most 1")
        self.term, self.decay = term, decay

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Weighted mean over the levels."""
        levels = (prediction.logits, *prediction.deep)
        weights = [self.decay**level for level in range(len(levels))]
        total = prediction.logits.new_zeros(())
        for weight, scores in zip(weights, levels, strict=True):
            total = total + weight * self.term(prediction._replace(logits=scores), batch, class_weights)
        return total / sum(weights)

    def count_classes(self, pixel_counts: Float[Tensor, " c"]) -> None:
        """Tells the term."""
        self.term.count_classes(pixel_counts)

    def see_network(self, strides: Strides) -> None:
        """Tells the term."""
        self.term.see_network(strides)
