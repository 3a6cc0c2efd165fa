"""Checkpoints that survive a kill at any moment."""

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_modules.run_folder import LAST_CHECKPOINTS
from lightning_modules.segmentation import SegmentationModule
from lightning_modules.written import partial_of, register

logger = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: a checkpoint is the old one or the new one, never half of one.

    The last checkpoint before the present one is kept, for a disk may lose what it was given last.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Saves `checkpoint` to `path`."""
        target, (last, previous) = Path(path), LAST_CHECKPOINTS
        super().save_checkpoint(checkpoint, partial_of(target), storage_options)
        if target.name == last and target.exists():
            target.replace(target.with_name(previous))
        partial_of(target).replace(target)


class RunCheckpoint(ModelCheckpoint):
    """A checkpoint in the run folder, where an interrupted run has left its own."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Registers the file. Lightning warns of a folder that is not empty; here that is a run that goes on."""
        if trainer.is_global_zero and stage == "fit":
            register(Path(str(self.dirpath)))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
            super().setup(trainer, pl_module, stage)

    @property
    def state_key(self) -> str:
        """A name of its own: several of these keep their state in one file."""
        return type(self).__name__


class BestCheckpoint(RunCheckpoint):
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
        assert isinstance(pl_module, SegmentationModule)
        if stage == "fit" and not len(pl_module.data.indices["validation"]):
            logger.info("Nobody validates: best.ckpt is the last epoch.")
            self.monitor = None
        super().setup(trainer, pl_module, stage)


class LastCheckpoint(RunCheckpoint):
    """`last.ckpt`: everything that an interrupted run needs to go on, once an epoch."""

    def __init__(self, *, dirpath: str) -> None:
        super().__init__(dirpath=dirpath, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
