"""What the runs of one report must share; each check names the folders that do not."""

import textwrap
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from records.row_names import is_box_arm, settings_of
from records.run import Run

# docs/protocol.md, "Fair rows": all rows of a table share folds, steps, batch size, augmentation and tuning budget.
# Dotted paths, or nodes.
BUDGET = (
    *("scale.name", "scale.epochs", "scale.batch_size", "trainer.max_epochs", "trainer.limit_train_batches"),
    *("trainer.gradient_clip_val", "data.samples_per_epoch", "data.size", "data.spacing_mm", "data.augmentation"),
)
BOTH = "run one of them alone, as runs=DIR"


def check_cohort(runs: Sequence[Run]) -> None:
    """One cohort, one list of structures.

    Raises:
        ValueError: Naming a folder of each.
    """
    _same(runs, lambda run: run.card.get("cohort") or run.config["cohort"]["name"], "cohorts", BOTH)
    _same(runs, lambda run: tuple(run.config["anatomy"]["structures"]), "structures", BOTH)
    for run in runs:
        expected, found = set(run.config["anatomy"]["structures"]), set(run.cases["structure"])
        if expected != found:
            raise ValueError(
                f"{run.folder}: cases.csv has the structures {', '.join(sorted(found))}, its anatomy "
                f"{', '.join(sorted(expected))}; test it again"
            )


def check_budget(runs: Sequence[Run]) -> None:
    """All rows of a table have the same budget, unless every row was run with every one of them.

    Raises:
        ValueError: Naming the settings, their values and a folder of each.
    """
    trained = [run for run in runs if not run.scored and not run.arm]
    budgets = [_budget(run) for run in trained]
    by_row = defaultdict(set)
    for run, budget in zip(trained, budgets, strict=True):
        by_row[run.row].add(budget)
    if len({frozenset(each) for each in by_row.values()}) <= 1:
        return
    first = {budget: run.folder for run, budget in reversed(list(zip(trained, budgets, strict=True)))}
    (one, folder), (other, other_folder) = sorted(first.items(), key=lambda item: str(item[1]))[:2]
    texts = [f"{path}: {dict(one).get(path)} and {dict(other).get(path)}" for path in _differing(one, other)]
    raise ValueError(
        f"the rows of one table must share their budget, but {folder} and {other_folder} differ in {'; '.join(texts)}. "
        "Report them apart (runs=DIR), or run every row with both to compare these"
    )


def check_data(runs: Sequence[Run]) -> None:
    """The same data (per budget, as the grid is part of the hash) and, per kind of split, the same folds.

    Runs that take key points from other cohorts have other data, and a split that lists those too; in the patients that
    a fold is tested on they must agree all the same.

    Raises:
        ValueError: Naming a folder of each.
    """
    trained = [run for run in runs if not run.scored]
    for budget, weak in dict.fromkeys((_budget(run), _weak_cohort(run)) for run in trained):
        same = [run for run in trained if (_budget(run), _weak_cohort(run)) == (budget, weak)]
        _same(same, lambda run: run.card.get("data"), "hashes of the data (`data` in run_card.json)", "train on one")
    advice = "rows can only be compared on the same folds"
    for split, weak in dict.fromkeys((run.split, _weak_cohort(run)) for run in trained):
        same = [run for run in trained if (run.split, _weak_cohort(run)) == (split, weak)]
        _same(same, lambda run: run.card.get("split"), f"splits {split} (`split` in run_card.json)", advice)
    for split, fold in dict.fromkeys((run.split, run.fold) for run in trained if run.parts is not None):
        same = [run for run in trained if (run.split, run.fold) == (split, fold) and run.parts is not None]
        _same(same, _test_patients, f"test patients of fold {fold}, {split} (split.csv)", advice)


def check_cells(runs: Sequence[Run]) -> None:
    """No cell, and no slice of a row, seed and arm, is there twice.

    Raises:
        ValueError: Naming both folders.
    """
    cells: dict[Hashable, Run] = {}
    slices: dict[Hashable, dict[Hashable, Run]] = defaultdict(dict)
    for run in runs:
        group = (run.row, run.split, run.seed, run.arm, run.curve_arm, run.masked_patients, run.draw)
        twin = cells.setdefault((*group, run.fold), run)
        if twin is not run:
            fold = "" if run.fold is None else f", fold {run.fold}"
            raise ValueError(
                f"{run.row}{fold}, seed {run.seed} is there twice: {twin.folder} and {run.folder}; leave one out"
            )
        pairs = run.cases[["case", "slice"]].drop_duplicates()
        for pair in zip(pairs["case"], pairs["slice"], strict=True):
            other = slices[group].setdefault(pair, run)
            if other is not run:
                raise ValueError(
                    f"case {pair[0]}, slice {pair[1]} of {run.row}, seed {run.seed} is scored twice, in {other.folder} "
                    f"and in {run.folder}, and would weigh double; leave one out"
                )


def check_truth(runs: Sequence[Run]) -> None:
    """The same slice has the same true masks everywhere, or in every test on images moved in the same way.

    Raises:
        ValueError: Naming two folders and the case.
    """
    moved = [run.arm if run.arm and not is_box_arm(run.arm) else "" for run in runs]
    keys = ["moved", "case", "slice", "structure"]
    frames = [
        run.cases[[*keys[1:], "area_true_mm2"]].assign(folder=str(run.folder), moved=arm)
        for run, arm in zip(runs, moved, strict=True)
    ]
    table = pd.concat(frames, ignore_index=True)
    table["area"] = table["area_true_mm2"].fillna(-1.0)
    limits: Any = table.groupby(keys)["area"].agg(["min", "max"])
    wrong = limits.loc[(limits["max"] - limits["min"]) > 1e-3 * np.maximum(limits["max"].to_numpy(), 1.0)]
    if len(wrong):
        _, case, number, structure = wrong.index[0]
        here = table.set_index(keys).sort_index().loc[[wrong.index[0]]].reset_index()
        low, high = here.loc[here["area"].idxmin(), "folder"], here.loc[here["area"].idxmax(), "folder"]
        raise ValueError(
            f"case {case}, slice {number}: the true {structure} has another area in {low} than in {high} "
            f"({len(wrong)} such); they were not scored against the same masks"
        )


def _budget(run: Run) -> tuple[tuple[str, str], ...]:
    leaves = settings_of(run.config)
    return tuple(
        sorted(
            (path, value)
            for path, value in leaves.items()
            if any(path == node or path.startswith(f"{node}.") for node in BUDGET)
        )
    )


def _weak_cohort(run: Run) -> str:
    """The cohort that a run's key points come from, "" for its own."""
    return run.supervision.partition(" ")[2]


def _test_patients(run: Run) -> tuple[str, ...]:
    assert run.parts is not None
    here = (run.parts["fold"] == run.fold) & (run.parts["part"] == "test")
    return tuple(sorted(set(run.parts.loc[here, "patient"])))


def _differing(one: tuple[tuple[str, str], ...], other: tuple[tuple[str, str], ...]) -> list[str]:
    a, b = dict(one), dict(other)
    return [path for path in sorted({*a, *b}) if a.get(path) != b.get(path)]


def _same(runs: Sequence[Run], key: Callable[[Run], object], what: str, advice: str) -> None:
    first: dict[object, Run] = {}
    for run in runs:
        first.setdefault(key(run), run)
    if len(first) > 1:
        texts = [f"{textwrap.shorten(str(value), 200)} in {run.folder}" for value, run in first.items()]
        raise ValueError(f"one report cannot mix {what}: {'; '.join(texts)}. {advice[0].upper()}{advice[1:]}")
