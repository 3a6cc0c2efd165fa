"""One cell of a grid: its state, what is caught of it, what it leaves in memory, how many threads it has."""

import gc
import weakref
from pathlib import Path

import pytest
import wandb
from omegaconf import OmegaConf

from callbacks.grid import threads_per_cell
from lightning_modules.grid.grid_cell import run_cell
from lightning_modules.grid.grid_plan import Cell
from lightning_modules.grid.grid_status import CellStatus, exit_code, print_table, status_of, write_csv
from records.folder import RunFolder
from records.registry import IDENTITY


def cell_in(folder: Path, *arms: str) -> Cell:
    which = {"experiment": "bs_esnet_no_deep_supervision", "ablation": "none", "split": "patient_folds"}
    return Cell(folder=folder, **which, fold=0, seed=0, arms=arms, overrides=("fold=0",))


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("what went wrong\n\nTraceback" if name == "error.txt" else "{}")


@pytest.mark.parametrize(
    ("names", "arms", "state"),
    [
        ([], (), "missing"),
        ([".lock"], (), "missing"),
        ([IDENTITY], (), "interrupted"),
        ([IDENTITY, "error.txt"], (), "failed"),
        (["error.txt"], (), "failed"),
        ([IDENTITY, "summary.json"], (), "done"),
        ([IDENTITY, "summary.json"], ("swapped",), "interrupted"),
        ([IDENTITY, "summary.json", "arms/swapped/summary.json"], ("swapped",), "done"),
        ([IDENTITY, "summary.json", "error.txt"], (), "failed"),
    ],
)
def test_the_state_of_a_cell_is_what_its_folder_tells(tmp_path, names, arms, state):
    folder = tmp_path / "cell"
    fill(folder, *names)
    there = sorted(tmp_path.rglob("*"))
    found = status_of(cell_in(folder, *arms))
    assert (found.state, found.error) == (state, "what went wrong" if state == "failed" else "")
    assert sorted(tmp_path.rglob("*")) == there, "looking leaves nothing behind"
    if folder.exists():
        with RunFolder(folder).locked():
            assert status_of(cell_in(folder, *arms)).state == "running"
        assert status_of(cell_in(folder, *arms)).state == state


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["done", "done"], 0),
        (["done", "running"], 3),
        (["running", "missing"], 1),
        (["failed", "running"], 1),
        (["interrupted", "done"], 1),
    ],
)
def test_the_exit_code_says_whether_the_grid_is_complete(states, code):
    statuses = [CellStatus(cell=cell_in(Path("cell")), state=state, error="", epochs=0) for state in states]
    assert exit_code(statuses) == code


def test_the_list_shows_long_names_and_markup_as_they_are(tmp_path, capsys):
    folder = tmp_path / "bs_esnet_no_deep_supervision-0123456789ab"
    statuses = [CellStatus(cell=cell_in(folder), state="failed", error="ValueError: [red] is no colour", epochs=3)]
    print_table(statuses, tmp_path)
    printed = capsys.readouterr().out
    (row,) = [line for line in printed.splitlines() if folder.name in line and "ValueError" not in line]
    assert all(text in row for text in ("patient_folds", "failed"))
    assert "ValueError: [red] is no colour" in printed
    assert "1 failed" in printed
    write_csv(statuses, tmp_path / "deeper" / "grid.csv")
    assert len((tmp_path / "deeper" / "grid.csv").read_text().splitlines()) == 2
    assert not list(tmp_path.rglob("*.partial"))


def test_cells_that_never_ran_are_told_from_runs_of_another_preset_beside_them(tmp_path, capsys):
    statuses = [status_of(cell_in(tmp_path / f"unet-{number}")) for number in range(2)]
    print_table(statuses, tmp_path)
    assert "none of the 2 cells of this grid has ever been started" in capsys.readouterr().out
    fill(tmp_path / "unet-a", IDENTITY)
    fill(tmp_path / "unet-b", IDENTITY)
    (tmp_path / "unet-b" / "run_card.json").write_text('{"choices": {"trainer": "smoke"}}')
    print_table(statuses, tmp_path)
    printed = capsys.readouterr().out
    assert "has ever been started" not in printed
    assert "has been started with these settings" in printed
    assert "2 other runs lie in" in printed
    assert "1 with trainer=smoke" in printed


def test_a_failed_cell_leaves_an_error_and_no_memory_and_the_next_wandb_run_is_its_own(tmp_path, monkeypatch):
    finished, kept = [], []
    monkeypatch.setattr(wandb, "finish", lambda exit_code: finished.append(exit_code))
    config = OmegaConf.create({"output": str(tmp_path / "cell")})

    class Network:
        pass

    def out_of_memory(config) -> None:
        network = Network()
        kept.append(weakref.ref(network))
        raise MemoryError("not enough memory:\nyou tried to allocate")

    gc.disable()  # so that nothing but the cell itself frees what a reference cycle holds
    try:
        run_cell(lambda: out_of_memory, config)
        assert kept[0]() is None
    finally:
        gc.enable()
    text = (tmp_path / "cell" / "error.txt").read_text()
    assert text.splitlines()[0] == "MemoryError: not enough memory: you tried to allocate"
    assert "in out_of_memory" in text
    run_cell(lambda: OmegaConf.to_yaml, config)
    assert not (tmp_path / "cell" / "error.txt").exists()
    assert finished == [1, 0]


def test_a_cell_that_another_process_holds_is_left_to_it_and_ctrl_c_ends_the_grid(tmp_path):
    config = OmegaConf.create({"output": str(tmp_path)})

    def interrupted(config) -> None:
        raise KeyboardInterrupt

    def claims(config) -> None:
        with RunFolder(config.output).locked():
            raise AssertionError("two at work in one folder")

    with RunFolder(tmp_path).locked():
        run_cell(lambda: claims, config)
    assert not (tmp_path / "error.txt").exists()
    with pytest.raises(KeyboardInterrupt):
        run_cell(lambda: interrupted, config)
    assert not (tmp_path / "error.txt").exists()


def test_a_look_at_a_folder_does_not_keep_a_run_from_it(tmp_path):
    """Whoever asks whether a folder is in use holds it for an instant."""
    with RunFolder(tmp_path).locked():
        pass
    assert not RunFolder(tmp_path).in_use
    with RunFolder(tmp_path).locked():
        assert RunFolder(tmp_path).in_use


@pytest.mark.parametrize(
    ("launcher", "settings", "num_cells", "threads"),
    [
        ("BasicLauncher", {}, 35, None),
        ("JoblibLauncher", {"n_jobs": 4}, 35, 4),
        ("JoblibLauncher", {"n_jobs": -1}, 35, 1),
        ("JoblibLauncher", {"n_jobs": -1}, 2, 8),
        ("LocalLauncher", {}, 5, 3),
        ("LocalLauncher", {}, 35, 1),
        ("SlurmLauncher", {}, 35, None),
        ("RayLauncher", {}, 35, None),
    ],
)
def test_cells_that_run_at_once_share_the_cores(launcher, settings, num_cells, threads):
    node = OmegaConf.create({"_target_": f"somewhere.{launcher}", **settings})
    assert threads_per_cell(node, num_cells, num_cores=16) == threads
