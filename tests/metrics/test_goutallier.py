"""Grades from shares of fat, which side is which, and how well grades agree."""

import numpy as np
import pytest
from hydra.utils import instantiate
from scipy.stats import bootstrap
from sklearn.metrics import cohen_kappa_score

from metrics.goutallier import GradeScale, patient_share
from metrics.grade_agreement import confusion_matrix, grade_agreement, gwet_ac1, weighted_kappa
from metrics.sides import check_sides
from tests.made.muscle_slices import SIMPLIFIED, mask

GRADES = ("I", "II", "III")
# Baur et al., results: 47 and 53 patients truly of class I and II, 54 and 46 predicted, 75 right: these counts alone.
PUBLISHED = ["I"] * 47 + ["II"] * 53, ["I"] * 38 + ["II"] * 9 + ["I"] * 16 + ["II"] * 37


@pytest.mark.parametrize(
    ("share", "grade"),
    [(0.0, "I"), (0.0999, "I"), (0.10, "II"), (0.50, "II"), (0.5001, "III"), (1.0, "III"), (float("nan"), "")],
)
def test_simplified_grades_and_their_boundaries(share, grade):
    assert SIMPLIFIED.grade(share) == grade


def test_the_scales_of_the_configuration(composed):
    settings = instantiate(composed("morphometry/grades=five").morphometry)
    simplified, scale = settings.simplified, settings.five_grade
    assert [simplified.grade(share) for share in (0.0999, 0.1, 0.5, 0.5001)] == ["I", "II", "II", "III"]
    assert [scale.grade(share) for share in (0.0, 0.05, 0.3, 0.5, 0.6)] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("cutoffs", "message"),
    [
        ([], "rise from above 0"),
        ([{"grade": "I", "below": 0.5}], "end `up_to: 1`"),
        ([{"grade": "I", "below": 0.5}, {"grade": "II", "below": 0.2}, {"grade": "III", "up_to": 1}], "rise"),
        ([{"grade": "I", "up_to": 1, "below": 1}], "one of below and up_to"),
        ([{"grade": "I", "below": 0.5}, {"grade": "I", "up_to": 1}], "name of its own"),
        ([{"below": 0.5}, {"grade": "I", "up_to": 1}], "name of its own"),
    ],
)
def test_impossible_scales_are_refused(cutoffs, message):
    with pytest.raises(ValueError, match=message):
        GradeScale(name="wrong", cutoffs=cutoffs)


def test_a_percentage_is_no_share():
    with pytest.raises(ValueError, match="no per cent"):
        SIMPLIFIED.grade(12.0)


def test_patients_are_graded_by_their_measured_slices():
    shares, areas_mm2 = np.array([0.1, np.nan, 0.3]), np.array([300.0, 50.0, 100.0])
    assert patient_share(shares, areas_mm2) == pytest.approx(0.2)
    assert patient_share(shares, areas_mm2, "pooled_area") == pytest.approx(0.15)
    assert np.isnan(patient_share(np.array([np.nan]), np.array([0.0])))


def test_the_papers_grades_agree_as_published():
    found = grade_agreement(*PUBLISHED, GRADES)
    assert found.accuracy.value == 0.75
    assert found.kappa.value == pytest.approx(0.50, abs=0.005)  # only neighbours are confused: weights change nothing
    assert found.confusion.loc["III"].tolist() == found.confusion["III"].tolist() == [0, 0, 0]
    assert (found.num_pairs, found.num_ungraded, found.kappa.kind) == (100, 0, "BCa")
    for interval in (found.accuracy, found.kappa, found.ac1):
        assert interval.low < interval.value < interval.high < 1


def drawn_grades(num_pairs: int, seed: int = 0) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    truth = [str(grade) for grade in rng.choice(GRADES, num_pairs, p=[0.4, 0.4, 0.2])]
    return truth, [grade if rng.random() < 0.7 else str(rng.choice(GRADES)) for grade in truth]


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_kappa_equals_an_independent_implementation(weights):
    truth, other = drawn_grades(50)
    counts = confusion_matrix(truth, other, GRADES)[0].to_numpy(dtype=float)
    expected = cohen_kappa_score(truth, other, labels=GRADES, weights=None if weights == "none" else weights)
    assert float(weighted_kappa(counts, weights)) == pytest.approx(expected)


def test_ac1_by_hand():
    """118 + 0 of 125 agree; p = 243 / 250, so chance is 2 p (1 - p) = 0.0544; kappa is below zero on the same table."""
    counts = np.array([[118.0, 5.0], [2.0, 0.0]])
    assert float(gwet_ac1(counts)) == pytest.approx((118 / 125 - 0.054432) / (1 - 0.054432), abs=1e-6)
    assert float(weighted_kappa(counts)) < 0


@pytest.mark.parametrize(("num_pairs", "kind"), [(5, ""), (6, "t"), (19, "t"), (20, "BCa")])
def test_intervals_are_as_many_patients_allow(num_pairs, kind):
    accuracy = grade_agreement(*drawn_grades(num_pairs, seed=3), GRADES).accuracy
    assert accuracy.kind == kind
    assert np.isnan(accuracy.low) == (kind == "")


def test_the_bootstrap_interval_equals_an_independent_one():
    truth, other = drawn_grades(60)
    ours = grade_agreement(truth, other, GRADES).accuracy
    equal = (np.array(truth) == np.array(other)).astype(float)
    theirs = bootstrap((equal,), np.mean, n_resamples=10_000, rng=np.random.default_rng(0)).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_one_grade_for_everybody_has_no_kappa_but_an_ac1():
    found = grade_agreement(["I"] * 30, ["I"] * 30, GRADES)
    assert np.isnan(found.kappa.value)
    assert (found.accuracy.value, found.ac1.value) == (1.0, 1.0)
    assert np.isnan(found.accuracy.low)


def test_who_has_no_grade_is_counted_and_wrong_where_the_truth_has_one():
    found = grade_agreement(["I", "", "II", "I"], ["I", "I", "II", float("nan")], GRADES)
    assert (found.num_pairs, found.num_ungraded, found.accuracy.value) == (2, 2, pytest.approx(2 / 3))
    assert np.isnan(grade_agreement([], [], GRADES).accuracy.value)


@pytest.mark.parametrize(
    ("truth", "other", "message"), [(["I"], [], "1 true grades and 0"), (["I"], ["IV"], "grade IV is not of the scale")]
)
def test_grades_that_do_not_pair_are_refused(truth, other, message):
    with pytest.raises(ValueError, match=message):
        grade_agreement(truth, other, GRADES)


SIDES = {"multifidus": {"left": [1], "right": [2]}}


@pytest.mark.parametrize(
    ("drawn", "midline", "expected"),
    [
        (mask(), [3], ("correct", "correct")),
        (mask(), [], ("correct", "correct")),
        (mask()[:, ::-1], [3], ("swapped", "swapped")),
        (mask()[:, ::-1], [], ("swapped", "swapped")),
        (np.where(mask() == 2, 1, mask()), [3], ("swapped", "unknown")),  # centre of both sides: not left of the sac
        (np.where(mask() == 2, 0, mask()), [3], ("correct", "unknown")),
        (np.where(mask() > 1, 0, mask()), [3], ("unknown", "unknown")),
        (np.zeros_like(mask()), [3], ("unknown", "unknown")),
    ],
    ids=["correct", "no midline", "flipped", "flipped, no midline", "all left", "one side", "nothing to tell", "empty"],
)
def test_sides_are_told_by_the_midline(drawn, midline, expected):
    found = check_sides(drawn, SIDES, midline)
    assert (found["multifidus", "left"], found["multifidus", "right"]) == expected
