"""A loss that a training procedure computes itself."""

from jaxtyping import Float
from torch import Tensor

from datamodules.batch import SpineBatch
from lightning_modules.losses.term import Term
from models.prediction import Prediction


class OwnLoss(Term):
    """Stands in an objective, with its weight, for a loss of the same name that the module hands in."""

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Is never asked: `Objective` takes the value that was handed in."""
        raise ValueError(
            "this objective has losses that a training procedure computes itself: choose its module (module=detection, "
            "cross_pseudo, adversarial), or another objective"
        )
