"""Tables of a test beside cases.csv: key points, confusion of structures, measurements."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from datamodules.slices import SliceDataModule
from lightning_modules.evaluation import EvaluatedSlice
from lightning_modules.records import replace_text
from metrics.keypoints import KEYPOINT_COLUMNS, centres_of_masks, score_keypoints
from metrics.levels import CONFUSION_COLUMNS, SLICE, count_confusion
from metrics.spine_shape import SPINE_MEASURES, measure_spine

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Readout:
    """A table with some rows for every slice that was tested.

    Attributes:
        file: Its name in the run folder.
        columns: Its columns; first those that name a slice (case, patient, level, slice, as far as it has them).
        of_slice: The rows of a slice, without what names it.
    """

    file: str
    columns: tuple[str, ...]
    of_slice: Callable[[EvaluatedSlice, SliceDataModule], Rows]

    def rows(self, item: EvaluatedSlice, data: SliceDataModule) -> Rows:
        """The rows of a slice."""
        who = {"case": item.case, "patient": item.patient, "level": item.level, "slice": item.slice}
        return [{**who, **row} for row in self.of_slice(item, data)]

    def write(self, folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes the table; no file where nothing has a row (an anatomy without key points)."""
        table = pd.DataFrame(rows, columns=list(self.columns))
        if len(table):
            replace_text(folder / self.file, table.to_csv(index=False, float_format="%.6g"))


def _keypoints(item: EvaluatedSlice, data: SliceDataModule) -> Rows:
    """Rows of the heat maps, if the network has any, then of the predicted masks of labelled structures."""
    names, structures, table = data.anatomy.keypoints, data.anatomy.structures, data.store.table
    domain = str(table["domain"].iloc[item.index]) if "domain" in table.columns else ""
    rows = []
    if item.keypoints is not None:
        rows += score_keypoints(
            names=names,
            true=item.true_keypoints,
            found=item.keypoints,
            peaks=item.keypoint_peaks,
            spacing_mm=item.spacing_mm,
            source="heatmap",
        )
    from_masks = score_keypoints(
        names=names,
        true=item.true_keypoints,
        found=centres_of_masks(item.predicted_mask, structures, names),
        peaks=None,
        spacing_mm=item.spacing_mm,
        source="mask",
    )
    labelled = [name for name, drawn in zip(structures, item.labelled[1:], strict=True) if drawn]
    rows += [row for row in from_masks if row["structure"] in labelled]
    return [{"domain": domain, **row} for row in rows]


def _confusion(item: EvaluatedSlice, data: SliceDataModule) -> Rows:
    """Pairs of a slice with a mask."""
    if not item.has_mask:
        return []
    return count_confusion(item.true_mask, item.predicted_mask, data.anatomy.structures, item.labelled)


def _morphometry(item: EvaluatedSlice, data: SliceDataModule) -> Rows:
    """Measures of the annotated mask, if there is one, and of the predicted one."""
    anatomy = data.anatomy
    if anatomy.view != "sagittal" or not anatomy.series:
        return []
    masks = {"truth": item.true_mask} if item.has_mask else {}
    return [
        {"source": source, **row}
        for source, mask in {**masks, "prediction": item.predicted_mask}.items()
        for row in measure_spine(mask, anatomy.structures, item.labelled, anatomy.series, item.spacing_mm)
    ]


KEYPOINTS = Readout(
    file="keypoints.csv",
    columns=("case", "patient", "level", "slice", "domain", *KEYPOINT_COLUMNS),
    of_slice=_keypoints,
)
CONFUSION = Readout(file="confusion.csv", columns=(*SLICE, *CONFUSION_COLUMNS), of_slice=_confusion)
MORPHOMETRY = Readout(
    file="morphometry.csv",
    columns=("case", "patient", "slice", "level", "structure", "side", "source", *SPINE_MEASURES),
    of_slice=_morphometry,
)
READOUTS = (KEYPOINTS, CONFUSION, MORPHOMETRY)
