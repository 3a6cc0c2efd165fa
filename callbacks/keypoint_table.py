"""keypoints.csv: where every key point of a test slice was found, and how far off."""

from callbacks.slice_table import SliceTable
from datamodules.slices import SliceDataModule
from lightning_modules.evaluation.readouts import KEYPOINTS, Readout


class KeypointTable(SliceTable):
    """Writes a row per key point and source into `folder`/keypoints.csv; see `metrics.keypoints.score_keypoints`.

    `source` is "heatmap" for points decoded from the network's heat maps, if it has any, and "mask" for the centres of
    the predicted masks of structures that were labelled. Coordinates are pixels of the scan in canonical orientation:
    x is the column, y the row. `domain` is "" or the name of the cohort that a weak patient came from.
    """

    def readout(self, data: SliceDataModule) -> Readout:
        """The same for all data."""
        return KEYPOINTS
