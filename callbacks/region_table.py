"""region_outputs.csv: regions as a network judges each of them on its own."""

from collections.abc import Sequence

from callbacks.slice_table import SliceTable
from datamodules.slices import SliceDataModule
from lightning_modules.evaluation.readouts import Readout, region_outputs


class RegionTable(SliceTable):
    """Writes a row per slice and region into `folder`/region_outputs.csv, for networks whose outputs overlap.

    A pixel is in an output where its probability, on the pixels of the scan, is above one half; a region is the union
    of the widest outputs inside it (`metrics.regions`). Beside them, confusion.csv has the regions of the one mask
    that is made of them.

    Args:
        folder: The run folder.
        outputs: What the network judges, in its order.
    """

    def __init__(self, folder: str, outputs: Sequence[str]) -> None:
        super().__init__(folder)
        self.outputs = tuple(outputs)

    def readout(self, data: SliceDataModule) -> Readout:
        """The same for all data."""
        return region_outputs(self.outputs)
