"""Grids as real processes: killed, two at once, and through the launchers that start cells elsewhere."""

import importlib.util
import os
import signal

import pandas as pd
import pytest

from lightning_modules.grid.grid_status import status_of
from lightning_modules.tasks import training
from tests.conftest import TINY_PHANTOM, compose_line
from tests.made.grids import SMOKE, listed, places, planned
from tests.made.processes import assert_gone, children_of, started, wait_for

pytestmark = pytest.mark.slow
LONGER = ("experiment=unet", *TINY_PHANTOM, "trainer=smoke", "scale.epochs=6", "data.samples_per_epoch=24")
NO_REPORT = "hydra.callbacks.grid.report=null"
LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", []),
    "ray": ("hydra_plugins.hydra_ray_launcher", ["+hydra.launcher.ray.init.num_cpus=2"]),
}


def test_a_killed_grid_goes_on_in_two_processes_that_train_no_cell_twice(tmp_path, generated, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    grid = tmp_path / "grid"
    words = (
        "sweep=bs_esnet_table1",
        *LONGER,
        "model.width=8",
        "logger=csv",
        "fold=0,1",
        NO_REPORT,
        *places(grid, generated),
    )
    first, second = planned(*words)
    killed = started(tmp_path, *words)
    wait_for(killed, first.folder, "checkpoints/last.ckpt")
    assert [status_of(cell).state for cell in (first, second)] == ["running", "missing"]
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert [status_of(cell).state for cell in (first, second)] == ["interrupted", "missing"]

    together = [started(tmp_path, *words) for _ in range(2)]
    outputs = [process.communicate()[0] for process in together]
    assert {process.returncode for process in together} <= {0, 3}, outputs
    assert [status_of(cell).state for cell in (first, second)] == ["done", "done"]
    for cell in (first, second):
        assert sum(output.count(f"everything is in {cell.folder}") for output in outputs) == 1
    assert sum(output.count("Going on from") for output in outputs) == 1
    assert all("another process is at work" in output or " is finished: " in output for output in outputs)

    training.train(compose_line(tmp_path / "undisturbed", generated, *LONGER, "model.width=8"))
    tables = [pd.read_csv(folder / "cases.csv") for folder in (tmp_path / "undisturbed", first.folder)]
    pd.testing.assert_frame_equal(*tables)
    clocks = ["training_s", "images_per_s"]
    tables = [pd.read_csv(folder / "metrics.csv") for folder in (tmp_path / "undisturbed", first.folder)]
    pd.testing.assert_frame_equal(*(table.drop(columns=clocks) for table in tables))


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_trains_the_cells_in_processes_of_its_own(tmp_path, launcher):
    """Cold: both processes need a cohort and prepared arrays that are not there yet, and one of them makes them."""
    package, settings = LAUNCHERS[launcher]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: it comes with an extra of its own")
    words = ("sweep=bs_esnet_table1", "experiment=unet", *SMOKE, "phantom.num_patients=5", "fold=0,9")
    places_ = places(tmp_path / "grid", tmp_path / "data")
    process = started(tmp_path, *words, f"hydra/launcher={launcher}", *settings, *places_, RAY_AUTH_MODE="disabled")
    output, _ = process.communicate()
    assert process.returncode == 1, output
    table = listed(tmp_path / "grid")
    assert table["status"].tolist() == ["done", "failed"], output
    assert "fold=9 is out of range" in table["error"][1]
    assert len(list((tmp_path / "data" / "phantom").iterdir())) == 1
    assert len(list((tmp_path / "data" / "cache").glob("phantom-*"))) == 1
    assert len(pd.read_csv(tmp_path / "grid" / table["cell"][0] / "cases.csv")) > 0


JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
TWO = ("machine.devices=2", "trainer.strategy=ddp_find_unused_parameters_true")


LISTS = {
    "basic, SIGTERM": ((), "SIGTERM", 143),
    "basic, SIGUSR1": ((), "SIGUSR1", 138),
    "joblib, SIGINT": (JOBLIB, "SIGINT", 130),
    "joblib, SIGUSR1": (JOBLIB, "SIGUSR1", 138),
    "submitit, SIGINT": (("hydra/launcher=submitit_local",), "SIGINT", 130),
}


@pytest.mark.parametrize(("launcher", "name", "code"), LISTS.values(), ids=LISTS)
def test_a_grid_that_is_told_to_end_lists_its_cells_and_leaves_no_process(tmp_path, generated, launcher, name, code):
    words = ("sweep=bs_esnet_table1", *LONGER, "scale.epochs=200", "logger=csv", "fold=0,1", NO_REPORT, *launcher)
    process = started(tmp_path, *words, *places(tmp_path / "grid", generated))
    wait_for(process, tmp_path / "grid", "*/checkpoints/last.ckpt")
    children = children_of(process.pid)
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=20)
    assert process.returncode == code, output
    assert [line for line in output.splitlines() if line.startswith("paraspine: ")] == [
        f"paraspine: stopped by {name}; the same command goes on from here"
    ]
    assert "2 cells of" in output
    assert "interrupted" in output
    assert "failed" not in output
    assert_gone(children)


CELL = (*LONGER, "scale.epochs=4", "model.width=8", "logger=csv")
ENDS = [((), "SIGTERM"), (JOBLIB, "SIGTERM"), (JOBLIB, "SIGKILL"), (("hydra/launcher=submitit_local",), "SIGTERM")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, generated):
    """Tables of two cells that nothing disturbed, by fold."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for fold in range(2):
        training.train(compose_line(folder / str(fold), generated, *CELL, f"fold={fold}"))
    return [pd.read_csv(folder / str(fold) / "cases.csv") for fold in range(2)]


@pytest.mark.parametrize(("launcher", "name"), ENDS, ids=["basic", "joblib", "joblib killed", "submitit"])
def test_a_grid_that_was_ended_goes_on_to_undisturbed_numbers(tmp_path, generated, undisturbed, launcher, name):
    words = ("sweep=bs_esnet_table1", *CELL, "fold=0,1", NO_REPORT, *launcher, *places(tmp_path / "grid", generated))
    process = started(tmp_path, *words, OMP_NUM_THREADS="1")
    wait_for(process, tmp_path / "grid", "*/checkpoints/last.ckpt")
    children = children_of(process.pid)
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=20)
    assert "Traceback" not in output
    assert_gone(children)
    again = started(tmp_path, *words, OMP_NUM_THREADS="1")
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    table = listed(tmp_path / "grid")
    assert table["status"].tolist() == ["done", "done"]
    for folder, expected in zip(table["cell"], undisturbed, strict=True):
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "grid" / folder / "cases.csv"), expected)


def test_a_killed_worker_is_one_failed_cell_and_the_others_finish(tmp_path, generated):
    words = ("sweep=bs_esnet_table1", *LONGER, "scale.epochs=12", "logger=csv", "fold=0,1,2", NO_REPORT, *JOBLIB)
    process = started(tmp_path, *words, *places(tmp_path / "grid", generated))
    wait_for(process, tmp_path / "grid", "*/checkpoints/last.ckpt")
    cell = next(pid for pid, command in children_of(process.pid).items() if "multiprocessing.spawn" in command)
    os.kill(cell, signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    table = listed(tmp_path / "grid")
    assert sorted(table["status"]) == ["done", "done", "failed"]
    assert table["error"].str.startswith("killed, most often because memory ran out").sum() == 1


STOPPED = "paraspine: stopped by {}; the same command goes on from here"
LOST = "paraspine: another process of this distributed run has ended: killed, most often because memory ran out"
TOGETHER = {
    "SIGTERM": (0, 143, STOPPED),
    "SIGINT": (0, 130, STOPPED),
    "SIGUSR1": (0, 138, STOPPED),
    "SIGKILL": (0, -9, None),
    "SIGTERM of the second": (1, 143, STOPPED),
    "SIGKILL of the second": (1, 1, LOST),
}


@pytest.mark.parametrize("how", TOGETHER)
def test_two_processes_end_together(tmp_path, generated, how):
    (rank, code, said), name = TOGETHER[how], how.partition(" ")[0]
    words = (*LONGER, "scale.epochs=200", "logger=csv", *TWO, f"hydra.run.dir={tmp_path / 'run'}")
    process = started(tmp_path, *words, *places(tmp_path / "grid", generated))
    wait_for(process, tmp_path / "run", "checkpoints/last.ckpt")
    children = children_of(process.pid)
    second = next(pid for pid, command in children.items() if "run.py" in command)
    os.kill((process.pid, second)[rank], getattr(signal, name))
    output, _ = process.communicate(timeout=20)
    assert process.returncode == code, output
    lines = [line for line in output.splitlines() if line.startswith("paraspine: ")]
    assert len(lines) == (said is not None), output
    assert all(line.startswith(said.format(name)) for line in lines), lines
    assert "Traceback" not in output
    assert_gone(children)


def test_two_processes_go_on_to_the_numbers_of_an_undisturbed_run(tmp_path, generated):
    def line(folder: str) -> tuple[str, ...]:
        return (
            *LONGER,
            "logger=csv",
            *TWO,
            f"hydra.run.dir={tmp_path / folder}",
            *places(tmp_path / "grid", generated),
        )

    undisturbed = started(tmp_path, *line("undisturbed"), OMP_NUM_THREADS="1")
    output, _ = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, output
    stopped = started(tmp_path, *line("run"), OMP_NUM_THREADS="1")
    wait_for(stopped, tmp_path / "run", "checkpoints/last.ckpt")
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=60)
    again = started(tmp_path, *line("run"), OMP_NUM_THREADS="1")
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    tables = [pd.read_csv(tmp_path / folder / "cases.csv") for folder in ("undisturbed", "run")]
    pd.testing.assert_frame_equal(*tables)
