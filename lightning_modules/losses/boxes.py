"""Regression of organ boxes (BS-ESNet, experiment setup: smooth L1 and mean squared error combined)."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from datamodules.batch import SpineBatch
from lightning_modules.losses.term import Term
from models.prediction import Prediction


class BoxRegression(Term):
    """Smooth L1 plus squared error of (cx, cy, w, h), averaged over the organs that are labelled and present.

    Args:
        beta: Error (in 0..1 of the image side) at which smooth L1 turns from quadratic to linear. At PyTorch's default
            of 1 it would be quadratic everywhere on these coordinates, that is, half the squared error, and the sum of
            the two no more than a rescaled one.
        weight: See `Term`.
        part: See `Term`.
    """

    def __init__(self, beta: float = 0.05, weight: float = 1.0, part: str | None = None) -> None:
        super().__init__(weight=weight, part=part)
        self.beta = beta

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Zero where no organ of the batch has a box."""
        if prediction.boxes is None:
            raise ValueError("the objective has a box term, but this network predicts no boxes: take the term out")
        counted = batch.labelled[:, 1:] & batch.has_mask[:, None] & batch.boxes.isfinite().all(dim=-1)
        predicted, annotated = prediction.boxes.float()[counted], batch.boxes[counted]
        smooth = F.smooth_l1_loss(predicted, annotated, beta=self.beta, reduction="sum")
        squared = F.mse_loss(predicted, annotated, reduction="sum")
        return (smooth + squared) / (4 * counted.sum()).clamp(min=1)
