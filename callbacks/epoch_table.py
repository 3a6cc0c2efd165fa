"""metrics.csv: one row per epoch, whole at every moment."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch

from callbacks.writer import Writer
from lightning_modules.segmentation import SegmentationModule
from records.whole_files import check_there, replace_text


class EpochTable(Writer):
    """Writes losses, validation scores, schedule, learning rate and speed of every epoch to `folder`/metrics.csv.

    The file is replaced as a whole after each epoch. A resumed run has the rows of the epochs before from its
    checkpoint. A score is blank in an epoch that was not validated, a term in one that it rested in.
    `num_steps` are the optimizer's; `num_images` and, of them, `num_masked` (with a mask) are those of all devices.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "metrics.csv"
        self._rows: list[dict[Any, Any]] = []
        self._validated = False
        self._started = 0.0
        self._training_s = 0.0
        self._num_images = 0
        self._num_masked = torch.zeros((), dtype=torch.long)
        self._first_step = 0

    def files(self, module: SegmentationModule) -> Sequence[Path]:
        """The table."""
        return (self.path,)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, for a run that goes on."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the rows."""
        self._rows = list(state_dict["rows"])

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes the earlier epochs again, as the checkpoint has them."""
        self._write(trainer)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Reads the rows of earlier epochs where the checkpoint is of a version that did not keep them."""
        if trainer.current_epoch and not self._rows and self.path.exists():
            try:
                table = pd.read_csv(self.path)
            except ValueError:
                raise ValueError(
                    f"{self.path} is empty or cut off, and nobody else knows of the epochs before: put the file back, "
                    "or start anew (retrain=true)"
                ) from None
            self._rows = [row for row in table.to_dict("records") if row["epoch"] < trainer.current_epoch]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the clock and the counts."""
        self._started = time.perf_counter()
        self._training_s, self._num_images = 0.0, 0
        self._num_masked = torch.zeros((), dtype=torch.long, device=pl_module.device)
        self._first_step = trainer.global_step
        self._validated = False

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The scores of this epoch are its own."""
        self._validated = True

    def on_train_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx) -> None:
        """Counts images of all devices; the clock is read here, so that validation is not counted as training."""
        self._num_images += len(batch) * trainer.world_size
        self._num_masked += batch.has_mask.sum()  # stays on the device: reading it would make every step wait
        self._training_s = time.perf_counter() - self._started

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Adds a row and replaces the file."""
        assert isinstance(pl_module, SegmentationModule)
        # Lightning remembers the last value of everything.
        resting = {f"loss/{name}" for name in pl_module.objective.terms} - {
            f"loss/{name}" for name in pl_module.objective.active_terms
        }
        scores = {
            name: float(value)
            for name, value in sorted(trainer.callback_metrics.items())
            if name not in resting and (self._validated or not name.startswith("val/"))
        }
        self._rows.append(
            {
                "epoch": trainer.current_epoch,
                **scores,
                "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
                **self.counts(trainer),
                "training_s": self._training_s,
                "images_per_s": self._num_images / max(self._training_s, 1e-9),
            }
        )
        self._write(trainer)

    def _write(self, trainer: lightning.Trainer) -> None:
        if self._rows and trainer.is_global_zero:
            check_there(self.path.parent)
            replace_text(self.path, pd.DataFrame(self._rows).to_csv(index=False))

    def counts(self, trainer: lightning.Trainer) -> dict[str, int]:
        """Steps of the epoch so far, and slices of all devices; all processes have to call it."""
        return {
            "num_steps": trainer.global_step - self._first_step,
            "num_images": self._num_images,
            "num_masked": int(trainer.strategy.reduce(self._num_masked, reduce_op="sum")),
        }
