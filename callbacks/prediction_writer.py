"""predictions/: image, masks, boxes and maps of every test slice, for reports to draw from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning

from callbacks.writer import Writer
from lightning_modules.evaluation.prediction_files import PredictionFolder
from lightning_modules.segmentation import SegmentationModule


class PredictionWriter(Writer):
    """Writes every test slice into `folder`/predictions, see `lightning_modules.evaluation.prediction_files`.

    Args:
        folder: The run folder.
        enabled: False where a cohort is so large that its pictures are not worth their place (110 kB and 10 ms a
            slice of 320 x 320); reports then show a gap.
    """

    def __init__(self, folder: str, enabled: bool = True) -> None:
        self.enabled = enabled
        self.predictions = PredictionFolder(folder)

    def files(self, module: SegmentationModule) -> Sequence[Path]:
        """The folder."""
        return (self.predictions.path,) if self.enabled else ()

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts with an empty folder."""
        if self.enabled and trainer.is_global_zero:
            self.predictions.clear()
        trainer.strategy.barrier()

    def on_test_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx, dataloader_idx=0) -> None:
        """Writes the slices of a batch."""
        if self.enabled:
            for item in outputs["slices"]:
                self.predictions.add(item)

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes the index, before the summary ends the run."""
        if self.enabled:
            self.predictions.finish(is_first=trainer.is_global_zero)
