"""Grids: which cells a line stands for, what becomes of them, and what is said of them."""

import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lightning_modules.grid.grid_plan import Cell
from lightning_modules.tasks import training
from records.folder import RunFolder
from tests.conftest import ROOT
from tests.made.grids import SMOKE, Reporter, listed, places, planned, start

TABLE = ("sweep=bs_esnet_table1", "experiment=unet", *SMOKE)
UNET = ("sweep=bs_esnet_table1", "experiment=unet", "fold=0")
SWEEPS = sorted(path.stem for path in (ROOT / "conf" / "sweep").glob("*.yaml") if path.stem != "none")


def cells_of(sweep: str) -> tuple[Cell, ...]:
    """Cells of a sweep on one fold, which are listed once however many tests ask."""
    return planned(f"sweep={sweep}", "fold=0", "seed=0", "cohort.root=somewhere")


def times(folder: Path, pattern: str) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob(pattern)}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with `data` and a `grid` of two cells, of which the first failed and the second is done."""
    root = tmp_path_factory.mktemp("made")
    assert start(*TABLE, "fold=9,0", *places(root / "grid", root / "data")) == 1
    return root


@pytest.fixture
def copied(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copied"))


def test_a_failing_cell_stops_no_other_and_the_list_names_it(made):
    table = listed(made / "grid")
    assert list(table.columns) == [
        *("cell", "experiment", "ablation", "split", "fold", "seed", "overrides", "status", "error", "epochs")
    ]
    assert table[["fold", "status", "epochs"]].values.tolist() == [[9, "failed", 0], [0, "done", 2]]
    failed, done = (made / "grid" / name for name in table["cell"])
    assert done.name.startswith("unet-")
    error = (failed / "error.txt").read_text()
    assert table["error"][0] == error.splitlines()[0]
    assert error.startswith("ValueError: fold=9 is out of range")
    assert "Traceback" in error
    assert [path.name for path in (done / "checkpoints").iterdir()] == ["best.ckpt"], "last.ckpt is spent"


@pytest.mark.slow
def test_status_trains_nothing_and_the_same_line_skips_what_is_finished(
    copied, tmp_path, generated, capsys, monkeypatch
):
    grid = copied / "grid"
    line = (*TABLE, "fold=9,0", *places(grid, copied / "data"))
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    assert start(*line, "task=status") == 1
    assert "1 done, 1 failed" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before
    elsewhere = places(tmp_path / "elsewhere", generated)
    assert start(*TABLE, "fold=9,0", *elsewhere, "task=status") == 1
    assert "none of the 2 cells of this grid has ever been started" in capsys.readouterr().out
    assert not (tmp_path / "elsewhere").exists()

    monkeypatch.setattr(Reporter, "found", [])
    finished, errors = times(grid, "*/summary.json"), times(grid, "*/error.txt")
    assert start(*line, "hydra.callbacks.grid.report=tests.made.grids.Reporter") == 1
    assert Reporter.found == ["failed", "done"], "the report is made after the last cell"
    printed = capsys.readouterr()
    message, report = [words for words in printed.err.splitlines() if words.startswith("paraspine: ")]
    assert "failed: ValueError: fold=9 is out of range" in message
    assert "no report was written: RuntimeError: no report" in report
    assert "1 done, 1 failed" in printed.out, "a report that fails takes neither the list nor the exit code with it"
    assert times(grid, "*/summary.json") == finished, "finished: skipped"
    again = times(grid, "*/error.txt")
    assert again.keys() == errors.keys()
    assert again != errors, "failed: tried again"


@pytest.mark.slow
def test_a_changed_cohort_is_an_error_of_the_cell_until_it_is_trained_anew(copied):
    grid = copied / "grid"
    line = (*TABLE, "fold=0", *places(grid, copied / "data"))
    (cases,) = grid.glob("*/cases.csv")
    before = cases.read_bytes()
    label = min((copied / "data" / "phantom").glob("*/labels/*.nii.gz"))
    shutil.copy(label.parents[1] / "second_rater" / label.name, label)
    assert start(*line) == 1
    (error,) = listed(grid)["error"]
    assert "cohort phantom: the images changed since" in error
    assert str(cases.parent) in error
    assert cases.read_bytes() == before
    assert start(*line, "retrain=true") == 0
    assert cases.read_bytes() != before
    assert not (cases.parent / "error.txt").exists()


@pytest.mark.slow
def test_new_arms_of_a_finished_cell_are_tested_without_training(tmp_path, generated, monkeypatch):
    grid = tmp_path / "grid"
    line = (*SMOKE, "fold=0", *places(grid, generated))
    assert start("sweep=bs_esnet_table1", "experiment=bs_esnet", *line) == 0
    (checkpoint,) = grid.glob("*/checkpoints/best.ckpt")
    trained, seen = checkpoint.stat().st_mtime_ns, []

    def arms(config, folder, data, module, trainer, checkpoint):
        seen.append((type(data).__name__, len(folder.missing_arms(config.arms)), trainer.max_epochs))
        if len(seen) == 1:
            raise RuntimeError("no memory for another test")
        for name in folder.missing_arms(config.arms):
            folder.arm(name).mkdir(parents=True)
            (folder.arm(name) / "summary.json").write_text("{}")

    monkeypatch.setattr(training, "test_arms", arms)
    assert start("sweep=bs_esnet_boxes", *line) == 1
    assert listed(grid, "bs_esnet_boxes")["error"].tolist() == ["RuntimeError: no memory for another test"]
    assert start("sweep=bs_esnet_boxes", *line) == 0
    assert start("sweep=bs_esnet_boxes", *line) == 0
    assert seen == [("SliceDataModule", 7, 2)] * 2, "the third time there is nothing to do"
    assert checkpoint.stat().st_mtime_ns == trained
    assert listed(grid, "bs_esnet_boxes")["cell"].tolist() == listed(grid)["cell"].tolist()


@pytest.mark.slow
def test_what_tables_of_a_paper_share_is_one_cell():
    """The row of the first table is the value of the second that the paper proposes, and the third's row, too."""
    first, second, third = ({cell.folder for cell in cells_of(f"msff_table{n}")} for n in (1, 2, 3))
    assert (len(first), len(second), len(third)) == (7, 8, 2)
    assert len(first & second) == 1
    assert first & second == first & third


@pytest.mark.slow
@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_sweep_names_experiments_that_exist(sweep):
    cells = cells_of(sweep)
    assert len({cell.folder for cell in cells}) == len(cells) > 0
    for cell in cells:
        assert (ROOT / "conf" / "experiment" / f"{cell.experiment}.yaml").exists()
    assert len({cell.folder.parent for cell in cells}) == 1, "one folder, one report"
    axes = OmegaConf.load(ROOT / "conf" / "sweep" / f"{sweep}.yaml").hydra.sweeper.params
    (num_folds,) = {OmegaConf.load(ROOT / "conf" / "split" / f"{cell.split}.yaml").num_folds for cell in cells}
    if sweep.startswith("care_"):
        assert axes.fold == 0, "one fold, of whose patients those who validate are looked at"
    else:
        assert axes.fold == f"range({num_folds})", "every fold of the split"


@pytest.mark.slow
def test_the_table_has_seven_rows_and_the_boxes_are_tested_in_its_own_cells():
    table, boxes = (cells_of(f"bs_esnet_{name}") for name in ("table1", "boxes"))
    assert len(table) == 7
    assert {cell.folder for cell in boxes} == {cell.folder for cell in table if cell.experiment == "bs_esnet"}
    assert all(cell.arms for cell in boxes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "axes"),
    [
        (["fold=0"], {"experiment": ["unet", "bs_esnet"], "fold": [0]}),
        (["fold=0,1", "experiment=unet"], {"experiment": ["unet"], "fold": [0, 1]}),
        (["seed=0,1", "fold=2"], {"experiment": ["unet", "bs_esnet"], "fold": [2], "seed": [0, 1]}),
        (["split=patient_folds,as_published", "fold=0"], {"split": ["patient_folds", "as_published"], "fold": [0]}),
    ],
    ids=["fold", "row", "seed", "split"],
)
def test_axes_are_narrowed_and_added_on_the_line(words, axes):
    cells = planned("sweep=bs_esnet_table1", "experiment=unet,bs_esnet", *words)
    for name, values in axes.items():
        assert list(dict.fromkeys(getattr(cell, name) for cell in cells)) == values
    assert len(cells) == len({cell.folder for cell in cells})


def test_looking_at_a_grid_looks_for_the_cells_that_training_makes():
    names = {task: [cell.folder for cell in planned(*UNET, f"task={task}")] for task in ("train", "status", "report")}
    assert names["train"] == names["status"] == names["report"]
    assert planned("sweep=bs_esnet_table1", "experiment=unet,unet", "fold=0") == planned(*UNET)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep=typo"], f"there is no sweep=typo: choose from {', '.join(sorted([*SWEEPS, 'none']))}"),
        (["trianer=smoke", "fold=0,1"], "Could not override 'trianer'"),
        (["sweep=scarnet_masks", "objective.terms.keypoints.weight=7"], "name them on the line: experiment=NAME"),
        (["trianer=smoke", "fold=0,1"], "(did you mean trainer?)"),
        (["experiment=unett", "fold=0,1"], "there is no experiment=unett (did you mean unet?): choose from"),
        (["experiment=unet,unett"], "there is no experiment=unett (did you mean unet?): choose from"),
        (["scale.epochs=two", "fold=0,1"], "scale.epochs is 'two', expected a whole number from 1 on"),
        (["optimizer.lr=1e-3,1e-3x"], "optimizer.lr is '1e-3x', expected a number above 0"),
        (["trainer.devices=2"], r"trainer.devices is 2: give trainer.devices=1"),
        (["output=here"], "hydra.sweep.dir=DIR moves the grid"),
        (["hydra/launcher=nowhere"], 'others are extras: pip install -e ".[nowhere]"'),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_in_a_grids_line_is_one_line_and_leaves_nothing(tmp_path, generated, capsys, words, message):
    sweep = () if words[0].startswith("sweep=") else ("sweep=bs_esnet_table1", "experiment=unet")
    grid = tmp_path / "grid"
    assert start(*sweep, *words, *places(grid, generated)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("paraspine: ")
    assert message in line
    assert not grid.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=unet,unett"], "there is no experiment=unett (did you mean unet?): choose from"),
        (["experiment=unet", "scale.epochs=two,2"], "scale.epochs is 'two', expected a whole number from 1 on"),
        (["experiment=unet", "trianer=smoke", "fold=0,1"], "(did you mean trainer?)"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_behind_m_is_one_line_and_leaves_nothing(tmp_path, generated, capsys, words, message):
    grid = tmp_path / "grid"
    assert start(*words, "-m", *places(grid, generated)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("paraspine: ")
    assert message in line
    assert not grid.exists()


def test_status_of_a_single_run_asks_for_a_grid(tmp_path, capsys):
    assert start("task=status", f"hydra.run.dir={tmp_path / 'run'}") == 1
    assert "put sweep=NAME on the line" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_further_process_of_a_distributed_run_leaves_lock_and_folder_to_the_first(tmp_path, monkeypatch):
    with RunFolder(tmp_path).locked():
        monkeypatch.setenv("LOCAL_RANK", "1")
        with RunFolder(tmp_path).locked():
            assert RunFolder(tmp_path).in_use
