"""Which deaths of a joblib cell are its failure: not those that the grid itself has brought about, having been told."""

import signal
from multiprocessing import Pipe
from threading import Event, Thread
from time import sleep
from types import SimpleNamespace

import pytest

from lightning_modules.grid import grid_cell, grid_processes


class Process:
    """A process that takes no notice of SIGTERM."""

    def __init__(self, **_):
        self.ended, self.exitcode = Event(), None

    def start(self):
        pass

    def terminate(self):
        pass

    def kill(self):
        self.exitcode = self.exitcode or -signal.SIGKILL
        self.ended.set()

    def join(self, timeout=None):
        self.ended.wait(timeout)


@pytest.fixture
def cell(monkeypatch):
    """A cell at work: the thread that waits for it, its process, and what is written of failures."""
    failures = []
    monkeypatch.setattr(grid_cell, "write_failure", lambda folder, line, details="": failures.append(line))
    monkeypatch.setattr(grid_processes, "get_context", lambda _: SimpleNamespace(Process=Process, Pipe=Pipe))
    monkeypatch.setattr(grid_processes, "_at_work", [])
    monkeypatch.setattr(grid_processes, "PATIENCE_S", 0.02)
    thread = Thread(target=grid_processes._in_a_process, args=(print,), daemon=True)
    thread.start()
    while not grid_processes._at_work:
        sleep(0.001)
    return thread, grid_processes._at_work[0], failures


def test_a_cell_that_the_kernel_kills_has_failed(cell):
    thread, process, failures = cell
    process.kill()
    thread.join(5)
    assert len(failures) == 1
    assert failures[0].startswith("killed, most often because memory ran out")
    assert grid_processes._at_work == []


def test_a_cell_that_ends_too_slowly_for_the_grid_has_not_failed(cell):
    thread, process, failures = cell
    grid_processes._end_all()
    thread.join(5)
    assert process.exitcode == -signal.SIGKILL
    assert failures == []
