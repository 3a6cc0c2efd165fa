"""Cross-entropy with masks that are made of key points (SWDN, Luo and Yang 2020; reconstructed)."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor
from torch.nn import functional as F

from datamodules.batch import SpineBatch
from lightning_modules.losses.ellipses import column_of, mean_shapes, radii
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.term import Term
from models.prediction import Prediction

IGNORED = -100


class WeakMasks(Term):
    """Teaches a second decoder by ellipses of the mean shape of each structure, in slices with key points alone.

    The paper makes weak masks of image-level tags, by a method that was not published with it; ours are made of what
    is at hand here. The ellipses have the second moments of the masks of the training patients, relative to the line
    through the neighbouring key points and to their distance, and are drawn for each batch where augmentation has moved
    the key points. Near a border, and where nothing is known, a pixel teaches nothing.

    Args:
        structures: Names in class order.
        keypoints: Names in order.
        series: See `datamodules.anatomy.Anatomy`.
        ring: Width of what is ignored on either side of a border, in half-axes.
        background_from: Half-axes from which on a pixel, beyond all ellipses, is background.
        weight: See `Term`.
        part: See `Term`.

    Raises:
        ValueError: If the anatomy has no column of key points, or a number is out of range.
    """

    wants_masks = True

    def __init__(
        self,
        structures: Sequence[str],
        keypoints: Sequence[str],
        series: Mapping[str, Sequence[str]],
        ring: float = 0.25,
        background_from: float = 2.0,
        weight: float = 1.0,
        part: str | None = None,
    ) -> None:
        super().__init__(weight=weight, part=part)
        if not 0 <= ring < 1 or background_from < 1:
            raise ValueError(
                f"weak masks: ring is {ring} and background_from {background_from}, expected 0 <= ring < 1 <= "
                "background_from, in half-axes"
            )
        self.column = column_of(structures, keypoints, series)
        self.ring, self.background_from = ring, background_from
        self.shapes: Float[Tensor, "k 2 2"] | None = None

    def see_masks(
        self, masks: Integer[Tensor, "s h w"], keypoints: Float[Tensor, "s k 2"], spacing_mm: Float[Tensor, " 2"]
    ) -> None:
        """Takes the mean shape of every structure.

        Raises:
            ValueError: If nobody's mask has one of them.
        """
        self.shapes = mean_shapes(masks, keypoints[:, self.column.points].float(), self.column.classes, spacing_mm)
        missing = [name for name, shape in zip(self.column.names, self.shapes, strict=True) if shape.isnan().any()]
        if missing:
            raise ValueError(
                f"weak masks: no training mask has {', '.join(missing)}, so that their shape is unknown; choose an "
                "anatomy of what is drawn (anatomy=vertebrae5), or more patients with masks"
            )

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Mean over the pixels that are known, weighted by class; zero where no slice has key points alone."""
        if prediction.second is None:
            raise ValueError(
                "the objective has weak masks, but this network has no second decoder: take the term out "
                "(objective.terms.weak=null), or choose model=swdn"
            )
        target = self.targets(batch)
        log_probability = merge_unlabelled(prediction.second, batch.labelled).float().log_softmax(dim=1)
        total = F.nll_loss(log_probability, target, class_weights, ignore_index=IGNORED, reduction="sum")
        mass = class_weights[target.clamp(min=0)][target != IGNORED].sum()
        return total / mass.clamp(min=torch.finfo(mass.dtype).tiny)

    def targets(self, batch: SpineBatch) -> Int[Tensor, "b h w"]:
        """Class of every pixel, by key points; -100 where it is not known, and in slices that have a mask.

        Raises:
            ValueError: If the shapes were never seen.
        """
        if self.shapes is None:
            raise ValueError("weak masks: the shapes of a training set have to be seen first (Objective.see_masks)")
        points_mm = batch.keypoints[:, self.column.points].float() * batch.spacing_mm.flip(1)[:, None]
        out = radii(points_mm, self.shapes.to(points_mm), batch.mask.shape[1:], batch.spacing_mm)
        far = (out >= self.background_from).all(dim=1) & out.isfinite().flatten(1).any(dim=1)[:, None, None]
        target = torch.where(far, 0, IGNORED)
        for vertebra in (False, True):  # a vertebra lies over a disc
            for number, label in enumerate(self.column.classes):
                if self.column.is_vertebra[number] == vertebra:
                    target = torch.where(out[:, number] <= 1 - self.ring, label, target)
        weak = batch.has_keypoints & ~batch.has_mask
        return target.masked_fill(~weak[:, None, None], IGNORED)
