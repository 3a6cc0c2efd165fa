"""A table in the run folder, made of what every test slice gives to it."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning

from callbacks.writer import Writer
from lightning_modules.evaluation.readouts import Readout, try_out
from lightning_modules.evaluation.rows import of_all_processes
from lightning_modules.segmentation import SegmentationModule


class SliceTable(Writer):
    """Writes a read-out into `folder` at the end of a test, in the order of the store, before the summary ends the run.

    Args:
        folder: The run folder.
        readout: Makes the read-out of some data, see `lightning_modules.evaluation.readouts`.
        settings: What it takes beside the data.
    """

    def __init__(self, folder: str, readout: Callable[..., Readout], **settings: Any) -> None:
        self.folder = Path(folder)
        self.readout = partial(readout, **settings)
        self._readout: Readout | None = None
        self._gathered: dict[int, Sequence[Any]] = {}  # of each slice, by its row in the store

    def files(self, module: SegmentationModule) -> Sequence[Path]:
        """The table."""
        return (self.folder / self.readout(module.data).file,)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Tries it on one slice, so that settings that do not fit to the cohort are refused before the first batch."""
        super().setup(trainer, pl_module, stage)
        assert isinstance(pl_module, SegmentationModule)
        try_out(self.readout(pl_module.data), pl_module.data)

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts a new table."""
        assert isinstance(pl_module, SegmentationModule)
        self._readout, self._gathered = self.readout(pl_module.data), {}

    def on_test_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx, dataloader_idx=0) -> None:
        """Gathers from the slices of a batch."""
        assert isinstance(pl_module, SegmentationModule)
        assert self._readout is not None, "a test starts with on_test_epoch_start"
        for item in outputs["slices"]:
            self._gathered[item.index] = self._readout.of_slice(item, pl_module.data)

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes the table, whichever process has seen which slice."""
        assert self._readout is not None, "a test starts with on_test_epoch_start"
        found = of_all_processes(self._gathered)
        if trainer.is_global_zero:
            self._readout.write(self.folder, [kept for index in sorted(found) for kept in found[index]])
        self._gathered = {}
