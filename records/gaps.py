"""What a report should have and has not: cells of a grid, folds of a row."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from records.run import Run


def expected_cells(paths: Iterable[Path]) -> pd.DataFrame:
    """All lists of cells (`grid_*.csv`) in the folders, joined; empty if there are none.

    Raises:
        ValueError: If one cannot be read.
    """
    files = sorted({file for path in paths for file in Path(path).resolve().glob("grid_*.csv")})
    tables = []
    for file in files:
        try:
            tables.append(pd.read_csv(file, dtype=str, keep_default_na=False).assign(grid=file.stem))
        except ValueError as error:
            raise ValueError(f"{file} cannot be read ({error}); make it again with task=status") from error
    columns = ["cell", "experiment", "ablation", "split", "fold", "seed", "overrides", "status", "error", "epochs"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def find_gaps(runs: Sequence[Run], expected: pd.DataFrame) -> list[str]:
    """Folds of a row that no finished cell tested, or not all of it, for each of its seeds; rows without any cell."""
    texts = []
    own = [run for run in runs if not run.arm and not run.scored]
    for training in dict.fromkeys(_training(run) for run in own):
        members = [run for run in own if _training(run) == training]
        missing = sorted(set(range(num_folds(members[0]))) - {run.fold for run in members})
        if missing:
            folds = ", ".join(map(str, missing))
            texts.append(f"gap: {training}: no finished cell for fold {folds}")
        untested = [num_untested(run) for run in members]
        if any(untested):
            folds = ", ".join(str(run.fold) for run, count in zip(members, untested, strict=True) if count)
            texts.append(
                f"gap: {training}: {sum(untested)} test slices of fold {folds} were not scored, as with "
                "trainer.limit_test_batches"
            )
    known = {run.row.split(" ")[0] for run in runs}
    for row in expected_rows(expected):
        if row not in known:
            texts.append(f"gap: {row}: no finished cell at all")
    return texts


def _training(run: Run) -> str:
    """What the folds of one training share, in words."""
    masks = "" if run.masked_patients is None else f", {run.curve_arm}, {run.masked_patients} masks, draw {run.draw}"
    return f"{run.row}, {run.split}{masks}, seed {run.seed}"


def expected_rows(expected: pd.DataFrame) -> list[str]:
    """Rows that the lists of cells name."""
    if not {"experiment", "ablation"} <= set(expected.columns):
        return []
    pairs = zip(expected["experiment"], expected["ablation"], strict=True)
    return list(dict.fromkeys(name if ablation in ("", "none") else f"{name}_{ablation}" for name, ablation in pairs))


def num_untested(run: Run) -> int:
    """How many slices of its test part, as its run card counts them, a run has no score of."""
    expected = (run.card.get("slices") or {}).get("test", 0)
    return max(int(expected) - len(run.cases[["case", "slice"]].drop_duplicates()), 0)


def num_folds(run: Run) -> int:
    """How many folds the split of a run has."""
    if run.parts is not None and len(run.parts):
        return len(set(run.parts["fold"]))
    return int(run.config.get("split", {}).get("num_folds", 1))
