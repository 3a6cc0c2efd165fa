"""Which run folders are read, and what is read of them."""

import json

import pandas as pd
import pytest
from omegaconf import OmegaConf

from metrics.aggregate import summarise
from records.runs import AS_PUBLISHED, BY_PATIENT, load_runs
from reports.collect import gather
from tests.made.read_runs import SMALL, edit_card, rows
from tests.made.run_folders import STRUCTURES, cohort_slices, draw_cases, write_grid, write_run


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


def test_scored_masks_are_a_row_without_a_fold(tmp_path):
    write_grid(tmp_path, ("unet",), **SMALL)
    folder = write_run(tmp_path / "rater", "second_rater", scored=True, num_patients=8)
    (folder / "run_card.json").unlink()
    runs = load_runs([tmp_path])
    rater = next(run for run in runs.runs if run.row == "second_rater")
    assert (rater.fold, rater.split, rater.cases["patient"].nunique()) == (None, BY_PATIENT, 8)
    assert runs.problems == ()


def test_masks_of_a_fold_are_a_systems_and_those_of_a_cohort_a_raters(tmp_path):
    for name, scored in (("second_rater", "all"), ("nnunet", "fold")):
        write_run(tmp_path / name, name, scored=True, num_patients=8, settings={"scored": scored})
    assert {run.row: (run.fold, run.competes) for run in load_runs([tmp_path]).runs} == {
        "second_rater": (None, False),
        "nnunet": (0, True),
    }


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


def test_a_report_states_the_epochs_that_were_trained(tmp_path):
    folder = write_run(tmp_path / "a", num_patients=8)
    summary = json.loads((folder / "summary.json").read_text())
    summary["train"]["epochs"] = 7
    (folder / "summary.json").write_text(json.dumps(summary))
    (run,) = load_runs([folder]).runs
    assert run.trained_epochs.startswith("7 epochs")


@pytest.mark.parametrize("make", [lambda path: path / "nowhere", lambda path: path], ids=["no folder", "no run"])
def test_nothing_to_report_is_said(tmp_path, make):
    with pytest.raises(ValueError, match=r"no folder|no finished run"):
        load_runs([make(tmp_path)])


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
