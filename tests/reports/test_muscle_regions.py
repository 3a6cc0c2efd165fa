"""Regions of muscle and fat: their scores, what is printed of them, and which interval is meant."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from records.runs import load_runs
from reports.papers import empty_published, load_published
from reports.readouts.region_strata import region_strata
from reports.readouts.regions import POOLED, build_regions, shown_regions
from reports.region_scores import region_cases, region_output_cases
from reports.statistics.intervals import intervals
from tests.made.muscle_folders import ANATOMY, write_muscles

ALONE = {"alone": ["fat_left"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("muscles")
    settings = {"anatomy.regions": ANATOMY["regions"] | ALONE}
    write_muscles(folder / "a", num_patients=10, settings=settings)
    return load_runs([folder]).runs[0]


@pytest.fixture(scope="module")
def cases(run):
    return region_cases([run])


@pytest.fixture(scope="module")
def table(cases):
    return build_regions(cases, load_published("baur_table2")).set_index(["region", "metric"])


def test_a_region_of_one_structure_scores_as_that_structure(run, cases):
    keys = ["case", "slice"]
    structure = run.cases.loc[run.cases["structure"] == "fat_left"].set_index(keys)
    region = cases.loc[cases["structure"] == "alone"].set_index(keys).loc[structure.index]
    assert set(structure["status"]) == {"scored", "missed", "absent"}
    assert region["status"].tolist() == structure["status"].tolist()
    for name in (
        "dice",
        "precision",
        "recall",
        "tp",
        "fp",
        "fn",
        "area_true_mm2",
        "area_pred_mm2",
        "csa_error_percent",
    ):
        np.testing.assert_allclose(region[name].astype(float), structure[name].astype(float), err_msg=name)


def test_taking_one_part_for_another_is_right_in_their_union(run, cases):
    pairs = run.readouts.confusion
    parts = ANATOMY["regions"]["overall"]
    both = pairs.loc[pairs["truth"].isin(parts) & pairs["prediction"].isin(parts)].groupby("case")["pixels"].sum()
    assert (pairs.loc[pairs["truth"].isin(parts) & (pairs["truth"] != pairs["prediction"]), "pixels"] > 0).any()
    whole = pairs.loc[pairs["truth"].isin(parts)].groupby("case")["pixels"].sum()
    found = pairs.loc[pairs["prediction"].isin(parts)].groupby("case")["pixels"].sum()
    own = cases.loc[cases["structure"] == "overall"].set_index("case")
    np.testing.assert_allclose(own["dice"], (2 * both / (whole + found)).loc[own.index])


def test_a_region_with_a_part_that_was_not_annotated_has_no_number(run):
    marked = run.cases.copy()
    here = (marked["patient"] == "p004") & (marked["structure"] == "fat_left")
    marked.loc[here, "status"] = "unlabelled"
    hidden = region_cases([replace(run, cases=marked)])
    own = hidden.loc[hidden["patient"] == "p004"].set_index("structure")
    assert set(own.loc["overall", "status"]) == set(own.loc["fat", "status"]) == {"unlabelled"}
    assert own.loc["fat", ["dice", "area_true_mm2", "segmented_percent"]].isna().all(axis=None)
    assert set(own.loc["muscle", "status"]) == {"scored"}


def test_outputs_on_their_own_are_scored_beside_the_one_mask(run, cases):
    keys = ["structure", "case", "slice"]
    own, one = (table.set_index(keys) for table in (region_output_cases([run]), cases))
    assert set(own.index.get_level_values(0)) == set(ANATOMY["regions"])
    same = own.loc[own.index.get_level_values(0) != "muscle"]
    pd.testing.assert_frame_equal(same, one.loc[same.index])
    muscle = own.loc[own.index.get_level_values(0) == "muscle"]
    assert (muscle["tp"] > one.loc[muscle.index, "tp"]).any()
    assert (muscle["dice"] >= one.loc[muscle.index, "dice"]).all()
    assert region_output_cases([replace(run, readouts=replace(run.readouts, region_outputs=None))]).empty


def test_runs_without_regions_or_pairs_have_no_region(tmp_path):
    write_muscles(tmp_path / "a", num_patients=3)
    (tmp_path / "a" / "confusion.csv").unlink()
    cases = region_cases(load_runs([tmp_path]).runs)
    assert cases.empty
    assert build_regions(cases, empty_published()).empty


def test_slices_without_truth_have_no_relative_error_and_are_counted(cases, table):
    fat = table.loc[("fat", "csa_error_percent")]
    own = cases.loc[cases["structure"] == "fat"]
    empty = int((own["area_true_mm2"] == 0).sum())
    missed = int((own["status"] == "missed").sum())
    assert fat[["num_slices", "num_values", "num_empty_truth"]].tolist() == [len(own), len(own) - empty, empty]
    assert (empty, missed) == (1, 2)
    assert (fat["num_missed"], fat["num_segmented"]) == (missed, len(own) - empty - missed)
    assert table.loc[("fat", "segmented_percent"), "slice_mean"] == pytest.approx(100 * (1 - 3 / len(own)))
    assert fat["slice_median"] == pytest.approx(own["csa_error_percent"].median())


def test_the_paper_s_own_intervals_are_those_that_are_made_here():
    printed = load_published("baur_table2").dropna(subset=["sd"])
    half = 1.96 * printed["sd"] / np.sqrt(3649)
    rounding = np.where(
        printed["unit"] == "percent", np.where(printed["metric"] == "csa_error_percent", 0.02, 1.01), 0.2
    )
    assert len(printed) == 18
    assert ((printed["mean"] - half - printed["ci95_low"]).abs() < rounding).all()
    assert ((printed["mean"] + half - printed["ci95_high"]).abs() < rounding).all()


def test_our_number_stands_beside_the_paper_s(cases, table):
    line = table.loc[("fat", "dice")]
    values = 100 * cases.loc[cases["structure"] == "fat", "dice"].dropna()
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert line[["published_mean", "published_sd"]].tolist() == [51.0, 25.0]
    assert line[["slice_mean", "slice_low", "slice_high"]].tolist() == pytest.approx(
        [values.mean(), values.mean() - half, values.mean() + half]
    )
    assert shown_regions(table.reset_index()) == ["overall", "muscle", "fat"]
    assert table.loc[("fat", "segmented_percent"), "published_mean"] == 96.11


def test_the_error_of_pooled_areas_is_of_each_patient_s_sums(cases, table):
    sums = cases.loc[cases["structure"] == "fat"].groupby("patient")[["area_true_mm2", "area_pred_mm2"]].sum()
    sums = sums.loc[sums["area_true_mm2"] > 0]
    errors = 100 * (sums["area_pred_mm2"] / sums["area_true_mm2"] - 1).abs()
    line = table.loc[("fat", POOLED)]
    assert (line["patient_mean"], line["num_patients"]) == (pytest.approx(errors.mean()), 9)


def test_an_interval_by_patient_of_one_value_each_is_the_usual_one():
    rng = np.random.default_rng(0)
    for num in (4, 12, 25):
        sample = rng.normal(50, 5, num)
        usual = intervals([sample]).loc[0, ["mean", "low", "high"]].tolist()
        assert intervals(sample[None], np.ones((1, num))).loc[0].tolist()[:3] == pytest.approx(usual)


def test_copies_of_a_slice_make_no_interval_narrower():
    values = np.random.default_rng(1).normal(50, 5, 25)
    once, often = (intervals(count * values[None], np.full((1, 25), float(count))) for count in (1, 30))
    np.testing.assert_allclose(once[["low", "high"]], often[["low", "high"]])
    width = once.loc[0, "high"] - once.loc[0, "low"]
    assert width > 4 * 2 * 1.96 * np.repeat(values, 30).std() / np.sqrt(750)


def test_patients_without_a_value_are_in_no_interval():
    sums, sizes = np.array([[2.0, 0.0, 9.0], [0.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    found = intervals(sums, sizes)
    assert found.loc[0].tolist() == [11 / 4, 2.0, 3.0, "range"]
    assert found.loc[1, ["mean", "low"]].isna().all()


def test_slices_of_a_stack_without_levels_are_cut_by_place_and_by_what_the_truth_shows():
    stack = pd.DataFrame({"case": "a", "patient": "p", "level": "", "slice": range(9), "structure": "overall"})
    stack = stack.assign(true_fat_share=np.linspace(0.1, 0.3, 9), area_true_mm2=np.arange(9.0) + 1)
    parts = {name: part["slice"].tolist() for name, part in region_strata(stack)}
    assert parts["stack first"] == parts["true fat low"] == parts["area low"] == [0, 1, 2]
    assert parts["stack last"] == parts["true fat high"] == [6, 7, 8]
    assert not any(name.startswith("stack") for name, _ in region_strata(stack.assign(level="L4/5")))
