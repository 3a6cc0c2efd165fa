"""Finished runs from disk, and which of them may stand in one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from records.consistency import check_budget, check_cells, check_cohort, check_data, check_truth
from records.gaps import expected_cells, find_gaps
from records.row_names import settings_of, variant_names
from records.run import AS_PUBLISHED, BY_PATIENT, KEYPOINT, Run, read_run

__all__ = ["AS_PUBLISHED", "BY_PATIENT", "Run", "Runs", "find_run_folders", "load_runs"]


@dataclass(frozen=True, kw_only=True)
class Runs:
    """What a report is made from.

    Attributes:
        runs: Every finished run that the table is about, arms included.
        cohort: Name of the one cohort.
        structures: Names of the structures, in the anatomy's order.
        problems: Folders left out, each with the reason, and gaps (a row's fold without a finished cell).
        expected: All lists of cells (`grid_*.csv`) of the folders, joined; empty if there are none.
        curve: Runs with masks of a limited number of patients.
        fused: Fusions of several models, whole runs like `runs`.
        keypoint_only: Runs trained without any mask, whose masks are no result.
    """

    runs: tuple[Run, ...]
    cohort: str
    structures: tuple[str, ...]
    problems: tuple[str, ...]
    expected: pd.DataFrame
    curve: tuple[Run, ...] = ()
    fused: tuple[Run, ...] = ()
    keypoint_only: tuple[Run, ...] = ()

    @property
    def everything(self) -> tuple[Run, ...]:
        """Runs of every kind."""
        return (*self.runs, *self.curve, *self.fused, *self.keypoint_only)


def load_runs(paths: Sequence[Path], varied: Mapping[str, tuple[str, str]] | None = None) -> Runs:
    """Reads run folders, or folders of run folders.

    A folder that is unfinished or damaged is left out and named in `problems`; so is every fold of a row that no
    finished cell tested. What would make a wrong table is refused:

    * another cohort, other structures, other data, other true masks, or another split of the same kind;
    * rows with different budgets (size of the network's preset, epochs, batch, grid, augmentation). Where every row was
      run with every one of them, as in a sweep over presets, they are separate rows, each named by its settings;
    * the same cell, or the same slice of a row and seed, twice.

    What is no single model trained on all masks never joins the table: see `Runs`.

    Args:
        paths: The folders.
        varied: Rows that a paper varies a setting of (`reports.papers.varied_settings`).

    Raises:
        ValueError: For these, naming the folders; if a path does not exist, holds no run folder, or no finished one.
    """
    folders = sorted({folder for path in paths for folder in find_run_folders(Path(path))})
    found, problems = [], []
    for folder in folders:
        try:
            runs, notes = read_run(folder)
        except ValueError as error:
            problems.append(f"{folder}: left out: {error}")
            continue
        found += runs
        problems += [f"{folder}: {note}" for note in notes]
    if not found:
        text = "\n".join(problems)
        raise ValueError(
            f"there is no finished run in {', '.join(map(str, paths)) or 'what was given'}\n{text}".strip()
        )
    check_cohort(found)
    kinds = {kind: [run for run in found if _kind(run) == kind] for kind in KINDS}
    named = {kind: _fitting(runs, varied or {}) for kind, runs in kinds.items()}
    check_truth(found)
    expected = expected_cells(paths)
    return Runs(
        **named,
        cohort=str(found[0].card.get("cohort") or found[0].config["cohort"]["name"]),
        structures=tuple(dict.fromkeys(found[0].config["anatomy"]["structures"])),
        problems=(*problems, *find_gaps([run for kind in KINDS for run in named[kind]], expected)),
        expected=expected,
    )


KINDS = ("runs", "curve", "fused", "keypoint_only")


def _kind(run: Run) -> str:
    """The field of `Runs` that a run belongs to."""
    if run.fused:
        return "fused"
    if run.supervision.split(" ")[0] == KEYPOINT:
        return "keypoint_only"
    return "runs" if run.masked_patients is None else "curve"


def _fitting(runs: Sequence[Run], varied: Mapping[str, tuple[str, str]]) -> tuple[Run, ...]:
    """Runs of one kind, named and in order.

    Raises:
        ValueError: As in `load_runs`.
    """
    check_budget(runs)
    named = _name_variants(runs, varied)
    check_data(named)
    check_cells(named)
    return tuple(sorted(named, key=_order))


def _order(run: Run) -> tuple[object, ...]:
    masks = (run.masked_patients or 0, run.curve_arm, run.draw)
    return (run.split, run.row, run.arm, *masks, run.seed, run.fold or 0)


def find_run_folders(path: Path) -> list[Path]:
    """Folders with a config.yaml (or the error.txt of a cell that failed before) in `path`, or `path` itself.

    What lies inside a run folder is not searched.

    Raises:
        ValueError: If the path does not exist.
    """
    if not path.is_dir():
        raise ValueError(f"there is no folder {path}; give run folders, or folders of run folders, as runs=DIR")
    path = path.resolve()
    if any((path / name).exists() for name in ("config.yaml", "error.txt")):
        return [path]
    below = [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]
    return [folder for child in sorted(below) for folder in find_run_folders(child)]


def _name_variants(runs: Sequence[Run], varied: Mapping[str, tuple[str, str]]) -> list[Run]:
    """Runs of a row with different settings become rows of their own, named by them."""
    named = []
    for row, arm in dict.fromkeys((run.row, _curve_arm(run)) for run in runs):
        members = [run for run in runs if (run.row, _curve_arm(run)) == (row, arm)]
        trained = [run for run in members if not run.scored]
        # Both splits of a row are one row in two tables.
        settings = [
            {path: value for path, value in settings_of(run.config).items() if "split" not in path.split(".")}
            | {"supervision": run.supervision}
            for run in trained
        ]
        # Without masks a row is never what it is with them, whether or not that was run, too.
        setting = varied.get(row, ("", ""))
        row = f"{row} supervision={KEYPOINT}" if trained and _kind(trained[0]) == "keypoint_only" else row
        variants = variant_names(settings, [run.card.get("commit") for run in trained], setting)
        named += [run for run in members if run.scored]
        named += [replace(run, row=f"{row} {text}".strip()) for run, text in zip(trained, variants, strict=True)]
    return named


def _curve_arm(run: Run) -> str:
    """Both arms of a curve are one row of it, so that they are named apart; "" for a run of the table."""
    return "" if run.masked_patients is None else run.curve_arm
