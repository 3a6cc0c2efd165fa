"""How far a grid is: the state of every cell as its folder tells it, as a table, as a file, as an exit code."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lightning_modules.grid.grid_plan import Cell
from records.folder import ERROR, RunFolder
from records.registry import IDENTITY
from records.whole_files import replace_text

STATES = ("done", "failed", "interrupted", "running", "missing")
COLUMNS = ("cell", "experiment", "ablation", "split", "fold", "seed", "overrides", "status", "error", "epochs")
WIDTH = 160  # characters of the widest list: a cell's name is cut by no terminal and no log file
STYLES = {"done": "green", "failed": "red", "interrupted": "yellow", "running": "cyan", "missing": "dim"}


@dataclass(frozen=True, kw_only=True)
class CellStatus:
    """A cell and what its folder says of it.

    Attributes:
        cell: Which.
        state: One of `STATES`. A finished cell that an asked-for arm is missing of is not done.
        error: First line of what went wrong, of failed cells.
        epochs: Epochs trained so far.
    """

    cell: Cell
    state: str
    error: str
    epochs: int


def status_of(cell: Cell) -> CellStatus:
    """Reads a cell's folder; writes nothing."""
    folder = RunFolder(cell.folder)
    failure = folder.path / ERROR
    if folder.in_use:
        state = "running"
    elif failure.exists():
        state = "failed"
    elif folder.finished and not folder.missing_arms(cell.arms):
        state = "done"
    else:
        state = "interrupted" if folder.begun else "missing"
    error = ""
    if state == "failed":  # as the report reads it (`records.run_files.read_error`); a full disk leaves it empty
        text = failure.read_text(encoding="utf-8", errors="replace")
        error = text.strip().partition("\n")[0] or f"{ERROR} is empty"
    return CellStatus(cell=cell, state=state, error=error, epochs=_epochs(folder.path / "metrics.csv"))


def exit_code(statuses: Sequence[CellStatus]) -> int:
    """0 if all are done, 3 if another process is still at work on the rest, else 1."""
    states = {status.state for status in statuses}
    if states <= {"done"}:
        return 0
    return 3 if states <= {"done", "running"} else 1


def write_csv(statuses: Sequence[CellStatus], path: Path) -> None:
    """Writes a row per cell, the whole file or none of it."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for status in statuses:
        cell = status.cell
        which = (cell.folder.name, cell.experiment, cell.ablation, cell.split, cell.fold, cell.seed)
        table.writerow((*which, " ".join(cell.overrides), status.state, status.error, status.epochs))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text.getvalue())


def print_table(statuses: Sequence[CellStatus], folder: Path) -> None:
    """Prints a row per cell, then how many there are of each state; or that nothing ever ran.

    Runs of other settings that lie in the same folder are counted, with the presets that they were made with.
    """
    console = Console(highlight=False, soft_wrap=True, width=WIDTH)
    states = [status.state for status in statuses]
    beside = other_runs(statuses, folder)
    if set(states) == {"missing"}:
        ever = "has been started with these settings" if beside else "has ever been started"
        console.print(f"{folder}: none of the {len(states)} cells of this grid {ever}")
        console.print(beside, markup=False, end="\n" if beside else "")
        return
    table = Table(title=f"{len(states)} cells of {folder}", title_justify="left")
    for name in ("cell", "split", "fold", "seed", "epochs", "status"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("fold", "seed", "epochs") else "left")
    for status in statuses:
        cell, state = status.cell, f"[{STYLES[status.state]}]{status.state}[/]"
        table.add_row(cell.folder.name, cell.split, str(cell.fold), str(cell.seed), str(status.epochs), state)
    console.print(table)
    for status in statuses:
        if status.error:
            console.print(f"{status.cell.folder / ERROR}: {status.error}", markup=False)
    count = Counter(states)
    console.print(", ".join(f"{count[state]} {state}" for state in STATES if count[state]))
    console.print(beside, markup=False, end="\n" if beside else "")


def other_runs(statuses: Sequence[CellStatus], folder: Path) -> str:
    """A sentence about runs in the folder that are no cell of this grid's command line; "" where there are none."""
    own = {status.cell.folder.resolve() for status in statuses}
    found = [file.parent for file in sorted(folder.glob(f"*/{IDENTITY}")) if file.parent.resolve() not in own]
    if not found:
        return ""
    presets = Counter(_preset(path) for path in found)
    text = ", ".join(f"{number} with {preset}" for preset, number in sorted(presets.items()))
    return f"{len(found)} other runs lie in {folder}, which this command line does not ask for: {text}"


def _preset(folder: Path) -> str:
    """How a run was made, as its card says."""
    try:
        choices = json.loads((folder / "run_card.json").read_text(encoding="utf-8"))["choices"]
        return f"trainer={choices['trainer']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "settings that no run_card.json says"


def _epochs(table: Path) -> int:
    return max(len(table.read_text(encoding="utf-8").splitlines()) - 1, 0) if table.exists() else 0
