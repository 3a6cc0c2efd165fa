"""A table in the run folder with some rows for every test slice."""

from pathlib import Path
from typing import Any, ClassVar

import lightning

from lightning_modules.readouts import Readout, Rows
from lightning_modules.records import of_all_processes
from lightning_modules.segmentation import SegmentationModule


class SliceTable(lightning.Callback):
    """Writes a read-out into `folder` at the end of a test, in the order of the store, before the summary ends the run.

    Args:
        folder: The run folder.
    """

    readout: ClassVar[Readout]

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._rows: dict[int, Rows] = {}  # of each slice, by its row in the store

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts a new table."""
        self._rows = {}

    def on_test_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx, dataloader_idx=0) -> None:
        """Makes the rows of a batch."""
        assert isinstance(pl_module, SegmentationModule)
        for item in outputs["slices"]:
            self._rows[item.index] = self.readout.rows(item, pl_module.data)

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes the table, whichever process has seen which slice."""
        found = of_all_processes(self._rows)
        if trainer.is_global_zero:
            self.readout.write(self.folder, [row for index in sorted(found) for row in found[index]])
