"""Slices of a cohort in the raw format of nnU-Net v2 (Isensee et al. 2021), dealt as a split deals them.

Each slice is a file of its own: nnU-Net's `2d` then learns from the slices that the networks here learn from, and no
others of a volume. A file has one slice in canonical orientation with its place in the patient in the header, so that
its sides, and those of a mask that comes back, are stated and not agreed upon.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from datamodules.anatomy import Anatomy
from datamodules.reading.foreign_masks import name_of_slice
from datamodules.reading.image_file import write_image_file
from datamodules.reading.volume import Volume
from datamodules.slices import SliceDataModule
from datamodules.store.stored_slices import StoredSlices
from records.whole_files import replace_text, write_json

NUMBER = 100  # of the data set; its folder holds no other
ENDING = ".nii.gz"
IGNORE = "ignore"  # nnU-Net's name for pixels without supervision


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Rows of the store that train, validate and are tested in a fold; all have masks."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def folds_of(data: SliceDataModule) -> list[Fold]:
    """What the split and the supervision make of every fold.

    Raises:
        ValueError: If a patient is tested in a fold and trains or validates in it, too, or nobody trains or validates.
    """
    store, split = data.store, data.split
    folds = []
    for number in range(split.num_folds):
        taught = data.supervision.teach(store, split, number)
        data.supervision.check(taught, number)
        parts = (taught.masked, taught.validation, split.indices(number, "test", store.table))
        train, validation, test = (tuple(int(row) for row in rows) for rows in parts)
        fold = Fold(train=train, validation=validation, test=test)
        _check_patients(store.table["patient"].tolist(), fold, number)
        folds.append(fold)
    return folds


def _check_patients(patients: Sequence[str], fold: Fold, number: int) -> None:
    train, validation, test = ({patients[row] for row in rows} for rows in (fold.train, fold.validation, fold.test))
    if leaked := sorted(test & (train | validation)):
        raise ValueError(
            f"split: {len(leaked)} patient(s) tested in fold {number} train or validate in it, too ({leaked[0]}, ...); "
            "nnU-Net gets folds by patient: split=patient_folds"
        )
    if not (train and validation):
        raise ValueError(
            f"split: {len(train)} patient(s) with masks train and {len(validation)} validate in fold {number}; nnU-Net "
            "needs one of each: set split.validation_fraction above 0, label three or more, or choose supervision=full"
        )


def label_ids(anatomy: Anatomy, labelled: Bool[np.ndarray, "rows c"]) -> dict[str, int]:
    """Numbers of background, of each structure that was drawn in any slice, and, if need be, of what to ignore.

    A structure that nobody drew anywhere has no number. Where it was drawn in some slices alone, pixels without a label
    may be it in the others: they are ignored there.
    """
    drawn = [name for name in anatomy.structures if labelled[:, anatomy.class_index(name)].any()]
    ids = {"background": 0, **{name: number for number, name in enumerate(drawn, start=1)}}
    complete = labelled[:, [anatomy.class_index(name) for name in drawn]].all()
    return ids if complete else {**ids, IGNORE: len(ids)}


class NnunetDataset:
    """A data set that is not yet written.

    Args:
        data: Slices, split and supervision; its own fold does not matter.

    Attributes:
        folds: See `folds_of`.
        name: Of the folder, as nnU-Net wants it.
        labels: Number of each label in its files.

    Raises:
        ValueError: As `folds_of`, or if names of cases cannot be names of files or be told apart from those of slices.
    """

    def __init__(self, data: SliceDataModule) -> None:
        self.folds = folds_of(data)
        self.name = f"Dataset{NUMBER:03d}_{''.join(sign if sign.isalnum() else '_' for sign in data.cohort.name)}"
        self._data = data
        table = data.store.table
        self._names = [name_of_slice(str(case), int(number)) for case, number in table[["case", "slice"]].to_numpy()]
        _check_names(self._names, {*table["case"]})
        self._taught = sorted({row for fold in self.folds for row in (*fold.train, *fold.validation)})
        self.labels = label_ids(data.anatomy, data.store.labelled[self._taught].astype(bool))
        self._slices = StoredSlices(*data.cohorts())

    def write(self, root: Path) -> None:
        """Writes nnUNet_raw and, with the folds in it, nnUNet_preprocessed into the folder `root`.

        Raises:
            OSError: If the disk is full.
        """
        raw, preprocessed = root / "nnUNet_raw" / self.name, root / "nnUNet_preprocessed" / self.name
        tests = [raw / "imagesTs" / f"fold_{number}" for number in range(len(self.folds))]
        for folder in (raw / "imagesTr", raw / "labelsTr", *tests, preprocessed, root / "nnUNet_results"):
            folder.mkdir(parents=True)
        for row in self._taught:
            self._write_image(row, raw / "imagesTr")
            self._write_label(row, raw / "labelsTr")
        for fold, folder in zip(self.folds, tests, strict=True):
            for row in fold.test:
                self._write_image(row, folder)
        write_json(raw / "dataset.json", self.description())
        replace_text(raw / "slices.csv", self._table().to_csv(index=False, lineterminator="\n"))
        splits = [{"train": self._named(fold.train), "val": self._named(fold.validation)} for fold in self.folds]
        replace_text(preprocessed / "splits_final.json", json.dumps(splits, indent=2) + "\n")

    def description(self) -> dict[str, Any]:
        """What dataset.json says."""
        cohort = self._data.cohort
        channels = cohort.channels or [f"MRI {number}" for number in range(1, self._data.num_channels + 1)]
        return {
            "channel_names": {str(number): name for number, name in enumerate(channels)},
            "labels": self.labels,
            "numTraining": len(self._taught),
            "file_ending": ENDING,
            "overwrite_image_reader_writer": "SimpleITKIO",
            "licence": cohort.licence,
            "reference": cohort.citation,
        }

    def _table(self) -> pd.DataFrame:
        """Which slice of which patient each name stands for, and the fold that tests it."""
        table = self._data.store.table
        tested = {row: number for number, fold in enumerate(self.folds) for row in fold.test}
        rows = sorted({*self._taught, *tested})
        found = table.iloc[rows][["case", "slice", "patient"]]
        return found.assign(name=self._named(rows), test_fold=[tested.get(row, "") for row in rows])

    def _named(self, rows: Iterable[int]) -> list[str]:
        return [self._names[row] for row in rows]

    def _write_image(self, row: int, folder: Path) -> None:
        place = self._data.store.table.iloc[row]
        for channel, volume in enumerate(self._slices.volumes(str(place["case"]), int(place["slice"]))):
            self._write(volume, volume.voxels.astype(np.float32), folder / f"{self._names[row]}_{channel:04d}")

    def _write_label(self, row: int, folder: Path) -> None:
        place = self._data.store.table.iloc[row]
        volume = self._slices.volumes(str(place["case"]), int(place["slice"]))[0]
        mask, labelled = self._data.store.native(row).mask, self._data.store.labelled[row]
        names = ("background", *self._data.anatomy.structures)
        numbers = np.array([self.labels.get(name, 0) for name in names], np.uint8)
        if not all(labelled[names.index(name)] for name in self.labels if name != IGNORE):
            numbers[0] = self.labels[IGNORE]
        self._write(volume, numbers[mask][None], folder / self._names[row])

    @staticmethod
    def _write(volume: Volume, voxels: np.ndarray, path: Path) -> None:
        # nnU-Net takes the axis of the largest spacing for the one between slices, and a picture's is nominal.
        thick = replace(volume, spacing_mm=(max(volume.spacing_mm), *volume.pixel_mm))
        write_image_file(path.with_name(path.name + ENDING), thick.as_stored(voxels))


def _check_names(names: Sequence[str], cases: set[str]) -> None:
    for name in names:
        if name in cases or "/" in name or "\\" in name:
            what = "is the name of another case" if name in cases else "cannot be the name of a file"
            raise ValueError(f"cohort.csv: a slice would be called {name!r}, which {what}; rename the case")
