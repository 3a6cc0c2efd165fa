"""Finished runs from disk, and which of them may stand in one table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from reports.consistency import check_budget, check_cells, check_cohort, check_data, check_truth
from reports.gaps import expected_cells, find_gaps
from reports.row_names import row_of, settings_of, variant_names
from reports.run_files import read_config, read_epochs, read_json, read_scores, read_split

AS_PUBLISHED = "as published"
BY_PATIENT = "by patient"
IMAGE_LEVEL = "datamodules.folds.ImageFolds"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One test of one training, or of a folder of masks.

    Attributes:
        folder: Where it lies; that of the arm for an arm.
        row: Key of its row in the table.
        split: BY_PATIENT, or AS_PUBLISHED for folds dealt by image.
        fold: Which fold was tested; None where the whole cohort was, as with scored masks.
        seed: Seed of the training.
        arm: "" for the run's own test, else the name of the arm.
        config: config.yaml.
        card: run_card.json; {} where scored masks have none.
        summary: summary.json.
        cases: cases.csv, with columns that older folders lack as NaN.
        epochs: metrics.csv; None for arms and scored masks.
        parts: split.csv; None where there is none.
    """

    folder: Path
    row: str
    split: str
    fold: int | None
    seed: int
    arm: str
    config: dict[str, Any]
    card: dict[str, Any]
    summary: dict[str, Any]
    cases: pd.DataFrame
    epochs: pd.DataFrame | None
    parts: pd.DataFrame | None = None

    @property
    def scored(self) -> bool:
        """Whether this is a folder of masks rather than a training."""
        return self.config.get("task") == "score"


@dataclass(frozen=True, kw_only=True)
class Runs:
    """What a report is made from.

    Attributes:
        runs: Every finished run, arms included.
        cohort: Name of the one cohort.
        structures: Names of the structures, in the anatomy's order.
        problems: Folders left out, each with the reason, and gaps (a row's fold without a finished cell).
        expected: All lists of cells (`grid_*.csv`) of the folders, joined; empty if there are none.
    """

    runs: tuple[Run, ...]
    cohort: str
    structures: tuple[str, ...]
    problems: tuple[str, ...]
    expected: pd.DataFrame


def load_runs(paths: Sequence[Path]) -> Runs:
    """Reads run folders, or folders of run folders.

    A folder that is unfinished or damaged is left out and named in `problems`; so is every fold of a row that no
    finished cell tested. What would make a wrong table is refused:

    * another cohort, other structures, other data, other true masks, or another split of the same kind;
    * rows with different budgets (size of the network's preset, epochs, batch, grid, augmentation). Where every row was
      run with every one of them, as in a sweep over presets, they are separate rows, each named by its settings;
    * the same cell, or the same slice of a row and seed, twice.

    Raises:
        ValueError: For these, naming the folders; if a path does not exist, holds no run folder, or no finished one.
    """
    folders = sorted({folder for path in paths for folder in find_run_folders(Path(path))})
    found, problems = [], []
    for folder in folders:
        try:
            runs, notes = _read_run(folder)
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
    check_budget(found)
    named = _name_variants(found)
    check_data(named)
    check_cells(named)
    check_truth(named)
    expected = expected_cells(paths)
    structures = tuple(dict.fromkeys(named[0].config["anatomy"]["structures"]))
    return Runs(
        runs=tuple(sorted(named, key=lambda run: (run.split, run.row, run.arm, run.seed, run.fold or 0))),
        cohort=str(named[0].card.get("cohort") or named[0].config["cohort"]["name"]),
        structures=structures,
        problems=(*problems, *find_gaps(named, expected)),
        expected=expected,
    )


def find_run_folders(path: Path) -> list[Path]:
    """Folders with a config.yaml in `path`, or `path` itself; what lies inside a run folder is not searched.

    Raises:
        ValueError: If the path does not exist.
    """
    if not path.is_dir():
        raise ValueError(f"there is no folder {path}; give run folders, or folders of run folders, as runs=DIR")
    path = path.resolve()
    if (path / "config.yaml").exists():
        return [path]
    below = [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]
    return [folder for child in sorted(below) for folder in find_run_folders(child)]


def _read_run(folder: Path) -> tuple[list[Run], list[str]]:
    config = read_config(folder)
    scored = config["task"] == "score"
    if not (folder / "summary.json").exists():
        failed = folder / "error.txt"
        reason = failed.read_text(encoding="utf-8").strip().splitlines() if failed.exists() else []
        raise ValueError(f"failed: {reason[-1]}" if reason else "not finished: it has no summary.json")
    has_card = (folder / "run_card.json").exists()
    card = read_json(folder / "run_card.json") if has_card or not scored else {}
    cases, summary = read_scores(folder)
    target = str(config.get("split", {}).get("_target_", ""))
    run = Run(
        folder=folder,
        row=row_of(config, card),
        split=AS_PUBLISHED if target == IMAGE_LEVEL and not scored else BY_PATIENT,
        fold=None if scored else int(config["fold"]),
        seed=0 if scored else int(config["seed"]),
        arm="",
        config=config,
        card=card,
        summary=summary,
        cases=cases,
        epochs=read_epochs(folder),
        parts=None if scored else read_split(folder),
    )
    arms, notes = [], []
    for path in sorted(folder.glob("arms/*/")):
        try:
            cases, summary = read_scores(path)
        except ValueError as error:
            notes.append(f"arm {path.name} left out: {error}")
            continue
        arms.append(replace(run, folder=path, arm=path.name, cases=cases, summary=summary, epochs=None))
    return [run, *arms], notes


def _name_variants(runs: Sequence[Run]) -> list[Run]:
    """Runs of a row with different settings become rows of their own, named by them."""
    named = []
    for row in dict.fromkeys(run.row for run in runs):
        members = [run for run in runs if run.row == row]
        trained = [run for run in members if not run.scored]
        # Both splits of a row are one row in two tables.
        settings = [
            {path: value for path, value in settings_of(run.config).items() if "split" not in path.split(".")}
            for run in trained
        ]
        variants = variant_names(settings, [run.card.get("commit") for run in trained])
        named += [run for run in members if run.scored]
        named += [replace(run, row=f"{row} {text}".strip()) for run, text in zip(trained, variants, strict=True)]
    return named
