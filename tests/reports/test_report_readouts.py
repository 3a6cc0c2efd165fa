"""What a report reads out beside the scores: key points, levels, confusion, measurements, speed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from metrics.agreement import bland_altman, icc_2_1
from records.runs import load_runs
from reports.case_tables import joined_cases
from reports.readouts.confusion import build_confusion
from reports.readouts.keypoints import build_keypoints
from reports.readouts.levels import build_levels
from reports.readouts.training import build_convergence, build_trainings, epochs_to_share
from reports.statistics.agreement import build_agreement, build_pairs, patient_pairs
from tests.made.run_folders import write_run
from tests.made.spine_folders import DISCS, PIXELS, STRUCTURES, VERTEBRAE, write_spine, write_spines

RENUMBERED = ("p003", "p004")
SMALL = {"num_patients": 8, "renumbered": RENUMBERED}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spines")
    write_spines(folder, {"scarnet": 0.95}, **SMALL)
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    return load_runs([folder])


def table_of(folder, name):
    files = [pd.read_csv(path) for path in sorted(folder.glob(f"*/{name}.csv"))]
    return pd.concat(files, ignore_index=True)


def test_key_point_errors_are_means_over_patients(folder, runs):
    found = build_keypoints(runs.runs, joined_cases(runs.runs), STRUCTURES).set_index(["source", "structure"])
    points = table_of(folder, "keypoints").query("visible")
    own = points.query("source == 'heatmap' and structure == 'L3'").groupby("patient")["error_mm"].mean()
    line = found.loc[("heatmap", "L3")]
    assert line["mean_mm"] == pytest.approx(own.mean())
    half = t.ppf(0.975, 7) * own.std() / np.sqrt(8)
    assert (line["ci95_low"], line["ci95_high"]) == pytest.approx((own.mean() - half, own.mean() + half))
    assert found.loc[("mask", "mean"), "mean_mm"] == pytest.approx(
        found.loc[("heatmap", "mean"), "mean_mm"] / 2, rel=0.1
    )


def test_key_points_not_found_not_visible_and_at_a_neighbour_are_counted(folder, runs):
    found = build_keypoints(runs.runs, joined_cases(runs.runs), STRUCTURES).set_index(["source", "structure"])
    points = table_of(folder, "keypoints").query("source == 'heatmap'")
    assert found.loc[("heatmap", "L5/S1"), "num_points"] == (points.query("structure == 'L5/S1'")["visible"]).sum()
    lost = points.query("visible and structure == 'L1'")["error_mm"].isna().sum()
    assert found.loc[("heatmap", "L1"), "num_missing"] == lost > 0
    assert found.loc[("heatmap", "L1"), "num_patients"] == 7
    slices = points.query("patient in @RENUMBERED")["case"].nunique()
    counts = found.loc[("heatmap", "mean"), ["num_one_off", "num_further_off", "num_astray"]]
    assert counts.tolist() == [4 * slices, 0, 0]


def test_a_point_far_from_its_own_is_at_another_structure_or_at_none(runs):
    run = runs.runs[0]
    points = run.readouts.keypoints.copy()
    here = (points["structure"] == "L1") & (points["source"] == "mask")
    points.loc[here, "nearest"] = (["L4", "L1/2", ""] * 10)[: here.sum()]
    moved = replace(run, readouts=replace(run.readouts, keypoints=points))
    found = build_keypoints([moved], joined_cases([moved]), STRUCTURES).set_index(["source", "structure"])
    expected = points.loc[here, "nearest"].value_counts()
    line = found.loc[("mask", "L1")]
    assert (line["num_further_off"], line["num_astray"]) == (expected["L4"] + expected["L1/2"], expected[""])


def test_a_spine_numbered_one_off_is_counted_apart_from_its_outline(folder, runs):
    cases = joined_cases(runs.runs)
    found = build_levels(cases, STRUCTURES).set_index("structure")
    slices = cases.loc[cases["patient"].isin(RENUMBERED), "case"].nunique()
    assert found.loc["L2", ["num_one_off", "num_missed", "num_patients_off"]].tolist() == [slices, 0, 2]
    assert found.loc["L5", ["num_one_off", "num_missed"]].tolist() == [0, slices]
    assert found.loc["L2", "level_error"] == pytest.approx(2 / 8)
    assert found.loc["L2", "ci95_low"] == 0  # a share has no interval below 0
    assert found.loc["mean", "num_one_off"] == 4 * slices
    assert found.loc["mean", "num_structures"] == cases["status"].isin(["scored", "missed"]).sum()


def test_a_vertebra_called_a_disc_has_no_place_in_the_series(runs):
    run = runs.runs[0]
    pixels = run.readouts.confusion.copy()
    pixels["prediction"] = pixels["prediction"].replace({"L3": "L3/4"})
    pixels = pixels.groupby(["case", "patient", "slice", "truth", "prediction"]).sum().reset_index()
    found = build_levels(joined_cases([replace(run, readouts=replace(run.readouts, confusion=pixels))]), STRUCTURES)
    line = found.set_index("structure").loc["L3"]
    assert line["num_other_kind"] > 0
    assert line["num_right"] == line["num_missed"] == 0


def test_lines_of_the_confusion_add_up_and_are_means_over_patients(runs):
    found = build_confusion(runs.runs, STRUCTURES)
    assert len(found) == 11 * 11
    assert found.groupby("truth")["share"].sum().to_numpy() == pytest.approx(1)
    share = found.set_index(["truth", "prediction"])["share"]
    assert share["L2", "L3"] == pytest.approx(0.9 * 2 / 8)
    assert share["L2", "L2"] == pytest.approx(0.9 * 6 / 8)
    assert share["L3/4", "background"] == pytest.approx(0.1)
    pixels = found.set_index(["truth", "prediction"])["pixels"]
    assert pixels["L1", "L1"] + pixels["L1", "L2"] + pixels["L1", "background"] == PIXELS * 15


def test_agreement_is_of_one_value_a_patient(folder, runs):
    pairs = build_pairs(runs.runs)
    measured = patient_pairs(pairs)
    found = build_agreement(pairs, measured).set_index(["measure", "structure"])
    table = table_of(folder, "morphometry").query("structure == 'L2'")
    values = table.pivot(index=["patient", "case"], columns="source", values="anterior_height_mm").groupby("patient")
    means = values.mean()
    expected = bland_altman(means["truth"].to_numpy(), means["prediction"].to_numpy())
    line = found.loc[("anterior_height_mm", "L2")]
    names = ["bias", "sd", "limit_low", "limit_high"]
    assert line[names].to_numpy(dtype=float) == pytest.approx([expected.bias, expected.sd, expected.low, expected.high])
    assert line["icc"] == pytest.approx(icc_2_1(means["truth"].to_numpy(), means["prediction"].to_numpy()).value)
    assert line["bias_low"] < 0.5 < line["bias_high"]
    assert (line["num_patients"], line["num_pairs"]) == (8, len(table) / 2)


def test_a_measure_has_lines_for_its_structures_and_their_mean(runs):
    pairs = build_pairs(runs.runs)
    found = build_agreement(pairs, patient_pairs(pairs))
    structures = found.groupby("measure")["structure"].agg(set).to_dict()
    assert structures["anterior_height_mm"] == {*VERTEBRAE, "mean"}
    assert structures["disc_height_mm"] == {*DISCS, "mean"}
    assert structures["lordosis_degrees"] == {"lumbar"}
    assert set(structures) == {"anterior_height_mm", "disc_height_mm", "lordosis_degrees"}  # a method is no measure


def test_what_could_not_be_measured_is_counted_and_in_no_mean(folder, runs):
    pairs = build_pairs(runs.runs)
    found = build_agreement(pairs, patient_pairs(pairs)).set_index(["measure", "structure"])
    lost = table_of(folder, "morphometry").query("patient == 'p000' and structure == 'L5' and source == 'truth'")
    line = found.loc[("anterior_height_mm", "L5")]
    assert (line["num_missing"], line["num_extra"], line["num_patients"]) == (len(lost), 0, 7)
    assert found.loc[("anterior_height_mm", "mean"), "num_missing"] == len(lost)


def test_measures_of_either_side_are_lines_of_their_own(runs):
    run = runs.runs[0]
    table = run.readouts.morphometry.query("structure == 'L1'")
    sides = pd.concat([table.assign(structure="psoas", side=side) for side in ("left", "right")], ignore_index=True)
    pairs = build_pairs([replace(run, readouts=replace(run.readouts, morphometry=sides))])
    found = build_agreement(pairs, patient_pairs(pairs)).query("measure == 'anterior_height_mm'")
    assert set(zip(found["structure"], found["side"], strict=True)) == {
        ("psoas", "left"),
        ("psoas", "right"),
        ("mean", ""),
    }


@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        ([0.2, 0.5, 0.77, 0.8], (4, 0.8, 3.0)),
        ([0.8, 0.5, 0.7, 0.8], (4, 0.8, 1.0)),
        ([np.nan, 0.5, np.nan, 0.8], (4, 0.8, 4.0)),
        ([0.8, np.nan], (2, 0.8, 1.0)),
        ([0.0, 0.0], (2, np.nan, np.nan)),
        ([np.nan, np.nan], (2, np.nan, np.nan)),
    ],
)
def test_epochs_to_95_percent_of_the_last_validation(dice, expected):
    assert epochs_to_share(pd.DataFrame({"epoch": range(len(dice)), "val/dice": dice})) == pytest.approx(
        expected, nan_ok=True
    )


def test_without_validation_there_is_no_speed():
    assert epochs_to_share(pd.DataFrame({"epoch": [0, 1]})) == pytest.approx((2, np.nan, np.nan), nan_ok=True)


def test_speed_is_compared_by_fold_and_seed():
    lines = [(row, fold, 0, 20, 0.9, epochs + fold) for row, epochs in {"a": 10, "b": 7}.items() for fold in range(6)]
    columns = ["row", "fold", "seed", "epochs", "final_dice", "epochs_to_95"]
    found = build_convergence(pd.DataFrame(lines, columns=columns), ("a", "b"), "a").set_index("row")
    assert found["epochs_to_95"].tolist() == [12.5, 9.5]
    assert found.loc["b", ["difference", "num_pairs", "difference_interval"]].tolist() == [-3.0, 6, "t"]
    assert np.isnan(found.loc["a", "difference"])


def test_few_trainings_have_no_interval():
    lines = [(row, 0, seed, 20, 0.9, 6 + seed) for row in "ab" for seed in range(5)]
    columns = ["row", "fold", "seed", "epochs", "final_dice", "epochs_to_95"]
    found = build_convergence(pd.DataFrame(lines, columns=columns), ("a", "b"), "a")
    assert found["epochs_to_95"].tolist() == [8, 8]
    assert found[["low", "high", "difference_low", "difference_high"]].isna().all(axis=None)
    assert set(found["interval"]) == {""}


def test_trainings_are_those_of_runs_not_of_arms(tmp_path):
    write_run(tmp_path / "a", "unet", num_patients=8, arms={"none": 0.1})
    found = build_trainings(load_runs([tmp_path]).runs)
    assert found[["row", "fold", "seed", "epochs"]].to_numpy().tolist() == [["unet", 0, 0, 20]]
    assert found.loc[0, "epochs_to_95"] == 11  # 0.9 - 0.5 exp(-epoch / 4) passes 95 % of its end at epoch 9.3


DAMAGE = {
    "a line cut": ("keypoints", lambda text: text[:-4], "keypoints.csv is cut off"),
    "no source": ("keypoints", lambda text: text.replace("source", "origin", 1), "lacks the columns source"),
    "neither": ("keypoints", lambda text: text.replace(",True,", ",perhaps,", 1), "visible is perhaps"),
    "another source": ("keypoints", lambda text: text.replace(",heatmap,", ",guess,", 1), "source is guess"),
    "a point twice": ("keypoints", lambda text: text + text.splitlines()[1] + "\n", "twice"),
    "no number": ("confusion", lambda text: text.replace(",360", ",many", 1), "pixels holds something"),
    "a pair twice": ("confusion", lambda text: text + text.splitlines()[1] + "\n", "twice"),
    "measured twice": ("morphometry", lambda text: text + text.splitlines()[1] + "\n", "twice"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_table_is_left_out_and_named_and_the_run_stays(tmp_path, damage):
    folder = write_spine(tmp_path / "a", num_patients=2, num_folds=1)
    name, spoil, words = DAMAGE[damage]
    path = folder / f"{name}.csv"
    path.write_text(spoil(path.read_text()))
    runs = load_runs([tmp_path])
    assert len(runs.runs) == 1
    assert getattr(runs.runs[0].readouts, name) is None
    assert len(runs.problems) == 1
    assert words in runs.problems[0]


def test_runs_without_the_tables_have_none(tmp_path):
    write_run(tmp_path / "a", "unet", num_patients=4)
    runs = load_runs([tmp_path]).runs
    cases = joined_cases(runs)
    assert cases[["keypoint_error_mm", "level_offset", "level_error"]].isna().all(axis=None)
    pairs = build_pairs(runs)
    tables = [
        build_keypoints(runs, cases, ("disc",)),
        build_levels(cases, ("disc",)),
        build_confusion(runs, ("disc",)),
        build_agreement(pairs, patient_pairs(pairs)),
    ]
    assert [len(table) for table in tables] == [0, 0, 0, 0]
