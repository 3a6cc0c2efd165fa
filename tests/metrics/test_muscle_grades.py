"""Grades of patients: the rule, their agreement, and what could not be graded."""

from dataclasses import replace

import pandas as pd
import pytest

from metrics.goutallier import GradeScale
from records.readout_files import read_morphometry
from records.runs import load_runs
from reports.readouts.grades import (
    build_grade_agreement,
    build_grade_confusion,
    build_grades,
    build_states,
    grade_scales,
)
from reports.statistics.agreement import build_agreement, build_pairs, name_and_unit, patient_pairs
from tests.made.muscle_folders import SIMPLIFIED, write_muscles

NAME = "goutallier_simplified"
SCALES = {NAME: GradeScale(name=NAME, cutoffs=SIMPLIFIED["simplified"]["cutoffs"])}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("muscles")
    write_muscles(folder / "a", num_patients=10)
    return load_runs([folder]).runs[0]


def graded(pairs):
    lines = [("baur_unet", "back_muscles", NAME, f"p{k}", 0.1, 0.1, *pair) for k, pair in enumerate(pairs)]
    names = ["row", "structure", "scale", "patient", "truth_share", "prediction_share", "truth", "prediction"]
    return pd.DataFrame(lines, columns=names)


def test_the_scale_is_that_of_the_runs(run):
    assert {name: scale.grades for name, scale in grade_scales([run]).items()} == {NAME: ("I", "II", "III")}


def test_a_patient_s_grade_is_that_of_the_mean_over_its_slices_of_each_mask(run):
    found = build_grades([run], SCALES).set_index("patient")
    table = run.readouts.morphometry
    both = table.loc[(table["side"] == "both") & (table["patient"] == "p005")]
    means = both.groupby("source")["fat_pixel_share"].mean()
    line = found.loc["p005"]
    assert (line["truth_share"], line["prediction_share"]) == pytest.approx((means["truth"], means["prediction"]))
    assert line["truth"] == SCALES[NAME].grade(means["truth"])
    assert len(found) == 10


def test_seeds_of_a_patient_are_averaged_before_it_is_graded(run):
    table = run.readouts.morphometry
    fatter = table.assign(fat_pixel_share=table["fat_pixel_share"] + 0.2)
    other = replace(run, seed=1, readouts=replace(run.readouts, morphometry=fatter))
    one, two = (build_grades(runs, SCALES).set_index("patient") for runs in ([run], [run, other]))
    assert two.loc["p005", "prediction_share"] == pytest.approx(one.loc["p005", "prediction_share"] + 0.1)


def test_a_patient_whose_fat_could_not_be_told_has_no_grade_and_is_counted(run):
    grades = build_grades([run], SCALES)
    assert grades.set_index("patient").loc["p002", ["truth", "prediction"]].tolist() == ["I", ""]
    found = build_grade_agreement(grades, SCALES).iloc[0]
    assert (found["num_patients"], found["num_ungraded"]) == (9, 1)
    equal = (grades["truth"] == grades["prediction"]).sum()
    assert found["accuracy"] == pytest.approx(equal / 10), "without a grade is wrong"
    states = build_states([run]).set_index(["side", "source", "fat_state"])["num_slices"]
    slices = (run.cases["patient"] == "p002").sum() // 4
    assert states["both", "prediction", "few_pixels"] == slices > 0


def test_the_paper_s_confusion_matrix_has_the_accuracy_and_kappa_it_implies():
    pairs = [("I", "I")] * 38 + [("I", "II")] * 9 + [("II", "I")] * 16 + [("II", "II")] * 37
    grades = graded(pairs)
    found = build_grade_agreement(grades, SCALES).iloc[0]
    assert (found["accuracy"], found["kappa"]) == pytest.approx((0.75, 0.50), abs=0.003)
    assert found["accuracy_interval"] == "BCa"
    assert found["accuracy_low"] < 0.70 < 0.80 < found["accuracy_high"]
    counts = build_grade_confusion(grades, SCALES).set_index(["truth", "prediction"])["num_patients"]
    assert len(counts) == 9
    assert counts[[("I", "II"), ("II", "I"), ("III", "III")]].tolist() == [9, 16, 0]


def test_grades_are_texts_even_where_they_look_like_numbers(tmp_path):
    folder = write_muscles(tmp_path / "a", num_patients=2)
    path = folder / "morphometry.csv"
    pd.read_csv(path).assign(goutallier="2").to_csv(path, index=False)
    table = read_morphometry(path)
    assert set(table["goutallier"]) == {"2"}
    assert set(table["fat_state"]) == {"measured"}
    assert "side_check" not in table
    run = load_runs([tmp_path]).runs[0]
    assert set(build_pairs([run])["measure"]) == {"csa_mm2", "lean_csa_mm2", "fat_pixel_share"}


def test_sides_and_both_together_have_no_mean_which_would_count_them_twice(run):
    pairs = build_pairs([run])
    found = build_agreement(pairs, patient_pairs(pairs))
    assert set(found["structure"]) == {"back_muscles"}
    assert set(found["side"]) == {"left", "right", "both"}
    lost = found.set_index(["measure", "side"]).loc[("fat_pixel_share", "both")]
    assert (lost["num_missing"], lost["num_patients"]) == ((run.cases["patient"] == "p002").sum() // 4, 9)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("lean_csa_mm2", ("lean CSA", "mm²", 1.0)),
        ("fat_pixel_share", ("fat pixel share", "%", 100.0)),
        ("fat_fraction_signal", ("fat fraction signal", "%", 100.0)),
        ("csa_asymmetry_percent", ("CSA asymmetry", "%", 1.0)),
        ("fat_asymmetry_points", ("fat asymmetry", "points", 1.0)),
        ("lordosis_degrees", ("lordosis", "°", 1.0)),
        ("wedge", ("wedge", "", 1.0)),
    ],
)
def test_a_measure_is_printed_in_the_unit_that_its_name_ends_in(measure, expected):
    assert name_and_unit(measure) == expected


def test_runs_that_graded_nothing_have_no_grades(tmp_path):
    write_muscles(tmp_path / "a", num_patients=2, morphometry=False)
    run = load_runs([tmp_path]).runs[0]
    assert grade_scales([run]) == {}
    empty = build_grades([run], {})
    assert empty.empty
    assert build_grade_agreement(empty, {}).empty
    assert build_grade_confusion(empty, {}).empty
    assert build_states([run]).empty
