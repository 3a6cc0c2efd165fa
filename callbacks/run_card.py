"""Where a run came from: command, commit, versions, data and split."""

from collections.abc import Sequence
from pathlib import Path

import lightning

from callbacks.writer import Writer
from lightning_modules.segmentation import SegmentationModule
from lightning_modules.tasks.provenance import run_card
from records.whole_files import write_json


class RunCard(Writer):
    """Writes `run_card.json` and the split (`split.csv`) into `folder` before anything is trained or tested."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def files(self, module: SegmentationModule) -> Sequence[Path]:
        """Both files."""
        return (self.folder / "run_card.json", self.folder / "split.csv")

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Writes both files."""
        super().setup(trainer, pl_module, stage)
        assert isinstance(pl_module, SegmentationModule)
        if not trainer.is_global_zero:
            return
        network = getattr(pl_module.network, "card", None)  # of one that was not trained here
        write_json(self.folder / "run_card.json", run_card(pl_module.data) | ({"network": network} if network else {}))
        pl_module.data.split.write(self.folder / "split.csv")
