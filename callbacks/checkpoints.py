"""Checkpoints that survive a kill at any moment."""

import errno
import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks.weight_averaging import AveragedWeights
from records.folder import LAST_CHECKPOINTS
from records.registry import register
from records.whole_files import check_there, partial_of

logger = logging.getLogger(__name__)

PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")  # in the state of Lightning's ModelCheckpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: a checkpoint is the old one or the new one, never half of one.

    The last checkpoint before the present one is kept, for a disk may lose what it was given last.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Saves `checkpoint` to `path`, whose folder is there already: one that vanished is not made anew.

        Raises:
            OSError: If it cannot be written; what was there before stays.
        """
        target, (last, previous) = Path(path), LAST_CHECKPOINTS
        check_there(target.parent)
        partial = partial_of(target)
        try:
            super().save_checkpoint(checkpoint, partial, storage_options)
        except (OSError, RuntimeError) as error:  # torch's own writer knows no OSError
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or f"cannot be written ({str(error).partition(chr(10))[0]})"
            raise OSError(getattr(error, "errno", None) or errno.EIO, reason, str(target)) from error
        if target.name == last and target.exists():
            target.replace(target.with_name(previous))
        partial.replace(target)


class RunCheckpoint(ModelCheckpoint):
    """A checkpoint in the run folder, where an interrupted run has left its own.

    What it remembers of itself are names, so that it goes on wherever the folder has been moved to: Lightning remembers
    absolute paths and, in another folder, forgets what its best score was.
    """

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Makes and registers the folder. Lightning warns of one that is not empty; here that is a run that goes on."""
        if trainer.is_global_zero and stage == "fit":
            register(Path(str(self.dirpath)))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
            super().setup(trainer, pl_module, stage)
        if stage == "fit" and self.dirpath and trainer.is_global_zero:
            Path(self.dirpath).mkdir(parents=True, exist_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """As Lightning's, without folders."""
        return self._placed(super().state_dict(), lambda path: Path(path).name) | {"dirpath": ""}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As Lightning's, in the folder where this run lies now."""
        folder = Path(self.dirpath or "")
        placed = self._placed(state_dict, lambda path: str(folder / Path(path).name))
        super().load_state_dict(placed | {"dirpath": self.dirpath})

    @staticmethod
    def _placed(state: Mapping[str, Any], place: Callable[[str], str]) -> dict[str, Any]:
        """A state with every path to a file replaced; "" stands for none."""
        paths = {name: place(state[name]) if state[name] else "" for name in PATHS}
        return {
            **state,
            **paths,
            "best_k_models": {place(path): score for path, score in state["best_k_models"].items()},
        }

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
        """Gives up the monitor where nobody validates: a cohort too small for it, or options that leave it out."""
        every = trainer.check_val_every_n_epoch or 0
        if stage == "fit" and (trainer.limit_val_batches == 0 or every > (trainer.max_epochs or every)):
            logger.info("Nobody validates: best.ckpt is the last epoch.")
            self.monitor = None
        super().setup(trainer, pl_module, stage)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keeps the best. Before the first validation there is none; `tasks.fit_and_test` helps where none comes."""
        averages = [each.averaged(pl_module) for each in trainer.callbacks if isinstance(each, AveragedWeights)]  # pyright: ignore[reportAttributeAccessIssue]
        if self.monitor is None or self.monitor in trainer.callback_metrics:
            with averages[0] if averages else nullcontext():
                super().on_train_epoch_end(trainer, pl_module)


class LastCheckpoint(RunCheckpoint):
    """`last.ckpt`: everything that an interrupted run needs to go on, once an epoch."""

    def __init__(self, *, dirpath: str) -> None:
        super().__init__(dirpath=dirpath, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
