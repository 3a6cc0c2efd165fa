"""The contract of a loss term."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Integer
from torch import Tensor

from datamodules.batch import SpineBatch
from models.prediction import Prediction
from models.strides import Strides


class Term(ABC):
    """One term of an objective; masks itself by what is labelled in each case.

    Args:
        weight: Factor in the weighted total.
        part: Part of the network that the term trains, or None where the network has no parts.

    Attributes:
        wants_masks: Whether `see_masks` has to be told before training.
    """

    wants_masks: bool = False

    def __init__(self, *, weight: float = 1.0, part: str | None = None) -> None:
        self.weight, self.part = weight, part

    @abstractmethod
    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Returns the unweighted term; zero where no case of the batch has what it needs."""

    def count_classes(self, pixel_counts: Float[Tensor, " c"]) -> None:
        """Told the labelled pixels of every class in the training set before training begins."""
        return

    def see_masks(
        self, masks: Integer[Tensor, "s h w"], keypoints: Float[Tensor, "s k 2"], spacing_mm: Float[Tensor, " 2"]
    ) -> None:
        """Told the training slices that have masks, before training begins, if the term wants them.

        Args:
            masks: Class of every pixel.
            keypoints: (x, y) in pixels, NaN where not visible.
            spacing_mm: Size of a pixel, (row, column).
        """
        return

    def see_network(self, strides: Strides) -> None:
        """Told how coarse the features of the network are, before training begins."""
        return
