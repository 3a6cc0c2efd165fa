"""morphometry.csv: what a clinician would measure, on the annotated and on the predicted mask."""

import lightning

from callbacks.slice_table import SliceTable
from datamodules.slices import SliceDataModule
from lightning_modules.evaluation.readouts import Readout, morphometry, try_out
from lightning_modules.segmentation import SegmentationModule
from metrics.morphometry import Morphometry


class MorphometryTable(SliceTable):
    """Writes a row per slice, structure, side and source (truth or prediction) into `folder`/morphometry.csv.

    What is measured follows from the anatomy: on axial slices the muscles of `settings`, with their fat on the picture
    as stored, pooled over the slices of a patient (`metrics.morphometry`), or areas alone without settings; on sagittal
    slices with a series of vertebrae, what `metrics.spine_shape` defines. At the end of a test, structures on the other
    side than their name says are named in the log.

    Args:
        folder: The run folder.
        settings: How muscles are measured on axial slices.
    """

    def __init__(self, folder: str, settings: Morphometry | None = None) -> None:
        super().__init__(folder)
        self.settings = settings

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Measures one slice, so that settings that do not fit to the cohort are refused before the first batch."""
        super().setup(trainer, pl_module, stage)
        assert isinstance(pl_module, SegmentationModule)
        try_out(self.readout(pl_module.data), pl_module.data)

    def readout(self, data: SliceDataModule) -> Readout:
        """By the view of the anatomy."""
        return morphometry(data, self.settings)
