"""How units are put in order, dealt to folds and chosen for validation; what the splits of `folds` share."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from datamodules.splits.split import PATIENT, Split, Unit, units_of

logger = logging.getLogger(__name__)

# Below this number of training units nothing can be spared for validation; the last checkpoint counts as best then.
FEWEST_WITH_VALIDATION = 3


def with_masks(table: pd.DataFrame) -> pd.DataFrame:
    """Slices of a store's table that have a mask."""
    return table.loc[table["has_mask"].to_numpy(dtype=bool)]


def without_masks(table: pd.DataFrame, columns: Sequence[str], masked: Iterable[Unit]) -> set[Unit]:
    """Units of a store's table beside those with masks."""
    return set(units_of(table, columns)) - set(masked)


def strata_of(table: pd.DataFrame) -> dict[Unit, tuple[str, ...]]:
    """Levels and sites of the slices with masks, for each patient that has any."""
    masked = with_masks(table)
    names = [table_name for table_name in ("level", "site") if table_name in masked]
    facts = defaultdict(set)
    for unit, *values in zip(units_of(masked, PATIENT), *(masked[name].astype(str) for name in names), strict=True):
        facts[unit] |= {f"{name} {value}" for name, value in zip(names, values, strict=True)}
    return {unit: tuple(sorted(values)) for unit, values in facts.items()}


def shuffled(strata: Mapping[Unit, tuple[str, ...]], seed: int) -> list[Unit]:
    """Units stratum by stratum, in random order within each; a function of the set of units and the seed alone."""
    units = sorted(strata)
    drawn = [units[index] for index in np.random.default_rng(seed).permutation(len(units))]
    return sorted(drawn, key=lambda unit: strata[unit])


def evenly(units: Sequence[Unit], count: int, rng: np.random.Generator) -> list[Unit]:
    """Evenly spaced units from a random start: as they are in order of strata, each stratum gives its share."""
    if not count:
        return []
    start, number = int(rng.integers(len(units))), len(units)
    return [units[(start + index * number // count) % number] for index in range(count)]


def with_validation(
    order: Sequence[Unit],
    test_fold: Mapping[Unit, int | None],
    *,
    num_folds: int,
    weak: Iterable[Unit],
    columns: tuple[str, ...],
    fraction: float,
    seed: int,
) -> Split:
    """The split of units with masks, of which each fold takes its validation part from those that it does not test.

    Args:
        order: Units with masks, stratum by stratum.
        test_fold: The fold that tests each of them; None for one that is never tested.
        num_folds: How many folds there are.
        weak: Units without masks, which train in every fold.
        columns: What names a unit.
        fraction: Share of a fold's training units with masks that validate.
        seed: What the validation parts are drawn from.
    """
    validation = []
    for fold in range(num_folds):
        training = [unit for unit in order if test_fold[unit] != fold]
        if fraction and len(training) < FEWEST_WITH_VALIDATION:
            logger.warning(
                "fold %d: %d %s(s) with masks to train on, too few to validate; the last checkpoint counts as best",
                *(fold, len(training), columns[-1]),
            )
        rng = np.random.default_rng([seed, fold])
        validation.append(frozenset(evenly(training, num_validating(len(training), fraction), rng)))
    return Split(columns=columns, test_fold={**test_fold, **dict.fromkeys(weak)}, validation=tuple(validation))


def num_validating(num_training: int, fraction: float) -> int:
    """How many of these training units validate: at least one and not all; none of too few, or for a share of 0."""
    if num_training < FEWEST_WITH_VALIDATION or not fraction:
        return 0
    return min(max(1, round(fraction * num_training)), num_training - 1)
