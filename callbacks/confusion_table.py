"""confusion.csv: which structures were taken for which, pixel by pixel."""

from callbacks.slice_table import SliceTable
from datamodules.slices import SliceDataModule
from lightning_modules.evaluation.readouts import CONFUSION, Readout


class ConfusionTable(SliceTable):
    """Writes a row per slice and pair (truth, prediction) that has a pixel into `folder`/confusion.csv.

    Pixels are those of the scan; see `metrics.levels.count_confusion`. Slices without an annotated mask have no rows.
    """

    def readout(self, data: SliceDataModule) -> Readout:
        """The same for all data."""
        return CONFUSION
