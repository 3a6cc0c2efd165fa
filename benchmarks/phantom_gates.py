"""How far one gets on the phantom without looking at the image, and how well two raters agree."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Integer

from datamodules.batch import boxes_of_masks
from datamodules.cohort import Cohort
from datamodules.reading.case_reader import CaseSlices
from datamodules.slices import SliceDataModule
from datamodules.store.slice_store import NativeSlice
from metrics.aggregate import summarise
from metrics.cases import CASE_COLUMNS, Row, score_slice


class MeanShape:
    """How often each pixel belonged to each class in training, by level; slices are aligned by their centres.

    Args:
        num_classes: Classes with background.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._counts: dict[str, np.ndarray] = {}

    def add(self, level: str, mask: Integer[np.ndarray, "h w"]) -> None:
        """Counts one training slice.

        Raises:
            ValueError: If it has another size than those before it.
        """
        counts = self._counts.setdefault(level, np.zeros((self.num_classes, *mask.shape), np.int32))
        if counts.shape[1:] != mask.shape:
            raise ValueError(
                f"the mean shape needs slices of one size, level {level!r} has {counts.shape[1:]} and {mask.shape}; "
                "choose a cohort of one size"
            )
        counts[mask, np.arange(mask.shape[0])[:, None], np.arange(mask.shape[1])] += 1

    def predict(self, level: str) -> Integer[np.ndarray, "h w"]:
        """The most frequent class of every pixel of a level.

        Raises:
            ValueError: If no training slice had this level.
        """
        if level not in self._counts:
            raise ValueError(
                f"the mean shape knows no level {level!r}, only {', '.join(self._counts)}; train on all levels"
            )
        return self._counts[level].argmax(axis=0)


def prior_cases(data: SliceDataModule) -> pd.DataFrame:
    """Case table of the mean shape of the training and validation patients on the test patients."""
    levels = data.store.table["level"].astype(str).tolist()
    prior = MeanShape(data.anatomy.num_classes)
    for index in training_rows(data):
        prior.add(levels[index], data.store.native(index).mask)
    return score_test_part(data, lambda index, native: prior.predict(levels[index]))


def training_rows(data: SliceDataModule) -> list[int]:
    """Store rows that may be learnt from: nothing here needs a validation part."""
    return [int(index) for part in ("train", "validation") for index in data.indices[part]]


def score_test_part(
    data: SliceDataModule, predict: Callable[[int, NativeSlice], Integer[np.ndarray, "h w"]]
) -> pd.DataFrame:
    """Scores a prediction on the native grid of every test slice."""
    rows: list[Row] = []
    for index in map(int, data.indices["test"]):
        native, place = data.store.native(index), data.store.table.iloc[index]
        rows += scored(
            {name: place[name] for name in ("case", "patient", "level", "slice")},
            native.mask,
            predict(index, native),
            structures=data.anatomy.structures,
            labelled=np.array(data.store.labelled[index], dtype=bool),
            spacing_mm=native.spacing_mm,
        )
    return pd.DataFrame(rows, columns=list(CASE_COLUMNS))


def second_rater_cases(cohort: Cohort) -> pd.DataFrame:
    """Case table of the second rater's masks against the label files, both mapped to the cohort's anatomy.

    Raises:
        ValueError: If cohort.csv names no second rater, or a file cannot be trusted.
    """
    rows: list[Row] = []
    for case in cohort.cases:
        if not case.row.get("second_rater"):
            raise ValueError(
                f"cohort {cohort.name}, case {case.case!r}: cohort.csv names no file in the column second_rater; write "
                "the phantom anew with this version"
            )
        drawn = cohort.read(case)
        again = cohort.read(replace(case, labels=(cohort.root / case.row["second_rater"],)))
        for first, second in zip(drawn, again, strict=True):
            rows += _two_raters(case.case, case.patient, first, second, cohort.anatomy.structures)
    return pd.DataFrame(rows, columns=list(CASE_COLUMNS))


def _two_raters(case: str, patient: str, first: CaseSlices, second: CaseSlices, structures: Iterable[str]) -> list[Row]:
    return [
        row
        for place, number in enumerate(first.slice_index)
        for row in scored(
            {"case": case, "patient": patient, "level": first.level, "slice": int(number)},
            first.mask[place],
            second.mask[place],
            structures=structures,
            labelled=first.labelled,
            spacing_mm=first.spacing_mm,
        )
    ]


def scored(
    place: Row,
    true: Integer[np.ndarray, "h w"],
    predicted: Integer[np.ndarray, "h w"],
    *,
    structures: Iterable[str],
    labelled: Bool[np.ndarray, " c"],
    spacing_mm: tuple[float, float],
) -> list[Row]:
    """Rows of a case table for one slice."""
    names = list(structures)
    masks = [mask.astype(np.int64) for mask in (true, predicted)]
    boxes = [boxes_of_masks(torch.from_numpy(mask[None]), len(names))[0].numpy() for mask in masks]
    rows = score_slice(
        true_mask=masks[0],
        predicted_mask=masks[1],
        structures=names,
        labelled=labelled,
        spacing_mm=spacing_mm,
        true_boxes=boxes[0],
        mask_boxes=boxes[1],
        network_boxes=None,
    )
    return [{**place, **row} for row in rows]


def dice_of(cases: pd.DataFrame) -> dict[str, float]:
    """Dice of every structure and "mean": slice, then patient, then cohort; a missed structure is 0."""
    dice = summarise(cases)["dice"]
    assert isinstance(dice, dict)
    return {name: value for name, value in dice.items() if isinstance(value, float)}
