"""Ways to deal a cohort to folds. Each is called with the table of a store and returns a Split."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from datamodules.splits.dealing import evenly, shuffled, strata_of, with_masks, with_validation, without_masks
from datamodules.splits.split import IMAGE, PATIENT, Split, Unit, read_table, units_of

logger = logging.getLogger(__name__)

_TESTED = 1  # stream of the draw of a hold-out's test patients


@dataclass(frozen=True)
class PatientFolds:
    """Cross-validation by patient, stratified by the levels and sites of a patient.

    Patients are shuffled within their stratum and dealt to the folds in turn, stratum after stratum, so that fold sizes
    and the counts of each stratum differ by one at most. Patients without a mask are in the training part of
    every fold; whether their slices are used is for the data module to say.

    Attributes:
        num_folds: Test parts that together hold every patient with masks once.
        validation_fraction: Share of the training patients with masks that validate, below 1: at least one, none when
            fewer than three train. 0: nobody, and the last checkpoint counts as best.
        seed: What the shuffle draws from; the order of the table does not matter.

    Raises:
        ValueError: If an argument is out of range.
    """

    num_folds: int = 5
    validation_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        _check_settings(self.num_folds, self.validation_fraction)

    def __call__(self, table: pd.DataFrame) -> Split:
        """Deals the patients of a store's table (columns patient, has_mask, level, site).

        Raises:
            ValueError: If fewer patients have masks than there are folds.
        """
        order = shuffled(strata_of(table), self.seed)
        if len(order) < self.num_folds:
            raise ValueError(
                f"split.num_folds is {self.num_folds}, but only {len(order)} patient(s) have masks: "
                f"{', '.join(sorted(str(unit[0]) for unit in order)) or 'none'}; "
                + (f"set split.num_folds to at most {len(order)}" if len(order) > 1 else "label more, or use split=all")
            )
        split = _dealt(order, table, PATIENT, self)
        logger.info(
            "%d folds over %d patients with masks; %d without masks are in every training part",
            *(self.num_folds, len(order), len(split.test_fold) - len(order)),
        )
        return split


@dataclass(frozen=True)
class HoldOut:
    """One test part of patients, the same in every run; the others train or validate and are never tested.

    Test and validation patients are spread evenly over the strata of `PatientFolds`. There is fold 0 alone.

    Attributes:
        test_fraction: Share of the patients with masks that are tested, above 0 and below 1: at least one, and not all.
        validation_fraction: As in `PatientFolds`.
        seed: As in `PatientFolds`.

    Raises:
        ValueError: If an argument is out of range.
    """

    test_fraction: float
    validation_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.test_fraction < 1:
            raise ValueError(f"split.test_fraction is {self.test_fraction}, expected a share above 0 and below 1")
        _check_validation(self.validation_fraction)

    def __call__(self, table: pd.DataFrame) -> Split:
        """Chooses the test patients of a store's table (columns as in `PatientFolds`).

        Raises:
            ValueError: If fewer than two patients have masks.
        """
        order = shuffled(strata_of(table), self.seed)
        if len(order) < 2:
            raise ValueError(
                f"a hold-out needs patients to train on and others to test; {len(order)} patient(s) have masks: "
                f"{', '.join(str(unit[0]) for unit in order) or 'none'}; label more, or use split=all"
            )
        count = min(max(1, round(self.test_fraction * len(order))), len(order) - 1)
        tested = evenly(order, count, np.random.default_rng([self.seed, _TESTED]))
        logger.info("hold-out: %d of %d patients with masks are tested, in fold 0", count, len(order))
        return with_validation(
            order,
            dict.fromkeys(order) | dict.fromkeys(tested, 0),
            num_folds=1,
            weak=without_masks(table, PATIENT, order),
            columns=PATIENT,
            fraction=self.validation_fraction,
            seed=self.seed,
        )


@dataclass(frozen=True)
class ImageFolds:
    """Cross-validation by image, as published: slices of one patient are in training and in test.

    Scores under this split are too good for unseen patients; it exists to measure by how much. Its settings are those
    of `PatientFolds`, counted in slices. Nothing is stratified, as no paper says it was.

    Raises:
        ValueError: If an argument is out of range.
    """

    num_folds: int = 5
    validation_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        _check_settings(self.num_folds, self.validation_fraction)

    def __call__(self, table: pd.DataFrame) -> Split:
        """Deals the slices with masks of a store's table and logs how many patients straddle training and test.

        Raises:
            ValueError: If fewer slices have masks than there are folds.
        """
        order = shuffled(dict.fromkeys(units_of(with_masks(table), IMAGE), ()), self.seed)
        if len(order) < self.num_folds:
            raise ValueError(
                f"split.num_folds is {self.num_folds}, but only {len(order)} slice(s) have masks; set split.num_folds "
                "to at most that"
            )
        split = _dealt(order, table, IMAGE, self)
        for fold in range(self.num_folds):
            num_tested = len({unit[0] for unit, test_fold in split.test_fold.items() if test_fold == fold})
            logger.warning(
                "image-level fold %d: %d of its %d test patients are in training or validation, too",
                *(fold, len(split.straddling(fold)), num_tested),
            )
        return split


class ExplicitFolds:
    """Folds from a CSV file with columns fold, part (train, validation or test), patient.

    Every patient with masks is named in every fold. One without masks may be left out and then trains in every fold.

    Args:
        path: The file, for example one that `Split.write` wrote.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __call__(self, table: pd.DataFrame) -> Split:
        """Reads the file and checks it against a store's table.

        Raises:
            ValueError: If a patient is in two parts of a fold or tested in two folds, is unknown to the cohort, is left
                out although it has masks, or is to be scored without having any; or if the file is malformed.
        """
        listed, _ = read_table(self.path)
        try:
            # By patient even if the file lists slices: those of one patient may not be in two parts.
            split = Split.from_table(listed.loc[:, ["fold", "part", "patient"]])
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error
        known, masked = set(units_of(table, PATIENT)), set(units_of(with_masks(table), PATIENT))
        scored = {unit for unit, fold in split.test_fold.items() if fold is not None}.union(*split.validation)
        self._refuse(split.test_fold.keys() - known, "not in this cohort; correct the name or remove the rows")
        self._refuse(masked - split.test_fold.keys(), "left out although they have masks; name them in every fold")
        self._refuse(scored - masked, "to be validated or tested, but have no masks; move them to train")
        weak = dict.fromkeys(known - split.test_fold.keys())
        return Split(columns=PATIENT, test_fold={**split.test_fold, **weak}, validation=split.validation)

    def _refuse(self, units: Iterable[Unit], reason: str) -> None:
        names = sorted(str(unit[0]) for unit in units)
        if names:
            raise ValueError(f"{self.path}: {', '.join(names)}: {reason}")


@dataclass(frozen=True)
class AllTest:
    """Every slice with a mask is tested, in fold 0: evaluation of a trained network on another cohort."""

    def __call__(self, table: pd.DataFrame) -> Split:
        """Puts every patient with masks of a store's table into the test part.

        Raises:
            ValueError: If no slice has a mask.
        """
        masked = units_of(with_masks(table), PATIENT)
        if not masked:
            raise ValueError("split=all tests every slice with a mask, but no case of the cohort has one; add labels")
        test_fold = dict.fromkeys(units_of(table, PATIENT)) | dict.fromkeys(masked, 0)
        return Split(columns=PATIENT, test_fold=test_fold, validation=(frozenset(),))


def _check_settings(num_folds: int, validation_fraction: float) -> None:
    if num_folds < 2:
        raise ValueError(f"split.num_folds is {num_folds}, expected at least 2; split=all tests everything in one fold")
    _check_validation(validation_fraction)


def _check_validation(validation_fraction: float) -> None:
    if not 0 <= validation_fraction < 1:
        raise ValueError(f"split.validation_fraction is {validation_fraction}, expected a share from 0 to below 1")


def _dealt(
    order: Sequence[Unit], table: pd.DataFrame, columns: tuple[str, ...], settings: PatientFolds | ImageFolds
) -> Split:
    """Deals units with masks to test folds in turn."""
    return with_validation(
        order,
        {unit: index % settings.num_folds for index, unit in enumerate(order)},
        num_folds=settings.num_folds,
        weak=without_masks(table, columns, order),
        columns=columns,
        fraction=settings.validation_fraction,
        seed=settings.seed,
    )
