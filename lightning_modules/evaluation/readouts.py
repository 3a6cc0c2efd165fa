"""Tables of a test beside cases.csv: key points, confusion of structures, regions, measurements.

Each is a function of the data and its own settings.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from datamodules.anatomy import Anatomy
from datamodules.cohort import Cohort
from datamodules.slices import SliceDataModule
from datamodules.store.stored_slices import StoredSlices
from lightning_modules.evaluation.evaluated import EvaluatedSlice, slice_with_mask
from lightning_modules.evaluation.measurement import Measurement
from metrics.cases import without_millimetres
from metrics.dixon import fat_picture
from metrics.keypoints import KEYPOINT_COLUMNS, centres_of_masks, score_keypoints
from metrics.levels import CONFUSION_COLUMNS, SLICE, count_confusion
from metrics.morphometry import Morphometry
from metrics.regions import REGION_COLUMNS, count_regions
from records.whole_files import replace_text

logger = logging.getLogger(__name__)

SHOWN_CASES = 8  # that a warning names
Rows = Sequence[Mapping[str, Any]]


@runtime_checkable
class Tested(Protocol):
    """Where tested slices come from: a `SliceDataModule`, or a run folder (`lightning_modules.tasks.rescoring`)."""

    @property
    def anatomy(self) -> Anatomy:
        """Structures of the masks."""
        ...

    @property
    def nominal_spacing(self) -> bool:
        """Whether millimetres are undefined (`Cohort`)."""
        ...

    def cohorts(self) -> Sequence[Cohort]:
        """Those that the slices are of, whose files hold their pictures."""
        ...


@dataclass(frozen=True, kw_only=True)
class Readout:
    """A table of a test, from what is gathered slice by slice.

    Attributes:
        file: Its name in the run folder.
        columns: Its columns; first those that name a slice (case, patient, level, slice, as far as it has them).
        of_slice: What is gathered of a slice: its rows, or what `at_end` makes rows of.
        at_end: Makes the rows when the last slice was seen, in the order of the store.
        doubts: What about the rows has to be said in the log.
    """

    file: str
    columns: tuple[str, ...]
    of_slice: Callable[[EvaluatedSlice, Tested], Sequence[Any]]
    at_end: Callable[[Sequence[Any]], Rows] = list
    doubts: Callable[[Rows], Sequence[str]] = lambda rows: ()

    def write(self, folder: Path, gathered: Iterable[Any]) -> None:
        """Writes the table; no file where nothing has a row (an anatomy without key points)."""
        rows = self.at_end(list(gathered))
        for text in self.doubts(rows):
            logger.warning("%s: %s", self.file, text)
        if len(rows):
            table = pd.DataFrame(rows, columns=list(self.columns))
            replace_text(folder / self.file, table.to_csv(index=False, float_format="%.6g"))


def place_of(item: EvaluatedSlice) -> dict[str, Any]:
    """What names a slice in a table."""
    return {"case": item.case, "patient": item.patient, "level": item.level, "slice": item.slice}


def _keypoints(item: EvaluatedSlice, data: Tested) -> Rows:
    """Rows of the heat maps, if the network has any, then of the predicted masks of labelled structures."""
    names, structures, rows = data.anatomy.keypoints, data.anatomy.structures, []
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
    rows = [{**place_of(item), "domain": item.domain, **row} for row in rows]
    return without_millimetres(rows) if data.nominal_spacing else rows


def _confusion(item: EvaluatedSlice, data: Tested) -> Rows:
    """Pairs of a slice with a mask."""
    if not item.has_mask:
        return []
    rows = count_confusion(item.true_mask, item.predicted_mask, data.anatomy.structures, item.labelled)
    return [{**place_of(item), **row} for row in rows]


def keypoints(data: Tested) -> Readout:
    """Where every key point was found, and how far off: a row per key point and source (`score_keypoints`).

    `source` is "heatmap" for points decoded from the network's heat maps, if it has any, and "mask" for the centres of
    the predicted masks of structures that were labelled. Coordinates are pixels of the scan in canonical orientation:
    x is the column, y the row. `domain` is "" or the name of the cohort that a weak patient came from.
    """
    columns = ("case", "patient", "level", "slice", "domain", *KEYPOINT_COLUMNS)
    return Readout(file="keypoints.csv", columns=columns, of_slice=_keypoints)


def confusion(data: Tested) -> Readout:
    """Which structures were taken for which: a row per pair (truth, prediction) that has a pixel (`count_confusion`).

    Pixels are those of the scan. Slices without an annotated mask have no rows.
    """
    return Readout(file="confusion.csv", columns=(*SLICE, *CONFUSION_COLUMNS), of_slice=_confusion)


def region_outputs(data: Tested, outputs: Sequence[str]) -> Readout:
    """Regions as a network judges each of them on its own, before they are made one mask.

    A pixel is in an output where its probability, on the pixels of the scan, is above one half; a region is the union
    of the widest outputs inside it (`metrics.regions`). Beside them, confusion.csv has the regions of the one mask.

    Args:
        data: The slices.
        outputs: Names of `EvaluatedSlice.regions`, in order.
    """

    def count(item: EvaluatedSlice, data: Tested) -> Rows:
        if item.regions is None or not item.has_mask:
            return []
        rows = count_regions(
            item.true_mask,
            dict(zip(outputs, item.regions, strict=True)),
            structures=data.anatomy.structures,
            regions=data.anatomy.regions,
            labelled=item.labelled,
        )
        return [{**place_of(item), **row} for row in rows]

    return Readout(file="region_outputs.csv", columns=(*SLICE, *REGION_COLUMNS), of_slice=count)


def morphometry(data: Tested, settings: Morphometry | None) -> Readout:
    """What a clinician would measure, on the annotated mask of every slice that has one and on the predicted one.

    What is measured follows from the anatomy: on axial slices the muscles of `settings`, with their fat on the picture
    as stored, pooled over the slices of a patient (`metrics.morphometry`), or areas alone without settings; on sagittal
    slices with a series of vertebrae, what `metrics.spine_shape` defines. At the end of a test, structures on the other
    side than their name says are named in the log.

    Args:
        data: The slices; their pictures are read from the files of the cohort, whose intensities were not z-scored.
        settings: How muscles are measured on axial slices; None measures areas alone.
    """
    measurement = Measurement(anatomy=data.anatomy, settings=settings)
    stored = StoredSlices(*data.cohorts()) if measurement.needs_picture else None

    def gather(item: EvaluatedSlice, data: Tested) -> Sequence[Any]:
        picture = None
        if stored is not None:
            picture = fat_picture(stored.slice(item.case, item.slice), stored.contrast(item.case))
        masks = {"truth": item.true_mask} if item.has_mask else {}
        return [
            kept
            for source, mask in {**masks, "prediction": item.predicted_mask}.items()
            for kept in measurement.gather(
                {**place_of(item), "source": source},
                mask=mask,
                labelled=item.labelled,
                spacing_mm=item.spacing_mm,
                picture=picture,
            )
        ]

    def measured(gathered: Sequence[Any]) -> Rows:
        rows = measurement.rows(gathered)
        return without_millimetres(rows) if data.nominal_spacing else rows

    return Readout(
        file="morphometry.csv",
        columns=measurement.columns,
        of_slice=gather,
        at_end=measured,
        doubts=swapped_sides,
    )


def swapped_sides(rows: Rows) -> list[str]:
    """A sentence for the masks of a source that lie on the other side than their names say; empty if none does."""
    sentences = []
    for source, whose in (("truth", "annotated"), ("prediction", "predicted")):
        wrong = [row for row in rows if row["source"] == source and row.get("side_check") == "swapped"]
        cases = list(dict.fromkeys(str(row["case"]) for row in wrong))
        if cases:
            slices = {(row["case"], row["slice"]) for row in wrong}
            names = ", ".join(sorted({str(row["structure"]).replace("_", " ") for row in wrong}))
            listed = ", ".join(cases[:SHOWN_CASES]) + (", ..." if len(cases) > SHOWN_CASES else "")
            sentences.append(
                f"{len(slices)} slice(s) of {len(cases)} case(s) have {whose} {names} on the other side than the name "
                f"says; they are measured as named: {listed}"
            )
    return sentences


def try_out(readout: Readout, data: SliceDataModule) -> None:
    """Makes the rows of one annotated test slice, so that settings that do not fit are refused before a training.

    Raises:
        ValueError: As the read-out does.
    """
    test = data.indices["test"]
    if len(test):
        readout.at_end(readout.of_slice(slice_with_mask(data, int(test[0]), None), data))
