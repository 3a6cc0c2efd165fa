"""A callback that leaves files in a run folder."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import lightning

from lightning_modules.segmentation import SegmentationModule
from records.registry import register


class Writer(lightning.Callback):
    """Registers what it will write before anything is trained or tested (`records.registry`)."""

    @abstractmethod
    def files(self, module: SegmentationModule) -> Sequence[Path]:
        """What it writes: files, or folders with all that is in them."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Registers it; what lies there and is no run's stops the run here."""
        assert isinstance(pl_module, SegmentationModule)
        if trainer.is_global_zero:
            register(*self.files(pl_module))
