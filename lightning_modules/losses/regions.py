"""Losses of overlapping regions: Dice and focal (Baur et al. 2021)."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from monai.losses.dice import DiceLoss
from monai.losses.focal_loss import FocalLoss
from torch import Tensor
from torch.nn import functional as F

from datamodules.batch import SpineBatch
from lightning_modules.losses.term import Term
from models.prediction import Prediction
from models.region_unet import membership

COMBINATIONS = ("sum", "focal_dice")


class RegionDiceFocal(Term):
    """Dice and focal loss of each region's sigmoid; the paper names both and cites a loss that is neither's sum.

    Args:
        structures: Names of the classes, in order, without background.
        regions: Named unions of structures.
        outputs: Names of the network's regions, in order.
        combination: "sum" adds soft Dice and focal loss; "focal_dice" is the cited focal Dice loss,
            1 - Dice^(1 / beta).
        gamma: Of the focal loss.
        beta: Of the focal Dice loss, 1 or more.
        weight: See `Term`.
        part: See `Term`.

    Raises:
        ValueError: On an unknown combination, a beta below 1 or an unknown region.
    """

    def __init__(
        self,
        *,
        structures: Sequence[str],
        regions: Mapping[str, Sequence[str]],
        outputs: Sequence[str],
        combination: str = "sum",
        gamma: float | int = 2.0,
        beta: float | int = 2.0,
        weight: float = 1.0,
        part: str | None = None,
    ) -> None:
        super().__init__(weight=weight, part=part)
        if combination not in COMBINATIONS:
            raise ValueError(f"region loss: combination is {combination!r}, expected one of {', '.join(COMBINATIONS)}")
        if beta < 1:
            raise ValueError(f"region loss: beta is {beta}, expected 1 (plain Dice) or more")
        self.combination, self.beta = combination, float(beta)
        self.membership = membership(structures, regions, outputs)
        self.dice = DiceLoss(sigmoid=True, reduction="none")
        self.focal = FocalLoss(gamma=float(gamma), reduction="none")

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Mean over the regions of the cases whose annotator drew all structures of the region."""
        if prediction.regions is None:
            raise ValueError("the objective has a region term, but this network predicts no regions: take the term out")
        members = self.membership.to(prediction.regions.device)
        one_hot = F.one_hot(batch.mask, members.shape[0]).float()
        target = (one_hot @ members).movedim(-1, 1)
        known = batch.has_mask[:, None] & ~((~batch.labelled).float() @ members > 0)
        scores = prediction.regions.float()
        dice_error = self.dice(scores, target).flatten(2).mean(dim=2)
        if self.combination == "focal_dice":
            values = 1 - (1 - dice_error).clamp(min=1e-6).pow(1 / self.beta)
        else:
            values = dice_error + self.focal(scores, target).flatten(2).mean(dim=2)
        return (values * known).sum() / torch.clamp(known.sum(), min=1)
