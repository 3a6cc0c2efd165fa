"""What a grid does before its first cell and after its last: Hydra calls it in the process that starts the cells."""

import os
import sys
from functools import partial
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_modules.grid.grid_cell import one_line
from lightning_modules.grid.grid_plan import Cell, plan
from lightning_modules.grid.grid_status import exit_code, print_table, status_of, write_csv
from lightning_modules.tasks.command_line import mistake
from lightning_modules.tasks.ending import last_words
from lightning_modules.tasks.settings import check_settings

# Tasks whose cells end with a summary.json, so that their state can be told.
WITH_SUMMARY = ("train", "test", "score", "shape_model")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class GridEnd(Callback):
    """Plans a grid, answers task=status and task=report without starting a cell, and ends with the list of all cells.

    Hydra turns ordinary exceptions of its callbacks into warnings, hence SystemExit.

    Args:
        report: Path of a callback whose end writes the report, imported when it is needed; it comes after the file with
            the state of every cell, which it reads, and before the list and the exit code. None for no report.
    """

    def __init__(self, report: str | None = None) -> None:
        self.report = report
        self.cells: list[Cell] = []

    def on_run_start(self, config: DictConfig, **kwargs) -> None:
        """Refuses wrong settings and to list a grid that is none, before Hydra makes a folder for it."""
        if config.task == "status":
            raise SystemExit("paraspine: task=status lists the cells of a grid: put sweep=NAME on the line")
        try:
            check_settings(config)
        except (ValueError, OmegaConfBaseException) as error:
            raise SystemExit(f"paraspine: {mistake(error)}") from None

    def on_multirun_start(self, config: DictConfig, **kwargs) -> None:
        """Names the cells; ends here if only their state or a report was asked for."""
        if config.task not in (*WITH_SUMMARY, "status", "report"):
            return
        self.cells = _planned(config)
        if config.task == "status":
            sys.exit(self._list(config))
        if config.task == "report":
            sys.exit(self._report(config))
        write_csv([status_of(cell) for cell in self.cells], _csv(config))
        last_words.append(partial(self._list, config))
        kind = str(config.hydra.launcher._target_).rpartition(".")[2]
        if kind == "JoblibLauncher":
            from lightning_modules.grid.grid_processes import use_own_processes  # joblib is an extra

            use_own_processes()
        elif kind in ("LocalLauncher", "SlurmLauncher"):
            from lightning_modules.grid.submitit_cells import use_own_cells  # submitit is an extra

            use_own_cells()
        for name in THREADS:
            limit = threads_per_cell(config.hydra.launcher, len(self.cells), os.cpu_count() or 1)
            if limit is not None:
                os.environ.setdefault(name, str(limit))

    def on_multirun_end(self, config: DictConfig, **kwargs) -> None:
        """Reports, lists the cells, ends the process: 1 if one failed or is missing, 3 if the rest runs elsewhere."""
        if not self.cells:
            return
        last_words.clear()  # they are said here
        write_csv([status_of(cell) for cell in self.cells], _csv(config))
        self._report(config)
        code = self._list(config)
        if code:
            sys.exit(code)

    def _report(self, config: DictConfig) -> int:
        """Has the report written; one that fails takes nothing else with it. Returns 1 then."""
        if self.report is None:
            return 0
        try:
            get_class(self.report)().on_multirun_end(config=config)
        except Exception as error:
            print(f"paraspine: no report was written: {one_line(error)}", file=sys.stderr)
            return 1
        return 0

    def _list(self, config: DictConfig) -> int:
        statuses = [status_of(cell) for cell in self.cells]
        print_table(statuses, Path(config.hydra.sweep.dir))
        return exit_code(statuses)


def threads_per_cell(launcher: DictConfig, num_cells: int, num_cores: int) -> int | None:
    """Threads that each of the cells that run at once may have, or None where that is not ours to say.

    Two processes with as many threads as cores each run several times slower than with their share. Processes that a
    launcher starts inherit the limit; those of SLURM and ray have their share from their scheduler.
    """
    kind = str(launcher._target_).rpartition(".")[2]
    if kind == "JoblibLauncher":
        wanted = launcher.n_jobs if launcher.n_jobs > 0 else num_cores + 1 + launcher.n_jobs
        return max(num_cores // max(min(wanted, num_cells), 1), 1)
    if kind == "LocalLauncher":
        return max(num_cores // num_cells, 1)
    return None


def _planned(config: DictConfig) -> list[Cell]:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None, "Hydra calls its callbacks while it runs"
    try:
        return plan(config, hydra.config_loader)
    except (ValueError, HydraException, OmegaConfBaseException) as error:
        raise SystemExit(f"paraspine: {mistake(error)}") from None


def _csv(config: DictConfig) -> Path:
    name = OmegaConf.select(config, "hydra.runtime.choices.sweep")
    return Path(config.hydra.sweep.dir) / f"grid_{name}.csv"
