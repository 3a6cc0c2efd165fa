"""Submitit's grids: a cell that dies takes no other with it, and on this machine all end with the grid.

Every job is started as `python -m` of this module: by Slurm, or on this machine by a controller. Left alone, one
without a result ends the waiting for all; and on this machine jobs outlive the process that started them and take no
notice of SIGTERM. Under Slurm they are meant to outlive it; its warning (SIGUSR2) stays with submitit, which requeues.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from submitit.core import plugins
from submitit.core.core import Job
from submitit.core.job_environment import JobEnvironment
from submitit.core.submission import process_job
from submitit.core.utils import DelayedSubmission, FailedJobError, JobPaths, UncompletedJobError
from submitit.local.local import LocalExecutor, LocalJob
from submitit.slurm.slurm import SlurmExecutor, SlurmJob

from datamodules.store.worker_end import end_with_parent
from lightning_modules.grid import grid_cell
from lightning_modules.tasks import ending

PATIENCE_S = 5.0  # of cells that are told to end
DIED = "its process ended without a result, {}; its log is {}"
LOCAL_CAUSE = (
    "most often killed because memory ran out: fewer cells at once (hydra/launcher=joblib hydra.launcher.n_jobs=N), "
    "smaller batches"
)
SLURM_CAUSE = (
    "Slurm says {}: more memory (hydra.launcher.mem_gb=N), more time (hydra.launcher.timeout_min=N), smaller batches"
)

_at_work: list[subprocess.Popen] = []  # controllers


class _Cell(Job[Any]):
    """A job whose death is written down as its cell's failure."""

    def results(self) -> list[Any]:
        """Waits; what went wrong inside is in the cell's folder."""
        try:
            return super().results()
        except FailedJobError as error:  # before the cell began
            grid_cell.write_failure(None, f"{str(error).strip().splitlines()[-1]} ({self.paths.stderr})")
        except UncompletedJobError:
            note = _note(self.paths)
            told = note.read_text(encoding="utf-8").splitlines() if note.exists() else []
            if len(told) < 2:  # else a signal ended it alone: the same command goes on with it
                line = DIED.format(self._cause(), self.paths.stderr)
                grid_cell.write_failure(Path(told[0]) if told else None, line)
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=None)]

    def _cause(self) -> str:
        """Why it may have died, and what helps."""
        raise NotImplementedError


class CellJob(_Cell, LocalJob):
    """On this machine."""

    def _cause(self) -> str:
        return LOCAL_CAUSE


class SlurmCellJob(_Cell, SlurmJob):
    """On a cluster, which knows how it ended."""

    def _cause(self) -> str:
        return SLURM_CAUSE.format(self.state)


class SlurmCellExecutor(SlurmExecutor):
    """Hands cells to Slurm."""

    job_class = SlurmCellJob

    @classmethod
    def name(cls) -> str:
        """As hydra/launcher=submitit_slurm asks for it."""
        return "slurm"

    @property
    def _submitit_command_str(self) -> str:
        return super()._submitit_command_str.replace("submitit.core._submit", __name__)

    def _internal_process_submissions(self, delayed_submissions: list[DelayedSubmission]) -> list[Job[Any]]:
        jobs = super()._internal_process_submissions(delayed_submissions)  # an array's are submitit's own
        return [SlurmCellJob(folder=self.folder, job_id=job.job_id, tasks=list(range(job.num_tasks))) for job in jobs]


class CellExecutor(LocalExecutor):
    """Starts cells that end with this process."""

    job_class = CellJob

    @classmethod
    def name(cls) -> str:
        """As hydra/launcher=submitit_local asks for it."""
        return "local"

    @property
    def _submitit_command_str(self) -> str:
        return super()._submitit_command_str.replace("submitit.core._submit", __name__) + f" {os.getpid()}"

    def _submit_command(self, command: str) -> CellJob:
        # Ctrl-C reaches controllers as well, which would kill their cells and say so in tracebacks.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            started = super()._submit_command(command)
        finally:
            signal.signal(signal.SIGINT, before)
        process = started._process
        assert process is not None
        _at_work.append(process)
        tasks = range(self.parameters.get("tasks_per_node", 1))
        return CellJob(folder=self.folder, job_id=started.job_id, process=process, tasks=list(tasks))


def use_own_cells() -> None:
    """Gives submitit, and with it Hydra's launchers, cells of ours; on this machine they end with this process."""
    executors: Any = plugins.get_executors()  # the dictionary that every later look-up sees
    executors |= {kind.name(): kind for kind in (CellExecutor, SlurmCellExecutor)}
    root = str(Path(__file__).parents[2])  # whatever the folder of the start
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    ending.last_words.append(_end_all)


def _end_all() -> None:
    for process in _at_work:
        process.terminate()  # a controller passes it on
    give_up = time.monotonic() + PATIENCE_S
    for process in _at_work:
        try:
            process.wait(max(give_up - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            process.kill()  # its cell ends with it
    _at_work.clear()


def _note(paths: JobPaths) -> Path:
    """Where a cell says which it is and, in a second line, that a signal ended it."""
    return paths.folder / f"{paths.job_id}_cell.txt"


def _work(folder: Path, grid: int | None) -> None:
    """In the process of a cell; `grid` is the process that the controller was started by, none under Slurm."""
    note = _note(JobPaths(folder, JobEnvironment().job_id))

    def begin(cell: Path) -> None:
        ending.hear()  # submitit has taken the signals
        note.write_text(f"{cell}\n", encoding="utf-8")

    ending.listen()
    if grid is not None:
        end_with_parent()
        ending.end_with(grid)
    grid_cell.on_begin.append(begin)
    try:
        process_job(folder)
    except ending.Stopped as stopped:
        with note.open("a", encoding="utf-8") as file:
            file.write("stopped\n")
        ending.say_goodbye(stopped.signum)
        raise


if __name__ == "__main__":
    _work(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
