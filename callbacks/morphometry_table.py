"""morphometry.csv: what a clinician would measure, on the annotated and on the predicted mask."""

from callbacks.slice_table import SliceTable
from lightning_modules.readouts import MORPHOMETRY


class MorphometryTable(SliceTable):
    """Writes a row per slice, structure and source (truth or prediction) into `folder`/morphometry.csv.

    What is measured follows from the anatomy: on sagittal slices with a series of vertebrae, what
    `metrics.spine_shape` defines. For other anatomies there is no file.
    """

    readout = MORPHOMETRY
