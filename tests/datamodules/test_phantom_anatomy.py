from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.phantom.anatomy import with_fat_labels
from datamodules.phantom.canvas import LABELS
from datamodules.phantom.muscles import _rise, _threshold
from datamodules.phantom.templates import LEVELS
from tests.made.phantom_slices import COARSE, DISC_IDS, SAGITTAL, drawn, examined, inside_ids, one_series

# --- anatomy ---


@pytest.mark.parametrize("level", LEVELS[2:6])
def test_section_holds_every_organ_in_its_place(level):
    _, labels, fat = drawn(level)
    rows, columns = np.indices(labels.shape)

    def centre(name):
        where = inside_ids(labels, name)
        assert where.any(), name
        return rows[where].mean(), columns[where].mean()

    # Rows run posterior, columns toward the patient's left.
    assert centre("disc")[0] < centre("dural_sac")[0] < centre("lamina")[0] < centre("multifidus_left")[0]
    for muscle in ("psoas", "multifidus", "erector_spinae"):
        assert centre(f"{muscle}_right")[1] < centre("dural_sac")[1] < centre(f"{muscle}_left")[1]
    assert centre("multifidus_left")[1] < centre("erector_spinae_left")[1]
    assert (labels == LABELS[level]).sum() > 0.95 * np.isin(labels, DISC_IDS).sum()
    if level in ("L2/3", "L3/4"):
        assert centre("vena_cava")[1] < centre("aorta")[1]
        assert centre("aorta")[0] < centre("disc")[0]
    assert np.isin(labels, [0, *LABELS.values()]).all()
    assert fat.min() >= 0
    assert fat.max() <= 1
    assert fat[labels == LABELS["subcutaneous_fat"]].mean() > 0.7


@pytest.mark.slow
def test_quadratus_lumborum_is_an_upper_muscle():
    present = {
        level: [(drawn(level, patient=p)[1] == LABELS["quadratus_lumborum_left"]).any() for p in range(5)]
        for level in ("L2/3", "L5/S1")
    }
    assert np.mean(present["L2/3"]) >= 0.8
    assert not any(present["L5/S1"])


@pytest.mark.parametrize("level", [LEVELS[2], *(pytest.param(each, marks=pytest.mark.slow) for each in LEVELS[3:6])])
def test_drawn_areas_and_fat_follow_the_patient(level):
    """On average over sides and patients: laminae, fascia and the bending of the body take or give a little."""
    ratios = {muscle: [] for muscle in ("psoas", "multifidus", "erector_spinae")}
    fat_ratios = {muscle: [] for muscle in ("multifidus", "erector_spinae")}
    disc = LEVELS.index(level)
    for index in range(5):
        _, labels, fat = drawn(level, patient=index)
        patient = examined(COARSE, index).patient
        for muscle, found in ratios.items():
            names = [f"{muscle}_left", f"{muscle}_right"]
            inside = [inside_ids(labels, name) for name in names]
            found.append(sum(i.sum() for i in inside) * 1.9**2 / sum(patient.area_mm2[n][disc] for n in names))
            if muscle in fat_ratios:
                wanted = np.mean([patient.fat[name][disc] for name in names])
                fat_ratios[muscle].append(fat[inside[0] | inside[1]].mean() / wanted)
    assert {muscle: np.mean(found) for muscle, found in ratios.items()} == {
        muscle: pytest.approx(1, abs=0.15) for muscle in ratios
    }
    assert {muscle: np.mean(found) for muscle, found in fat_ratios.items()} == {
        muscle: pytest.approx(1.1, abs=0.25) for muscle in fat_ratios
    }


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS[2:6])
def test_every_slice_through_a_disc_shows_a_lamina_and_both_joints(level):
    """Just above and just below the middle of the disc alike: they belong to the vertebrae on either side."""
    for patient in range(10):
        labels = drawn(level, patient=patient)[1]
        assert (labels == LABELS["lamina"]).sum() * 1.9**2 > 100, patient
        assert (labels == LABELS["articular_process"]).sum() * 1.9**2 > 20, patient


def test_neighbouring_slices_agree_and_levels_do_not():
    lower, upper = (drawn("L2/3", index=index, slices_per_level=2)[1] for index in (0, 1))
    far = drawn("L5/S1")[1]
    names = [f"{m}_{s}" for m in ("psoas", "erector_spinae") for s in ("left", "right")]

    def dice(a, b):
        a, b = (np.any([inside_ids(labels, name) for name in names], axis=0) for labels in (a, b))
        return 2 * (a & b).sum() / (a.sum() + b.sum())

    assert dice(lower, upper) > 0.93
    assert dice(lower, far) < 0.8
    assert not np.array_equal(lower, upper)


def test_fatty_pixels_of_a_back_muscle_have_their_own_id():
    labels = np.array([[LABELS["multifidus_left"], LABELS["multifidus_left"], LABELS["psoas_left"], 0]], np.uint8)
    parted = with_fat_labels(labels, np.array([[0.4, 0.6, 0.9, 0.9]]))
    expected = [LABELS["multifidus_left"], LABELS["multifidus_fat_left"], LABELS["psoas_left"], 0]
    assert parted.tolist() == [expected]


@settings(deadline=None, max_examples=20)
@given(mean=st.floats(0.03, 0.7), seed=st.integers(0, 1000))
def test_fat_pattern_has_the_mean_that_was_asked_for(mean, seed):
    field = np.random.default_rng(seed).normal(size=1600)
    assert 0.92 * _rise(field, _threshold(field, mean)).mean() == pytest.approx(mean, rel=0.01)


# --- sagittal series ---


def test_sagittal_slice_numbers_vertebrae_and_discs_from_above():
    series = one_series(SAGITTAL, patient=2)
    labels = series.labels[0]
    rows = np.indices(labels.shape)[0]
    names = ["L1", "L1/2", "L2", "L2/3", "L3", "L3/4", "L4", "L4/5", "L5", "L5/S1"]
    centres = [rows[labels == LABELS[name]].mean() for name in names]
    assert (np.diff(centres) > 0).all()
    columns = np.indices(labels.shape)[1]
    # Anterior is on the left of the array: bodies, then canal, then laminae.
    assert columns[labels == LABELS["L3"]].mean() < columns[labels == LABELS["dural_sac"]].mean()
    assert columns[labels == LABELS["dural_sac"]].mean() < columns[labels == LABELS["lamina"]].mean()


@pytest.mark.parametrize("patient", [0, 1, *(pytest.param(each, marks=pytest.mark.slow) for each in range(2, 8))])
def test_keypoints_lie_in_their_structure_and_hidden_ones_are_left_out(patient):
    series = one_series(SAGITTAL, patient)
    found = {}
    for name, number, column, row in series.keypoints:
        found[name] = (column, row)
        assert series.labels[number, round(row), round(column)] == LABELS[name]
    for name in ("L1", "L2", "L3", "L4", "L5", "L3/4"):
        inside = series.labels[series.labels.shape[0] // 2] == LABELS[name]
        whole = not (inside[[0, -1]].any() or inside[:, [0, -1]].any())
        assert (name in found) == (whole and inside.sum() * 1.6**2 >= 30)


def test_direction_of_a_sagittal_series_is_a_rotation_and_runs_back_and_down():
    series = one_series(replace(SAGITTAL, num_slices=(3, 3)))
    axes = np.array(series.direction).reshape(3, 3)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes[1, 0] > 0.99  # columns run posterior
    assert axes[2, 1] < -0.99  # rows run down
    assert series.labels.shape[0] == 3


@pytest.mark.slow
def test_lengths_and_areas_are_those_of_volunteers():
    rows = [row for patient in range(12) for row in one_series(SAGITTAL, patient).measurements]

    def mean(structure, quantity):
        return np.mean([r["value"] for r in rows if (r["structure"], r["quantity"]) == (structure, quantity)])

    assert mean("L3", "vertebra_height") == pytest.approx(26.8, abs=1.7)
    assert mean("L3", "vertebra_depth") == pytest.approx(32.4, abs=2.6)
    assert mean("L3", "area") == pytest.approx(841, abs=100)
    assert mean("L1-S1", "lordosis") == pytest.approx(45, abs=11)
