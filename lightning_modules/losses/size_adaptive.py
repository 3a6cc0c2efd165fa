"""The size-adaptive loss of the MSFF paper (Zhang et al. 2023, section 2.4)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from datamodules.batch import SpineBatch
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.term import Term
from models.prediction import Prediction

SIZES = ("image", "batch", "training_set", "foreground")
BACKGROUNDS = ("weighted", "one", "ignored")


class SizeAdaptive(Term):
    """Cross-entropy in which a pixel of class c counts (1 - S_c)^alpha: large structures count less (equation 3).

    Args:
        alpha: 0 is cross-entropy; 1 is the paper's best.
        size: What S_c, "the area of class c", is: its share of the "image", the same of all images of the "batch",
            its share of the pixels of the "training_set", or its share of the "foreground" of the image, where
            structures differ more. Background is always a share of the image, or all but its weight would be zero.
        background: The paper sums over its seven structures; "ignored" takes that literally and lets a network colour
            the background as it likes. "weighted" treats background as a class; "one" as cross-entropy does.
        weight: See `Term`.
        part: See `Term`.

    Raises:
        ValueError: On a negative alpha or an unknown reading.
    """

    def __init__(
        self,
        alpha: float | int = 1.0,
        size: str = "image",
        background: str = "one",
        weight: float = 1.0,
        part: str | None = None,
    ) -> None:
        super().__init__(weight=weight, part=part)
        for name, value, known in (("size", size, SIZES), ("background", background, BACKGROUNDS)):
            if value not in known:
                raise ValueError(f"size-adaptive loss: {name} is {value!r}, expected one of {', '.join(known)}")
        if alpha < 0:
            raise ValueError(f"size-adaptive loss: alpha is {alpha}, expected 0 (cross-entropy) or more")
        self.alpha, self.size, self.background = float(alpha), size, background
        self.training_shares: Float[Tensor, " c"] | None = None

    def count_classes(self, pixel_counts: Float[Tensor, " c"]) -> None:
        """Keeps the share of every class in the training set."""
        self.training_shares = pixel_counts / pixel_counts.sum().clamp(min=1)

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Sum over the pixels of the cases with a mask, divided by their number (by their class weights, if any)."""
        log_probability = merge_unlabelled(prediction.logits, batch.labelled).float().log_softmax(dim=1)
        error = -log_probability.gather(1, batch.mask[:, None])[:, 0]
        counted = class_weights[batch.mask] * batch.has_mask[:, None, None]
        factor = self.class_factors(batch, log_probability.shape[1])
        of_pixel = factor.gather(1, batch.mask.flatten(1)).view_as(error)
        return (counted * of_pixel * error).sum() / counted.sum().clamp(min=torch.finfo(counted.dtype).tiny)

    def class_factors(self, batch: SpineBatch, num_classes: int) -> Float[Tensor, "b c"]:
        """(1 - S_c)^alpha of each case.

        Raises:
            ValueError: If the shares of the training set were never counted.
        """
        counts = F.one_hot(batch.mask.flatten(1), num_classes).sum(dim=1).float()
        shares = counts / counts.sum(dim=1, keepdim=True)
        if self.size == "batch":
            shares = shares[batch.has_mask].mean(dim=0).nan_to_num().expand_as(shares)
        elif self.size == "training_set":
            if self.training_shares is None:
                raise ValueError("size-adaptive loss: size=training_set needs the classes of a training set counted")
            shares = self.training_shares.to(shares).expand_as(shares)
        elif self.size == "foreground":
            foreground = counts[:, 1:].sum(dim=1, keepdim=True).clamp(min=1)
            shares = torch.cat([shares[:, :1], counts[:, 1:] / foreground], dim=1)
        factors = (1 - shares).pow(self.alpha)
        if self.background == "weighted":
            return factors
        constant = 1.0 if self.background == "one" else 0.0
        return torch.cat([torch.full_like(factors[:, :1], constant), factors[:, 1:]], dim=1)
