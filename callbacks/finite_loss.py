"""Stops a run whose loss is no longer a number."""

import lightning
import torch
from torch import Tensor

from datamodules.batch import SpineBatch


class FiniteLoss(lightning.Callback):
    """Stops before a loss that is NaN or infinite reaches the weights; the last checkpoint stays as it was."""

    def __init__(self) -> None:
        self._batch: SpineBatch | None = None

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: SpineBatch, batch_idx: int
    ) -> None:
        """Remembers whose loss comes next."""
        self._batch = batch

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        """Raises ValueError with the cases of the batch."""
        if not torch.isfinite(loss):
            assert self._batch is not None
            raise ValueError(
                f"the loss is {loss.item()} at epoch {trainer.current_epoch}, step {trainer.global_step}, on the cases "
                f"{', '.join(sorted(set(self._batch.case)))}: look at their intensities, or lower optimizer.lr; "
                "the same command continues from the last good checkpoint, retrain=true starts anew"
            )
