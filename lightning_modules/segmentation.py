"""The LightningModule of every system that is trained by one objective."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from datamodules.batch import SpineBatch
from datamodules.slices import SliceDataModule
from lightning_modules.evaluation.both_sides import both_sides
from lightning_modules.evaluation.clean_up import AS_FOUND
from lightning_modules.evaluation.evaluated import EvaluatedSlice, evaluate
from lightning_modules.evaluation.network_grid import on_network_grid
from lightning_modules.evaluation.pose import Pose, posed
from lightning_modules.learning_rate import Schedule, over_own_epochs
from lightning_modules.losses.objective import Objective
from metrics.validation.scores import ValidationScores
from models.prediction import Prediction
from models.sam.network import Prompts
from models.strides import strides_of

logger = logging.getLogger(__name__)


class SegmentationModule(lightning.LightningModule):
    """Trains a network by an objective, scores validation, and hands every test slice, evaluated, to the callbacks.

    Validation logs `val/dice`, `val/dice/<structure>` and `val/box_iou`, for a network with heat maps also
    `val/keypoint_error_mm`, means over patients on the network's grid, and `val/score`, which the best checkpoint is
    chosen by. Where the spacing is nominal, nothing in millimetres is logged.

    Args:
        network: Maps (image, annotated boxes) to a `Prediction`.
        objective: Losses.
        metrics: What validation is scored by.
        optimizer: Builds the optimizer from parameter groups.
        scheduler: Share of the initial learning rate in each epoch; see `lightning_modules.learning_rate`.
        channels_last: Memory format of network and images; faster on most processors.
        compile_network: Whether `torch.compile` is used.
        network_text: What the checkpoints say of the network they hold; see `lightning_modules.tasks.training`.
        seed: What random layers draw from, anew at every step, so that a resumed run draws as an undisturbed one.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        objective: Objective,
        metrics: ValidationScores,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        scheduler: Schedule,
        channels_last: bool = True,
        compile_network: bool = False,
        network_text: str = "",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last) if channels_last else network
        self.objective = objective
        self.metrics = metrics
        self.objective.see_network(strides_of(network))
        self._build_optimizer, self._schedule = optimizer, scheduler
        self._memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self._network_text = network_text
        self._seed = seed
        self._seen: dict[str, Any] = {}  # what the training images look like: `datamodules.store.seen_images`
        # What a network is told of where the structures are: boxes by an arm, prompts by `lightning_modules.prompting`.
        self.offer_prompts: Callable[[SpineBatch], Tensor | Prompts] | None = None
        # `lightning_modules.arms.arms` sets these for one test.
        self.pose: Pose | None = None
        self.mirrors, self.clean_up = False, AS_FOUND
        # Epochs in which a submodule of the network learns, where not in all: `callbacks.asynchronous_training`.
        self.learning_epochs: Mapping[str, Sequence[int]] = {}
        # Factor of the learning rate of a part, where it has a rate of its own: `lightning_modules.adversarial`.
        self.rates: Mapping[str, float] = {}
        # Parts whose gradients are clipped by a norm of their own; else the gradient as a whole is.
        self.clipped_apart: Sequence[nn.Module] = ()
        if compile_network:
            self.network.compile()

    def forward(self, batch: SpineBatch) -> Prediction:
        """Predicts; annotated boxes are offered in training, and to an arm or a network that asks for them, alone."""
        image = batch.image.contiguous(memory_format=self._memory_format)
        if self.training:
            return self.network(image, batch.boxes)
        return self.network(image, None if self.offer_prompts is None else self.offer_prompts(batch))

    def setup(self, stage: str) -> None:
        """Takes class frequencies and the look of training images; a checkpoint overwrites the former by its own."""
        if stage == "fit":
            self.objective.count_classes(self.data.class_pixel_counts())
            if self.objective.wants_masks:
                self.objective.see_masks(*self.data.training_masks())
            self._seen = self.data.seen_images().plain()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Says what the weights belong to and were trained on, in plain values: they load with `weights_only=True`."""
        checkpoint["network"] = self._network_text
        checkpoint["data"] = self.data.identity
        checkpoint["seen"] = self._seen
        checkpoint["smoothed_score"] = self.metrics.smoothed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes up the smoothed score, for a run that goes on."""
        self.metrics.smoothed = checkpoint.get("smoothed_score")
        if "smoothed_score" not in checkpoint and "optimizer_states" in checkpoint:
            logger.warning(
                "This run began with a version that validated on the pixels of the scans. It goes on with val/ on the "
                "network's grid, where scores are higher: its best checkpoint will be of the epochs to come."
            )

    def on_train_batch_start(self, batch: SpineBatch, batch_idx: int) -> None:
        """Seeds random layers by the step."""
        seed = np.random.SeedSequence([self._seed, self.global_step]).generate_state(1)[0]
        torch.manual_seed(int(seed))

    def losses(self, batch: SpineBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted total of the active loss terms, and each of them unweighted, by name."""
        return self.objective(self(batch), batch)

    def decided(self, batch: SpineBatch) -> Prediction:
        """Predicts, without the prior of the class weights: what validation and test decide on."""
        if not self.mirrors:
            return self.objective.decided(self(batch))

        def probabilities_of(image: Tensor) -> Tensor:
            return self.objective.decided(self(replace(batch, image=image))).logits.float().softmax(dim=1)

        return Prediction(logits=both_sides(probabilities_of, batch.image, self.data.anatomy).log())

    def training_step(self, batch: SpineBatch, batch_idx: int) -> Tensor:
        """Returns the weighted total of the active loss terms and logs each term's mean over the epoch."""
        total, terms = self.losses(batch)
        for name, value in {"total": total, **terms}.items():
            self.log(f"loss/{name}", value, on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        return total

    def validation_step(self, batch: SpineBatch, batch_idx: int) -> None:
        """Scores a batch on the network's grid."""
        place = {"patient_numbers": self.data.patient_numbers, "spacing_mm": self.data.store.grid.spacing_mm}
        self.metrics.update(**on_network_grid(self.decided(batch), batch, **place))

    def on_validation_epoch_end(self) -> None:
        """Logs the means over patients; the slices of all processes count, each once."""
        for name, value in self.metrics.end_epoch().items():
            if not (self.data.nominal_spacing and name.endswith("_mm")):
                self.log(f"val/{name}", value, sync_dist=True)

    def test_step(self, batch: SpineBatch, batch_idx: int) -> dict[str, list[EvaluatedSlice]]:
        """Returns the "slices" on their native grid, with what shows how the network works unless they are posed."""
        store = self.data.store
        if self.pose is not None:
            batch = posed(batch, store, self.pose)
        how = {"mechanism": self.pose is None, "pose": self.pose, "clean_up": self.clean_up}
        return {"slices": evaluate(self.decided(batch), batch, store, **how)}

    def parts(self) -> dict[str, nn.Module]:
        """What is trained, by name; each part has a group of the optimizer."""
        return dict(self.network.named_children())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimizer, a parameter group per part of the network; see `callbacks.asynchronous_training`.

        The rate of a part follows from the epoch alone, over the epochs in which the part learns.
        """
        groups = [{"params": list(part.parameters()), "name": name} for name, part in self.parts().items()]
        groups = [group for group in groups if group["params"]]
        optimizer = self._build_optimizer(groups)
        for group in optimizer.param_groups:
            group["lr"] *= self.rates.get(group["name"], 1.0)
        assert self.trainer.max_epochs is not None
        every = range(self.trainer.max_epochs)
        own = [self.learning_epochs.get(group["name"], every) for group in groups]
        scheduler = LambdaLR(optimizer, [over_own_epochs(self._schedule, epochs) for epochs in own])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | int | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the norm of the whole gradient, or of each of `clipped_apart` as an optimizer of its own would."""
        if gradient_clip_val is None or gradient_clip_algorithm == "value" or not self.clipped_apart:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        for part in self.clipped_apart:
            nn.utils.clip_grad_norm_(part.parameters(), gradient_clip_val)

    @property
    def data(self) -> SliceDataModule:
        """The slices of the running fit or test."""
        data = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(data, SliceDataModule), "SegmentationModule reads native slices from a SliceDataModule"
        return data
