"""Adversarial training: a discriminator learns to tell annotated from predicted masks, the network to escape it."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from datamodules.batch import SpineBatch
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.segmentation import SegmentationModule
from models.prediction import Prediction


class AdversarialModule(SegmentationModule):
    """Trains a network and a discriminator against each other, in one step (CDAN, Li Z. et al. 2023; reconstructed).

    The discriminator sees the image and the probabilities of the classes, predicted or annotated, and scores patches
    by the squared error (LSGAN, Mao et al. 2017). Both learn from the weights that they had before the step: the
    network through a discriminator whose weights are constants, the discriminator from predictions that are. So neither
    loss has a gradient in the other's weights, one Adam with a group for each does what two would, and clipping (of
    each on its own), schedules and going on exactly are those of every other system.

    Args:
        discriminator: Builds it, from `in_channels`.
        discriminator_rate: Its learning rate, as a share of the network's.
        warm_up: Share of the epochs before the network is told of the discriminator.
        settings: See `SegmentationModule`; the network states its `in_channels`.

    Raises:
        ValueError: If a share is out of range, or the network does not state its channels.
    """

    def __init__(
        self,
        *,
        discriminator: Callable[..., nn.Module],
        discriminator_rate: float = 0.1,
        warm_up: float = 0.1,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if not 0 <= warm_up < 1 or discriminator_rate <= 0:
            raise ValueError(
                f"module.warm_up is {warm_up} and module.discriminator_rate {discriminator_rate}, expected a share of "
                "the epochs from 0 to below 1, and a positive share of the learning rate"
            )
        in_channels, num_classes = getattr(self.network, "in_channels", None), len(self.objective.class_weights)
        if not isinstance(in_channels, int):
            raise ValueError(
                f"{type(self.network).__name__} does not state its in_channels, which a discriminator sees beside the "
                "classes: choose model=cdan, or give the network the attribute"
            )
        self.discriminator = discriminator(in_channels=in_channels + num_classes)
        self.rates = {"discriminator": discriminator_rate}
        self.clipped_apart = (self.network, self.discriminator)
        self._warm_up, self._first_epoch = warm_up, 0
        self._accuracy = 0.0

    def setup(self, stage: str) -> None:
        """As every other system; finds out in which epoch the game begins."""
        super().setup(stage)
        if stage == "fit":
            assert self.trainer.max_epochs is not None
            self._first_epoch = math.ceil(self._warm_up * self.trainer.max_epochs)

    def training_step(self, batch: SpineBatch, batch_idx: int) -> Tensor:
        """As every other system; logs how often the discriminator is right."""
        total = super().training_step(batch, batch_idx)
        self.log("discriminator/accuracy", self._accuracy, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        return total

    def losses(self, batch: SpineBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted total, and each term by name."""
        prediction = self(batch)
        return self.objective(prediction, batch, self.game(prediction, batch))

    def game(self, prediction: Prediction, batch: SpineBatch) -> dict[str, Tensor]:
        """What network and discriminator lose, over the slices with masks: "adversarial" and "discriminator"."""
        drawn = batch.has_mask
        if not bool(drawn.any()):
            return dict.fromkeys(("adversarial", "discriminator"), prediction.logits.sum() * 0)
        image, labelled = batch.image[drawn], batch.labelled[drawn]
        scores = merge_unlabelled(self.objective.decided(prediction).logits[drawn], labelled)
        fake = torch.cat([image, scores.float().softmax(dim=1)], dim=1)
        one_hot = F.one_hot(batch.mask[drawn], labelled.shape[1]).movedim(-1, 1)
        real = torch.cat([image, one_hot.to(image)], dim=1)
        adversarial = prediction.logits.new_zeros(())
        if self.current_epoch >= self._first_epoch:
            constants = {name: value.detach() for name, value in self.discriminator.named_parameters()}
            adversarial = (patches(functional_call(self.discriminator, constants, (fake,))) - 1).square().mean()
        said_real, said_fake = (patches(self.discriminator(seen)) for seen in (real, fake.detach()))
        self._accuracy = torch.cat([said_real.flatten() > 0.5, said_fake.flatten() <= 0.5]).float().mean()
        return {
            "adversarial": adversarial,
            "discriminator": ((said_real - 1).square().mean() + said_fake.square().mean()) / 2,
        }

    def parts(self) -> dict[str, nn.Module]:
        """Those of the network, and the discriminator."""
        return super().parts() | {"discriminator": self.discriminator}


def patches(said: Tensor | list[Tensor]) -> Float[Tensor, "b 1 h w"]:
    """The last map of what a discriminator returns: MONAI's lists the maps of all its layers."""
    return said[-1] if isinstance(said, list) else said
