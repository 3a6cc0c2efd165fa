"""Run folders that are damaged, failed or unfinished: left out, named, and never a number."""

import pytest
from omegaconf import OmegaConf

from lightning_modules.grid.grid_cell import run_cell
from lightning_modules.grid.grid_plan import Cell
from lightning_modules.grid.grid_status import status_of
from records.runs import load_runs
from tests.made.read_runs import SMALL
from tests.made.run_folders import STRUCTURES, write_grid, write_run


def rewrite(path, change):
    path.write_text(change(path.read_text()))


def cut_lines(text):
    return "".join(text.splitlines(keepends=True)[:-3])


def drop_a_slice(text):
    lines = text.splitlines(keepends=True)
    return "".join(lines[: -len(STRUCTURES)])


DAMAGE = {
    "no cases": (lambda folder: (folder / "cases.csv").unlink(), "cases.csv is missing"),
    "empty cases": (lambda folder: (folder / "cases.csv").write_text(""), "cases.csv is empty"),
    "last line cut": (lambda folder: rewrite(folder / "cases.csv", lambda text: text[:-5]), "cut off in its last line"),
    "cut in a line": (lambda folder: rewrite(folder / "cases.csv", lambda text: text[:-90] + "\n"), "fields in line"),
    "lines missing": (lambda folder: rewrite(folder / "cases.csv", cut_lines), "rows, expected"),
    "a slice missing": (lambda folder: rewrite(folder / "cases.csv", drop_a_slice), "rows, expected"),
    "a column missing": (
        lambda folder: rewrite(folder / "cases.csv", lambda text: text.replace("hd95_mm", "hd95", 1)),
        "lacks the columns hd95_mm",
    ),
    "no number": (
        lambda folder: rewrite(folder / "cases.csv", lambda text: text.replace("1000.0", "many", 1)),
        "not a number",
    ),
    "edited": (
        lambda folder: rewrite(folder / "cases.csv", lambda text: text.replace(",0.8", ",0.3", 1)),
        "summary.json is not that of cases.csv",
    ),
    "no summary": (lambda folder: (folder / "summary.json").unlink(), "not finished"),
    "failed": (
        lambda folder: (
            (folder / "summary.json").unlink(),
            (folder / "error.txt").write_text("MemoryError: 3 GB\n\nTraceback\nMemoryError"),
        ),
        "failed: MemoryError: 3 GB",
    ),
    "summary cut": (lambda folder: rewrite(folder / "summary.json", lambda text: text[:40]), "summary.json cannot be"),
    "card cut": (lambda folder: rewrite(folder / "run_card.json", lambda text: text[:40]), "run_card.json cannot be"),
    "no card": (lambda folder: (folder / "run_card.json").unlink(), "run_card.json is missing"),
    "no epochs": (
        lambda folder: (folder / "metrics.csv").write_text(""),
        "metrics.csv is empty: put the file back, or train anew (retrain=true)",
    ),
    "epochs cut": (lambda folder: rewrite(folder / "metrics.csv", lambda text: text[:-5]), "metrics.csv is cut off in"),
    "epochs cut in a line": (
        lambda folder: rewrite(folder / "metrics.csv", lambda text: text[:-15] + "\n"),
        "fields in line 21, expected 9; it is cut off: put the file back, or train anew (retrain=true)",
    ),
    "epochs overwritten": (
        lambda folder: (folder / "metrics.csv").write_bytes(b"epoch,val/dice\n0,\xff\xfe\n"),
        "metrics.csv: val/dice holds something that is not a number",
    ),
    "no split": (
        lambda folder: (folder / "split.csv").write_text(""),
        "split.csv is empty: put the file back, or train anew (retrain=true)",
    ),
    "split cut": (lambda folder: rewrite(folder / "split.csv", lambda text: text[:-2]), "split.csv is cut off in its"),
    "split without parts": (
        lambda folder: rewrite(folder / "split.csv", lambda text: text.replace("part", "half", 1)),
        "split.csv lacks the columns fold, part, patient: put the file back",
    ),
    "split without numbers": (
        lambda folder: rewrite(folder / "split.csv", lambda text: text.replace("\n0,", "\nzero,", 1)),
        "split.csv: fold holds something that is not a number",
    ),
    "config cut": (lambda folder: (folder / "config.yaml").write_text("task: [train"), "config.yaml cannot be read"),
}


@pytest.mark.parametrize(
    "damage",
    list(DAMAGE)[::3] + [pytest.param(name, marks=pytest.mark.slow) for index, name in enumerate(DAMAGE) if index % 3],
)
def test_a_damaged_folder_is_left_out_and_named_and_leaves_a_gap(tmp_path, damage):
    folders = write_grid(tmp_path, ("unet", "bs_esnet"), **SMALL)
    broken = folders[1]
    spoil, message = DAMAGE[damage]
    spoil(broken)
    runs = load_runs([tmp_path])
    assert {(run.row, run.fold) for run in runs.runs} == {("unet", 0), ("bs_esnet", 0), ("bs_esnet", 1)}
    assert any(message in problem and str(broken) in problem for problem in runs.problems), runs.problems
    assert "gap: unet, by patient, seed 0: no finished cell for fold 1" in runs.problems


def cell_of(folder):
    which = {"experiment": "unet", "ablation": "none", "split": "patient_folds", "overrides": ()}
    return Cell(folder=folder, fold=int(folder.name[6]), seed=0, arms=(), **which)


def fail(folder, text="RuntimeError: CUDA out of memory: [tried] to allocate\n\nTraceback\nRuntimeError: CUDA"):
    (folder / "error.txt").write_text(text)
    (folder / "summary.json").unlink(missing_ok=True)


def repair(folder):
    """The same command once more, as the grid starts it; this time it ends."""
    whole = (folder / "summary.json").read_text()
    fail(folder)
    assert status_of(cell_of(folder)).state == "failed"
    run_cell(lambda: lambda config: (folder / "summary.json").write_text(whole), OmegaConf.create({"output": folder}))


def fail_at_once(folder):
    fail(folder)
    for path in folder.iterdir():
        path.unlink() if path.name != "error.txt" else None


# How a cell ended: what is done to its folder, its state, and what a report says of it ("" where it counts).
OUT_OF_MEMORY = "failed: RuntimeError: CUDA out of memory: [tried] to allocate"


ENDED = {
    "done": (lambda folder: None, "done", ""),
    "failed": (fail, "failed", f"left out: {OUT_OF_MEMORY}"),
    "failed at once": (fail_at_once, "failed", f"left out: {OUT_OF_MEMORY}"),
    "failed, with blank lines": (
        lambda folder: fail(folder, "\n\nValueError: no masks\n"),
        "failed",
        "left out: failed: ValueError: no masks",
    ),
    "failed on a full disk": (
        lambda folder: fail(folder, ""),
        "failed",
        "left out: failed: error.txt is empty",
    ),
    "failed after its test": (
        lambda folder: (folder / "error.txt").write_text("ValueError: the images changed\n\nTraceback"),
        "failed",
        "an attempt after its test failed: ValueError: the images changed",
    ),
    "interrupted": (lambda folder: (folder / "summary.json").unlink(), "interrupted", "left out: not finished"),
    "repaired": (repair, "done", ""),
}


@pytest.mark.parametrize("ended", ENDED)
def test_the_state_of_a_cell_and_the_report_say_the_same_of_a_folder(tmp_path, ended):
    folders = write_grid(tmp_path, ("unet",), **SMALL)
    spoil, state, words = ENDED[ended]
    spoil(folders[1])
    told = status_of(cell_of(folders[1]))
    runs = load_runs([tmp_path])
    said = [problem for problem in runs.problems if problem.startswith(str(folders[1]))]
    assert told.state == state
    assert [f"{folders[1]}: {words}" in problem for problem in said] == [True] * bool(words)
    counts = folders[1] in [run.folder for run in runs.runs]
    assert counts == (ended in ("done", "repaired", "failed after its test"))
    assert bool(told.error) == (state == "failed")
    if told.error:
        assert said == [f"{folders[1]}: {words}"]
        assert said[0].endswith(f"failed: {told.error}")
    other = status_of(cell_of(folders[0]))
    assert (other.state, other.error) == ("done", "")


def test_a_later_attempt_that_failed_is_named_beside_the_numbers(tmp_path):
    folder = write_run(tmp_path / "a", num_patients=8)
    (folder / "error.txt").write_text("ValueError: the images changed\n\nTraceback")
    runs = load_runs([folder])
    assert len(runs.runs) == 1
    assert f"{folder}: an attempt after its test failed: ValueError: the images changed" in runs.problems


def test_a_damaged_arm_costs_the_arm_alone(tmp_path):
    folder = write_run(tmp_path / "a", arms={"none": 0.1, "shuffled": 0.2}, num_patients=8)
    (folder / "arms" / "none" / "summary.json").unlink()
    runs = load_runs([folder])
    assert {run.arm for run in runs.runs} == {"", "shuffled"}
    assert any("arm none left out" in problem for problem in runs.problems)


def test_when_every_run_is_damaged_the_reasons_are_given(tmp_path):
    for folder in write_grid(tmp_path, ("unet",), **SMALL):
        (folder / "cases.csv").unlink()
    with pytest.raises(ValueError, match=r"no finished run in .*\n.*unet-f0-s0: left out: cases.csv is missing"):
        load_runs([tmp_path])
