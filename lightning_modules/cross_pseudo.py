"""Cross pseudo supervision: each of two networks learns, on a mixture of two images, what the other sees in them."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from datamodules.batch import SpineBatch
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.segmentation import mask_cross_entropy
from lightning_modules.segmentation import SegmentationModule

NUM_BOXES = 3  # SSHSNet's public code, as the shares of the area
BOX_SHARES = (0.25, 0.5)  # of the image, of all boxes of a mask together


class CrossPseudoModule(SegmentationModule):
    """Trains a `models.cross_pseudo.CrossPseudo` (SSHSNet, stage 1; Meiyan88/SSHSNet, `train2d_semi_supervised.py`).

    Slices with masks teach both networks by the terms of the objective. Of the others the images alone count: two of
    them are mixed by boxes (CutMix), each network says what it sees in either, without gradient and in training mode,
    and the other network has to see the same in the mixture. What a network says is decided as everywhere, without the
    prior of class weights, and learned with it, as the masks are.

    The networks share nothing, so that one Adam steps both as two would; gradients are clipped for each on its own.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.clipped_apart = tuple(self.network.children())

    def losses(self, batch: SpineBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted total, and each term by name."""
        drawn = batch.has_mask
        taught = batch.where(drawn) if bool(drawn.any()) else batch
        prediction = self(taught)
        own = dict.fromkeys(("first_pseudo", "second_pseudo"), prediction.logits.new_zeros(()))
        if not bool(drawn.all()):
            own = self.pseudo_losses(batch.where(~drawn))
        return self.objective(prediction, taught, own)

    def pseudo_losses(self, batch: SpineBatch) -> dict[str, Tensor]:
        """Cross-entropy of each network with what the other sees, over the mixtures of slices and their successors."""
        with torch.no_grad():
            seen = self.objective.decided(self(batch))
        mixed = cut_mix(batch)
        said = self(replace(batch, image=mix(batch.image, mixed)))
        assert seen.second is not None
        assert said.second is not None
        pairs = {"first_pseudo": (said.logits, seen.second), "second_pseudo": (said.second, seen.logits)}
        return {name: self._error(scores, told, mixed, batch) for name, (scores, told) in pairs.items()}

    def _error(self, scores: Tensor, told: Tensor, mixed: Tensor, batch: SpineBatch) -> Tensor:
        label = mix(merge_unlabelled(told, batch.labelled), mixed).argmax(dim=1)
        labelled = replace(batch, mask=label, has_mask=torch.ones_like(batch.has_mask))
        return mask_cross_entropy(scores, labelled, self.objective.class_weights, "average")


def mix(values: Float[Tensor, "b c h w"], other: Bool[Tensor, "b h w"]) -> Float[Tensor, "b c h w"]:
    """Values of each slice, those of the next one in the batch where `other`; the first follows the last."""
    return torch.where(other[:, None], values.roll(-1, dims=0), values)


def cut_mix(batch: SpineBatch) -> Bool[Tensor, "b h w"]:
    """Where a slice is replaced by the next one: boxes, drawn from the seeds of the slices."""
    size = (batch.image.shape[2], batch.image.shape[3])
    boxes = [box_mask(np.random.default_rng([int(seed) % 2**32, 1]), size) for seed in batch.seed]
    return torch.from_numpy(np.stack(boxes)).to(batch.image.device)


def box_mask(generator: np.random.Generator, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Boxes within an image of `size` (rows, columns), of an area and a shape drawn at random; where two meet, neither.

    French et al. 2020: the logarithm of a box's height is uniform, given its area.
    """
    mask = np.zeros(size, bool)
    for share in generator.uniform(*BOX_SHARES, NUM_BOXES) / NUM_BOXES:
        height = np.exp(generator.uniform() * np.log(share))
        rows, columns = (round(part * side) for part, side in zip((height, share / height), size, strict=True))
        top, left = (
            int(generator.integers(0, side - length + 1)) for side, length in zip(size, (rows, columns), strict=True)
        )
        mask[top : top + rows, left : left + columns] ^= True
    return mask
