"""Joblib grids: every cell in a process of its own, so that one that dies takes no other with it."""

import signal
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import joblib
from hydra.core.utils import JobReturn, JobStatus
from joblib.parallel import ThreadingBackend

from datamodules.store.worker_end import end_with_parent
from lightning_modules.grid import grid_cell
from lightning_modules.tasks import ending

PATIENCE_S = 5.0  # of cells that are told to end

_at_work: list[SpawnProcess] = []


class CellBackend(ThreadingBackend):
    """Joblib's threads, each of which waits for the process of one cell.

    Joblib's own processes (loky) are a pool: the kernel kills one for its memory, and all end in an exception.
    """

    def submit(self, func: Callable[[], Any], callback: Callable | None = None) -> Any:
        """Has a thread run `func` in a process."""
        return super().submit(partial(_in_a_process, func), callback)


def use_own_processes() -> None:
    """Gives joblib, and with it Hydra's launcher, a process a cell; they end with this one."""
    joblib.register_parallel_backend("loky", CellBackend)
    ending.last_words.append(_end_all)


def _in_a_process(cells: Callable[[], Any]) -> list[JobReturn]:
    """Runs Hydra's jobs, of which joblib hands over one at a time, and writes down how they died, if they did."""
    spawned = get_context("spawn")
    heard, tells = spawned.Pipe(duplex=False)
    process = spawned.Process(target=_work, args=(joblib.wrap_non_picklable_objects(cells), tells))
    process.start()
    _at_work.append(process)
    tells.close()
    process.join()
    code = process.exitcode or 0
    told_to_end = process not in _at_work  # by `_end_all`, by force where it took too long: it goes on another time
    if code and not told_to_end and abs(code) - 128 * (code > 0) not in ending.STOPS:
        try:
            folder = heard.recv()
        except EOFError:
            folder = None  # it died before it had one: the grid's list says missing
        grid_cell.write_failure(folder, _cause_of_death(code))
    if not told_to_end:
        _at_work.remove(process)
    # What went wrong inside is in the cell's folder.
    return [JobReturn(status=JobStatus.COMPLETED, _return_value=None)]


def _cause_of_death(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed, most often because memory ran out: fewer cells at once (hydra.launcher.n_jobs), smaller batches"
    return f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"


def _work(cells: Callable[[], Any], tells: Connection) -> None:
    """In the process of a cell."""
    ending.listen()
    end_with_parent()
    grid_cell.on_begin.append(tells.send)
    cells()


def _end_all() -> None:
    cells = [*_at_work]
    _at_work.clear()
    for process in cells:
        process.terminate()
    give_up = time.monotonic() + PATIENCE_S
    for process in cells:
        process.join(max(give_up - time.monotonic(), 0))
        process.kill()
