"""Checkpoints that survive a kill at any moment."""

import logging
import os
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules.slices import SliceDataModule

logger = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: a checkpoint is the old one or the new one, never half of one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Saves `checkpoint` to `path`."""
        target = Path(path)
        partial = target.with_name(f".{target.name}.partial")
        super().save_checkpoint(checkpoint, partial, storage_options)
        os.replace(partial, target)


class BestCheckpoint(ModelCheckpoint):
    """`best.ckpt`: the weights of the epoch with the best validation score, of the last where nothing validates."""

    def __init__(self, *, dirpath: str, monitor: str, mode: str = "max") -> None:
        super().__init__(
            dirpath=dirpath,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_weights_only=True,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Gives up the monitor where the cohort is too small for a validation part."""
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if stage == "fit" and isinstance(data, SliceDataModule) and not len(data.indices["validation"]):
            logger.info("Fewer than three training patients, so none validates: best.ckpt is the last epoch.")
            self.monitor = None
        super().setup(trainer, pl_module, stage)


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt`: everything that an interrupted run needs to go on, once an epoch."""

    def __init__(self, *, dirpath: str) -> None:
        super().__init__(dirpath=dirpath, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)

    @property
    def state_key(self) -> str:
        """A name of its own: both checkpoint callbacks keep a state in the file."""
        return type(self).__name__
