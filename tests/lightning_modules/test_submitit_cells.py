"""Grids through submitit on this machine: what happens to its cells when one of them, or the grid, is ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_modules.tasks import ending
from tests.made.grids import SMOKE, listed, places

pytest.importorskip("submitit")

from lightning_modules.grid import submitit_cells
from lightning_modules.grid.submitit_cells import CellExecutor, CellJob, SlurmCellExecutor, use_own_cells
from tests.lightning_modules.test_grid_processes import LONGER, NO_REPORT
from tests.made import slurm
from tests.made.processes import assert_gone, children_of, started, wait_for

SUBMITIT = ("sweep=bs_esnet_table1", "logger=csv", NO_REPORT)


@pytest.fixture
def died(tmp_path, monkeypatch):
    """A job whose process is gone and has left no result."""
    monkeypatch.setattr(CellJob, "_results_timeout_s", 0)  # for slow disks
    process = subprocess.Popen(["true"])
    process.wait()
    return CellJob(folder=tmp_path, job_id="7", process=process, tasks=[0])


def test_a_job_without_a_result_is_one_failed_cell(died, tmp_path, caplog):
    (tmp_path / "7_cell.txt").write_text(f"{tmp_path / 'cell'}\n")
    (result,) = died.results()
    assert result.return_value is None
    first = (tmp_path / "cell" / "error.txt").read_text().splitlines()[0]
    assert first.startswith("its process ended without a result, most often killed because memory ran out")
    assert "7_0_log.err" in first
    assert "paraspine: cell failed: its process" in caplog.text


def test_a_job_that_died_before_its_cell_began_is_told_without_a_folder(died, caplog):
    died.results()
    assert "paraspine: a cell failed: its process ended without a result" in caplog.text


def test_a_cell_that_was_told_to_end_is_no_failed_one(died, tmp_path, caplog):
    (tmp_path / "7_cell.txt").write_text(f"{tmp_path / 'cell'}\nstopped\n")
    died.results()
    assert not (tmp_path / "cell").exists()
    assert caplog.text == ""


@pytest.fixture
def hearing_ctrl_c():
    """Whatever started the tests may ignore it, as a shell does for what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hearing_ctrl_c")
def test_a_controller_hears_no_ctrl_c_and_ends_with_the_grid(tmp_path, monkeypatch):
    import submitit

    monkeypatch.setattr(submitit_cells, "_at_work", [])
    monkeypatch.setattr(ending, "last_words", [])
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(submitit.core.plugins, "get_executors", lambda found={}: found)
    use_own_cells()
    assert submitit.core.plugins.get_executors() == {"local": CellExecutor, "slurm": SlurmCellExecutor}
    heard = []
    monkeypatch.setattr(
        submitit.local.local,
        "start_controller",
        lambda **given: heard.append(given["command"]) or subprocess.Popen(["sleep", "60"]),
    )
    executor = CellExecutor(folder=tmp_path)
    job = executor._submit_command(executor._submitit_command_str)
    assert f"-m lightning_modules.grid.submitit_cells {tmp_path} {os.getpid()}" in heard[0]
    assert isinstance(job, CellJob)
    ignored = int(Path(f"/proc/{job._process.pid}/status").read_text().split("SigIgn:")[1].split()[0], 16)
    assert ignored >> (signal.SIGINT - 1) & 1
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    (end,) = ending.last_words
    end()
    assert job._process.returncode == -signal.SIGTERM


def test_a_process_ends_with_another_that_is_not_its_parent():
    other = subprocess.Popen(["sleep", "60"])
    watch = f"from lightning_modules.tasks.ending import end_with; end_with({other.pid}); print('there', flush=True)"
    asleep = "import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", f"{watch}; {asleep}"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"there\n"
    assert process.poll() is None
    other.kill()  # and nobody asks about it: what holds its pipes may be what waits
    assert process.wait(30) == 1
    process.stdout.close()
    other.wait()


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["local", "slurm"])
def test_a_killed_cell_is_one_failed_cell_and_the_others_finish(tmp_path, generated, cluster):
    path = slurm.install(tmp_path / "bin") if cluster == "slurm" else os.environ["PATH"]
    words = (*SUBMITIT, f"hydra/launcher=submitit_{cluster}", "experiment=unet", *SMOKE, "fold=0,1")
    longer = "scale.epochs=60"  # far from its end when it is found
    process = started(tmp_path, *words, longer, *places(tmp_path / "grid", generated), PATH=path)
    first = wait_for(process, tmp_path / "grid", "*/checkpoints/last.ckpt")
    note = next(
        path for path in (tmp_path / "grid").glob(".submitit/*/*_cell.txt") if str(first.parents[1]) in path.read_text()
    )
    job = note.name.removesuffix("_cell.txt")
    name = "SUBMITIT_LOCAL_JOB_ID" if cluster == "local" else "SLURM_ARRAY_TASK_ID"
    os.kill(working_on(name, job.rpartition("_")[2]), signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    table = listed(tmp_path / "grid")
    assert sorted(table["status"]) == ["done", "failed"]
    (why,) = table.loc[table["status"] == "failed", "error"]
    assert why.startswith("its process ended without a result, ")
    assert ("Slurm says OUT_OF_MEMORY" if cluster == "slurm" else "memory ran out") in why


def working_on(name: str, value: str) -> int:
    """The Python process of ours whose environment says so."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            here = f"{name}={value}".encode() in (folder / "environ").read_bytes().split(b"\0")
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if here and words[1:4] == [b"-u", b"-m", b"lightning_modules.grid.submitit_cells"]:
                return int(folder.name)
    raise AssertionError(f"no cell has {name}={value}")


@pytest.mark.slow
def test_the_cells_of_a_grid_end_with_it(tmp_path, generated):
    """However that ended; the same command goes on, and SIGTERM is told in one line and the list."""
    words = (
        *SUBMITIT,
        "hydra/launcher=submitit_local",
        *LONGER,
        "scale.epochs=200",
        "fold=0,1",
        *places(tmp_path / "grid", generated),
    )
    grid = tmp_path / "grid"
    for signum in (signal.SIGKILL, signal.SIGTERM):
        process = started(tmp_path, *words)
        wait_for(process, grid, "*/checkpoints/last.ckpt")
        while signum == signal.SIGTERM and not any(
            "Going on from" in log.read_text() for log in grid.glob(".submitit/*/*_log.err")
        ):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        children = children_of(process.pid)
        assert sum("submitit" in line for line in children.values()) == 4, children
        process.send_signal(signum)
        output, _ = process.communicate(timeout=40)
        assert_gone(children)
    assert process.returncode == 143, output
    assert [line for line in output.splitlines() if line.startswith("paraspine: ")] == [
        "paraspine: stopped by SIGTERM; the same command goes on from here"
    ]
    assert "Traceback" not in output
    assert "2 cells of" in output
    assert "interrupted" in output
    assert "failed" not in output
