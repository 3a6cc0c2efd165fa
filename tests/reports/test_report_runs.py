"""Which run folders a report takes, what it calls them, and every way in which they can be wrong."""

import json

import pandas as pd
import pytest
from omegaconf import OmegaConf

from lightning_modules.grid.grid_cell import run_cell
from lightning_modules.grid.grid_plan import Cell
from lightning_modules.grid.grid_status import status_of
from metrics.aggregate import summarise
from records.runs import AS_PUBLISHED, BY_PATIENT, load_runs
from reports.collect import gather, ordered_rows
from reports.papers import empty_published
from tests.made.run_folders import STRUCTURES, cohort_slices, draw_cases, write_grid, write_run

SMALL = {"num_patients": 8, "num_folds": 2}


def rows(runs):
    return sorted({run.row for run in runs.runs})


def rewrite(path, change):
    path.write_text(change(path.read_text()))


def edit_card(folder, **entries):
    card = json.loads((folder / "run_card.json").read_text()) | entries
    (folder / "run_card.json").write_text(json.dumps(card))


def test_a_grid_is_read_as_it_was_written(tmp_path):
    write_grid(tmp_path, ("unet", "bs_esnet"), arms={"shuffled": 0.1}, **SMALL)
    runs = load_runs([tmp_path])
    assert (runs.cohort, runs.structures, runs.problems) == ("phantom", STRUCTURES, ())
    assert rows(runs) == ["bs_esnet", "unet"]
    assert {(run.split, run.fold, run.seed, run.arm) for run in runs.runs} == {
        (BY_PATIENT, fold, 0, arm) for fold in (0, 1) for arm in ("", "shuffled")
    }
    own = next(run for run in runs.runs if run.row == "unet" and run.fold == 1 and not run.arm)
    assert own.epochs is not None
    assert len(own.epochs) == 20
    written = draw_cases(cohort_slices(8), "unet", 0, 0.86)
    assert set(own.cases["case"]) < set(written["case"])
    merged = own.cases.merge(written, on=["case", "slice", "structure"])
    assert merged["dice_x"].to_numpy() == pytest.approx(merged["dice_y"].to_numpy(), nan_ok=True)


def test_run_folders_and_folders_of_them_may_be_mixed(tmp_path):
    one, two = write_grid(tmp_path / "deep" / "er", ("unet",), **SMALL)
    assert len(load_runs([one, two, tmp_path, one]).runs) == 2


def test_an_ablation_on_the_line_is_the_row_of_its_experiment_file(tmp_path):
    folders = write_grid(tmp_path, ("bs_esnet_no_sag",), **SMALL)
    edit_card(folders[1], choices={"experiment": "bs_esnet", "ablation": "no_sag"})
    assert rows(load_runs([tmp_path])) == ["bs_esnet_no_sag"]


def test_an_old_folder_is_named_by_its_command(tmp_path):
    first, second, third = (
        write_run(tmp_path / name, "unet", fold=fold, num_patients=9, num_folds=3) for fold, name in enumerate("abc")
    )
    edit_card(first, choices={}, command="python run.py experiment=bs_esnet ablation=no_sag fold=0")
    edit_card(second, choices={}, command="python run.py experiment=unet fold=1")
    edit_card(third, choices={}, command="python run.py -m experiment=unet,bs_esnet fold=0,1")
    runs = load_runs([tmp_path])
    assert rows(runs) == ["bs_esnet_no_sag", "unet"]
    assert any("does not say which experiment" in problem and "/c:" in problem for problem in runs.problems)


def test_settings_that_differ_within_a_row_make_rows_of_their_own(tmp_path):
    write_grid(tmp_path / "a", ("unet",), settings={"optimizer.lr": 0.001, "machine.devices": 2}, **SMALL)
    write_grid(tmp_path / "b", ("unet", "bs_esnet"), settings={"paths.data": "elsewhere"}, **SMALL)
    assert rows(load_runs([tmp_path])) == ["bs_esnet", "unet optimizer.lr=0.001", "unet optimizer.lr=0.002"]


def test_rows_of_a_setting_are_in_the_order_of_its_values(tmp_path):
    for value in (100.0, 0.5, 40.0):
        write_grid(tmp_path / str(value), ("unet",), settings={"optimizer.lr": value}, **SMALL)
    found = ordered_rows(load_runs([tmp_path]), empty_published())
    assert found == ("unet optimizer.lr=0.5", "unet optimizer.lr=40.0", "unet optimizer.lr=100.0")


LATER = {"trainer.accumulate_grad_batches": 1, "model.detector.scale": 4}


@pytest.mark.parametrize(
    ("settings", "commit", "named"),
    [
        (LATER, "1" * 40, None),
        (LATER, "0" * 40, "model.detector.scale=4"),
        ({"model.width": {"encoder": 8}}, "1" * 40, "model.width.encoder=8"),
        ({"callbacks.overlays.num_slices": 3}, "0" * 40, None),
        ({"callbacks.case_table.smoothing": 0.1}, "0" * 40, "callbacks.case_table.smoothing=0.1"),
    ],
    ids=["newer code", "same code", "replaced", "a recorder", "a choice of the checkpoint"],
)
def test_what_older_code_did_not_have_makes_no_row(tmp_path, settings, commit, named):
    write_run(tmp_path / "a", "unet", fold=0, **SMALL)
    write_run(tmp_path / "b", "unet", fold=1, settings=settings, card={"commit": commit}, **SMALL)
    found = rows(load_runs([tmp_path]))
    assert found == ["unet"] if named is None else len(found) == 2
    assert named is None or any(named in row for row in found), found


def test_seeds_folds_and_paths_do_not_make_rows(tmp_path):
    write_grid(tmp_path, ("unet",), seeds=(0, 1), **SMALL)
    assert rows(load_runs([tmp_path])) == ["unet"]


def test_scored_masks_are_a_row_without_a_fold(tmp_path):
    write_grid(tmp_path, ("unet",), **SMALL)
    folder = write_run(tmp_path / "rater", "second_rater", scored=True, num_patients=8)
    (folder / "run_card.json").unlink()
    runs = load_runs([tmp_path])
    rater = next(run for run in runs.runs if run.row == "second_rater")
    assert (rater.fold, rater.split, rater.cases["patient"].nunique()) == (None, BY_PATIENT, 8)
    assert runs.problems == ()


def test_both_splits_of_a_row_are_one_row(tmp_path):
    write_grid(tmp_path / "a", ("unet",), **SMALL)
    write_grid(tmp_path / "b", ("unet",), split=AS_PUBLISHED, **SMALL)
    assert {(run.row, run.split) for run in load_runs([tmp_path]).runs} == {
        ("unet", BY_PATIENT),
        ("unet", AS_PUBLISHED),
    }


def test_the_lists_of_cells_name_rows_without_any_cell(tmp_path):
    write_grid(tmp_path, ("unet",), **SMALL)
    lines = [("unet", "none", "done"), ("mask_rcnn", "none", "failed"), ("bs_esnet", "no_sag", "missing")]
    pd.DataFrame(lines, columns=["experiment", "ablation", "status"]).to_csv(tmp_path / "grid_x.csv", index=False)
    runs = load_runs([tmp_path])
    assert len(runs.expected) == 3
    assert [problem for problem in runs.problems if "at all" in problem] == [
        "gap: mask_rcnn: no finished cell at all",
        "gap: bs_esnet_no_sag: no finished cell at all",
    ]


def test_a_test_that_was_cut_short_is_a_gap(tmp_path):
    folders = write_grid(tmp_path, ("unet",), **SMALL)
    slices = json.loads((folders[1] / "run_card.json").read_text())["slices"]
    edit_card(folders[1], slices={**slices, "test": slices["test"] + 3})
    problems = load_runs([tmp_path]).problems
    assert len(problems) == 1
    assert problems[0].startswith("gap: unet, by patient, seed 0: 3 test slices of fold 1 were not scored")


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


def test_a_report_states_the_epochs_that_were_trained(tmp_path):
    folder = write_run(tmp_path / "a", num_patients=8)
    summary = json.loads((folder / "summary.json").read_text())
    summary["train"]["epochs"] = 7
    (folder / "summary.json").write_text(json.dumps(summary))
    (run,) = load_runs([folder]).runs
    assert run.trained_epochs.startswith("7 epochs")


def test_a_damaged_arm_costs_the_arm_alone(tmp_path):
    folder = write_run(tmp_path / "a", arms={"none": 0.1, "shuffled": 0.2}, num_patients=8)
    (folder / "arms" / "none" / "summary.json").unlink()
    runs = load_runs([folder])
    assert {run.arm for run in runs.runs} == {"", "shuffled"}
    assert any("arm none left out" in problem for problem in runs.problems)


def spoil_twice(folder):
    write_run(folder / "again", "unet", fold=0, **SMALL)


def spoil_overlap(folder):
    cases = draw_cases(cohort_slices(8), "unet", 0, 0.86)
    write_run(folder / "again", "unet", fold=1, cases=cases, **SMALL)


def spoil_area(folder):
    cases = draw_cases(cohort_slices(8), "bs_esnet", 0, 0.86)
    cases.loc[3, "area_true_mm2"] = 900.0
    write_run(folder / "again", "bs_esnet", fold=0, cases=cases, **SMALL)


WRONG_TOGETHER = {
    "the same cell twice": (spoil_twice, r"unet, fold 0, seed 0 is there twice: .*unet-f0-s0|is there twice: .*again"),
    "a slice twice": (spoil_overlap, "is scored twice, in .*again|again.* and would weigh double"),
    "cohorts": (
        lambda folder: write_run(folder / "again", card={"cohort": "axial_muscle"}, **SMALL),
        "cannot mix cohorts: .*again",
    ),
    "structures": (
        lambda folder: write_run(folder / "again", structures=("disc", "canal"), **SMALL),
        "cannot mix structures: .*again",
    ),
    "data": (lambda folder: write_run(folder / "again", card={"data": "e" * 32}, **SMALL), "hashes of the data.*again"),
    "splits": (
        lambda folder: write_run(folder / "again", card={"split": "f" * 32}, **SMALL),
        "splits by patient.*again",
    ),
    "budgets": (
        lambda folder: write_run(folder / "again", settings={"trainer.max_epochs": 200, "scale.epochs": 200}, **SMALL),
        "share their budget, but .* differ in scale.epochs: .*200.*trainer.max_epochs",
    ),
    "clipping": (
        lambda folder: write_run(folder / "again", settings={"trainer.gradient_clip_val": None}, **SMALL),
        "share their budget, but .*again and .*unet-f0-s0 differ in trainer.gradient_clip_val: None and 1.0",
    ),
    "true masks": (spoil_area, "has another area in"),
}


@pytest.mark.parametrize("wrong", WRONG_TOGETHER)
def test_runs_that_do_not_fit_together_are_refused_by_name(tmp_path, wrong):
    write_run(tmp_path / "unet-f0-s0", "unet", **SMALL)
    spoil, message = WRONG_TOGETHER[wrong]
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_runs([tmp_path])


def test_presets_that_every_row_was_run_with_are_compared(tmp_path):
    write_grid(tmp_path / "a", ("unet", "bs_esnet"), **SMALL)
    paper = {"scale.name": "paper", "scale.epochs": 200, "trainer.max_epochs": 200}
    write_grid(tmp_path / "b", ("unet", "bs_esnet"), settings=paper, card={"data": "e" * 32}, **SMALL)
    found = rows(load_runs([tmp_path]))
    assert len(found) == 4
    assert all("scale.epochs=" in row for row in found)


@pytest.mark.parametrize("make", [lambda path: path / "nowhere", lambda path: path], ids=["no folder", "no run"])
def test_nothing_to_report_is_said(tmp_path, make):
    with pytest.raises(ValueError, match=r"no folder|no finished run"):
        load_runs([make(tmp_path)])


def test_when_every_run_is_damaged_the_reasons_are_given(tmp_path):
    for folder in write_grid(tmp_path, ("unet",), **SMALL):
        (folder / "cases.csv").unlink()
    with pytest.raises(ValueError, match=r"no finished run in .*\n.*unet-f0-s0: left out: cases.csv is missing"):
        load_runs([tmp_path])


def test_a_patient_called_na_is_a_patient(tmp_path):
    cases = draw_cases(cohort_slices(2), "unet", 0, 0.86)
    cases["patient"] = cases["patient"].replace({"p000": "NA"})
    cases["level"] = ""
    folder = write_run(tmp_path / "a", "unet", cases=cases)
    assert set(load_runs([folder]).runs[0].cases["patient"]) == {"NA", "p001"}


@pytest.mark.slow
def test_columns_of_other_versions_cost_no_run(tmp_path):
    """One run lacks a score that came later, another has columns that this version does not know."""
    older = write_run(tmp_path / "a", "unet", num_patients=8)
    newer = write_run(tmp_path / "b", "bs_esnet", num_patients=8)
    cases = pd.read_csv(older / "cases.csv").drop(columns=["nsd_2mm", "mask_box_iou"])
    cases.to_csv(older / "cases.csv", index=False)
    summary = json.loads((older / "summary.json").read_text())
    (older / "summary.json").write_text(json.dumps({**summary, "test": summarise(cases)}))
    pd.read_csv(newer / "cases.csv").assign(nsd_9mm=0.5, rater="both").to_csv(newer / "cases.csv", index=False)
    runs = load_runs([tmp_path])
    assert {run.row for run in runs.runs} == {"unet", "bs_esnet"}
    lacking = next(run for run in runs.runs if run.row == "unet").cases
    assert lacking["nsd_2mm"].isna().all()
    assert lacking["dice"].notna().any()
    evidence = gather(runs, table="bs_esnet_table1", reference=None, margin=0.005)
    assert set(evidence.rows) == {"unet", "bs_esnet"}


def test_scores_without_the_later_columns_are_read(tmp_path):
    cases = draw_cases(cohort_slices(4), "unet", 0, 0.86)
    later = ["preliminary_dice", "saliency_share", "fat_fraction", "site", "snr"]
    folder = write_run(tmp_path / "a", "unet", cases=cases.drop(columns=later))
    read = load_runs([folder]).runs[0].cases
    assert read[["preliminary_dice", "saliency_share", "fat_fraction", "snr"]].isna().all(axis=None)


def test_the_fixture_is_complete(tmp_path):
    folder = write_run(tmp_path / "a", predictions=True, num_patients=4)
    expected = {"config.yaml", "run_card.json", "split.csv", "metrics.csv", "cases.csv", "summary.json", "predictions"}
    assert expected <= {path.name for path in folder.iterdir()}
    assert OmegaConf.load(folder / "config.yaml").task == "train"
