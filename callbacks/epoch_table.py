"""metrics.csv: one row per epoch, whole at every moment."""

import time
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch

from lightning_modules.segmentation import SegmentationModule


class EpochTable(lightning.Callback):
    """Writes losses, validation scores, schedule, learning rate and speed of every epoch to `folder`/metrics.csv.

    The file is replaced as a whole after each epoch. A resumed run drops the rows of epochs that it trains again.
    `num_steps` are the optimizer's; `num_images` and, of them, `num_masked` (with a mask) are those of all devices.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "metrics.csv"
        self._rows: list[dict[Any, Any]] = []
        self._started = 0.0
        self._training_s = 0.0
        self._num_images = 0
        self._num_masked = torch.zeros((), dtype=torch.long)
        self._first_step = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keeps the rows of earlier epochs."""
        if self.path.exists():
            table = pd.read_csv(self.path)
            self._rows = [row for row in table.to_dict("records") if row["epoch"] < trainer.current_epoch]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the clock and the counts."""
        self._started = time.perf_counter()
        self._training_s, self._num_images = 0.0, 0
        self._num_masked = torch.zeros((), dtype=torch.long, device=pl_module.device)
        self._first_step = trainer.global_step

    def on_train_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx) -> None:
        """Counts images of all devices; the clock is read here, so that validation is not counted as training."""
        self._num_images += len(batch) * trainer.world_size
        self._num_masked += batch.has_mask.sum()  # stays on the device: reading it would make every step wait
        self._training_s = time.perf_counter() - self._started

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Adds a row and replaces the file."""
        assert isinstance(pl_module, SegmentationModule)
        # Lightning remembers the last value of everything; a term that rested in this epoch has none.
        resting = {f"loss/{name}" for name in pl_module.objective.terms} - {
            f"loss/{name}" for name in pl_module.objective.active_terms
        }
        scores = {name: float(value) for name, value in sorted(trainer.callback_metrics.items()) if name not in resting}
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
        if trainer.is_global_zero:
            partial = self.path.with_suffix(".partial")
            pd.DataFrame(self._rows).to_csv(partial, index=False)
            partial.replace(self.path)

    def counts(self, trainer: lightning.Trainer) -> dict[str, int]:
        """Steps of the epoch so far, and slices of all devices; all processes have to call it."""
        return {
            "num_steps": trainer.global_step - self._first_step,
            "num_images": self._num_images,
            "num_masked": int(trainer.strategy.reduce(self._num_masked, reduce_op="sum")),
        }
