"""The whole body: that it is one, that its organs lie where they do in people, and that it leaves the old one alone."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from benchmarks.phantom_published import WHOLE_FILE, compare, drawn_values, read_published
from datamodules.phantom import PhantomSettings, Population
from datamodules.phantom.anatomy import section as section_of
from datamodules.phantom.measurements import body_rows
from datamodules.phantom.noise import Plane
from datamodules.phantom.patient import draw_patient
from datamodules.phantom.planning import placements
from datamodules.phantom.series import Examination
from datamodules.phantom.structures import LABELS, labels_of

AXIAL = PhantomSettings(num_patients=20, body="whole", size=120, field_mm=(480, 480), tilt_share=(0.0, 1.15))
PATIENTS = range(8)
_SACRAL = ((5.1, 0.0, -30.0), (8.5, 0.0, 0.0), (11.9, 0.0, 0.0))  # promontory, hollow and tip
NAMES = {number: name for name, number in LABELS.items()}


@lru_cache
def examined(patient):
    return Examination.of(AXIAL, patient)


@lru_cache
def block(patient, level, tilt_share=(0.0, 1.15)):
    """Labels, and position in mm of every pixel (left, back, up), of an axial slice."""
    examination = examined(patient)
    cohort = replace(AXIAL, levels=(level,), tilt_share=tilt_share)
    plane = next(placements(cohort, examination.patient, examination.body)).plane(0)
    return section_of(examination.body, plane).labels, plane.coordinates()


@lru_cache
def middle(patient, x=0.0):
    """The same of an upright slice `x` mm to the left of the disc L3/4, from the chest to below the coccyx."""
    plane = Plane(
        origin=np.array([x, -240.0, 250.0]),
        row_step=np.array([0, 0, -2.5]),
        column_step=np.array([0, 2.5, 0.0]),
        shape=(190, 170),
    )
    return section_of(examined(patient).body, plane).labels, plane.coordinates()


def centre(picture, name):
    """Where a structure lies; NaN where the slice does not meet it."""
    labels, axes = picture
    inside = labels == LABELS[name]
    return np.array([axis[inside].mean() if inside.any() else np.nan for axis in axes])


# --- that it is one body ---


@pytest.mark.parametrize("level", ["T12/L1", "L3/4", "L5/S1"])
@pytest.mark.parametrize("patient", PATIENTS[:2])
def test_everything_inside_the_skin_has_a_label_and_nothing_outside(patient, level):
    labels, (x, y, z) = block(patient, level)
    body = labels > 0
    np.testing.assert_array_equal(ndimage.binary_fill_holes(body), body)
    trunk = examined(patient).body.trunk
    assert trunk is not None
    skin = trunk.distances_mm(x, y, z)[0]
    assert (labels[skin < -6] > 0).all()
    outside = np.unique(labels[skin > 9])
    assert {NAMES[number] for number in outside if number} <= {"skin", "subcutaneous_fat", "arm_muscle", "arm_bone"}


@pytest.mark.parametrize("patient", PATIENTS[:2])
def test_air_is_in_bowel_and_lungs_alone(patient):
    examination = examined(patient)
    plane = next(placements(replace(AXIAL, levels=("L2/3",)), examination.patient, examination.body)).plane(0)
    section = section_of(examination.body, plane)
    dark = np.zeros(section.labels.shape)
    for layer in section.layers:
        dark[layer.window] += layer.coverage * ((layer.tissue == "air") - dark[layer.window])
    assert {NAMES[number] for number in np.unique(section.labels[dark > 0.6]) if number} <= {"bowel_gas", "skin"}


def test_axial_and_sagittal_slices_agree_where_they_meet():
    body = examined(1).body
    sagittal, _ = middle(1, x=40.0)
    axial = Plane(
        origin=np.array([40.0, -240.0, 0.0]),
        row_step=np.array([0, 2.5, 0.0]),
        column_step=np.array([2.5, 0.0, 0.0]),
        shape=(170, 3),
    )
    along, same = sagittal[100], section_of(body, axial).labels[:, 0]
    assert (along == same).mean() > 0.9
    assert len(np.unique(along)) > 8


def test_a_whole_body_has_the_patient_and_the_muscles_of_the_posterior_one():
    whole, posterior = (Examination.of(replace(AXIAL, body=body), 3) for body in ("whole", "posterior"))
    assert whole.patient.weight_kg == posterior.patient.weight_kg
    assert whole.scanner.snr == posterior.scanner.snr
    assert {name: whole.sequence.values[name] for name in ("fat", "air")} == {
        name: posterior.sequence.values[name] for name in ("fat", "air")
    }
    np.testing.assert_array_equal(whole.body.psoas["left"].radius_mm, posterior.body.psoas["left"].radius_mm)
    np.testing.assert_array_equal(whole.body.raters[1].waves, posterior.body.raters[1].waves)
    assert posterior.body.trunk is None
    assert set(labels_of("posterior")) < set(labels_of("whole"))
    assert max(labels_of("posterior").values()) == 40  # the ids of older cohorts


# --- sides ---


@pytest.mark.slow
@settings(deadline=None, max_examples=5)
@given(patient=st.sampled_from(PATIENTS[:4]), share=st.sampled_from([0.0, 1.15]))
def test_organs_lie_on_their_sides_in_every_tilt(patient, share):
    upper, lower = (block(patient, level, (share, share)) for level in ("T12/L1", "L2/3"))
    spine = centre(upper, "dural_sac")[0]
    assert centre(upper, "liver")[0] < spine - 15
    assert not centre(upper, "spleen")[0] < spine + 40
    assert not centre(upper, "stomach")[0] < spine
    for picture in (upper, lower):
        aorta, cava = centre(picture, "aorta"), centre(picture, "vena_cava")
        assert cava[0] < aorta[0]
        assert max(aorta[1], cava[1]) < centre(picture, "dural_sac")[1] - 20
    for muscle in ("psoas", "quadratus_lumborum"):
        assert not centre(lower, f"{muscle}_right")[0] > centre(lower, f"{muscle}_left")[0]


@pytest.mark.parametrize("patient", PATIENTS[:4])
def test_kidneys_lie_on_both_sides_behind_the_bowel(patient):
    labels, (x, y, _) = block(patient, "L1/2")
    kidney = labels == LABELS["kidney"]
    left, right = kidney & (x > 20), kidney & (x < -20)
    assert left.sum() * 16 > 500  # mm2
    assert right.sum() * 16 > 500
    assert y[kidney].mean() > y[labels == LABELS["bowel"]].mean() + 40
    assert not kidney[np.abs(x) < 15].any()


# --- order from head to foot ---


@pytest.mark.parametrize("patient", PATIENTS[:3])
def test_the_column_runs_from_the_chest_to_the_coccyx(patient):
    picture = middle(patient, x=float(examined(patient).body.spine.point(3)[0]))
    names = ["T9/10", "T10", "T11", "T11/12", "T12", "L1", "L3", "L5", "L5/S1", "S1", "sacrum", "coccyx"]
    heights = np.array([centre(picture, name)[2] for name in names])
    found = heights[np.isfinite(heights)]  # a bent spine leaves the slice
    assert len(found) >= 8
    assert (np.diff(found) < -4).all()
    body = examined(patient).body
    promontory, hollow, tip = (body.spine.point(*place) for place in _SACRAL)
    assert promontory[1] < hollow[1] - 30  # the sacrum tilts backward
    assert tip[1] < hollow[1] + 8  # the coccyx bends forward again
    assert promontory[2] > hollow[2] > tip[2]


@pytest.mark.parametrize("patient", PATIENTS[:3])
def test_from_front_to_back_there_are_wall_bowel_vessels_spine_and_back(patient):
    picture = middle(patient)
    labels, (_, y, z) = picture
    here = np.abs(z) < 20
    order = ["abdominal_wall", "bowel", "L4", "dural_sac", "skin"]
    found = [np.median(y[here & (labels == LABELS[name])]) for name in order[:-1]]
    found.append(y[here & (labels == LABELS["skin"])].max())
    assert (np.diff(found) > 10).all()


def test_s1_is_a_vertebra_of_its_own_and_the_arches_below_belong_to_the_sacrum():
    """In every patient, transitional or not: levels are counted from T12 downward."""
    variants = {draw_patient(0, index, Population()).skeleton.variant: index for index in range(40)}
    assert len(variants) == 3
    for patient in variants.values():
        body = Examination.of(replace(AXIAL, num_patients=40), patient).body
        ids = [body.segments.vertebra_at(np.array([level]))[0] for level in (-0.5, 0.5, 4.5, 5.5, 6.5, 9.5, 11.5)]
        assert [NAMES[number] for number in ids] == ["T12", "L1", "L5", "S1", "sacrum", "sacrum", "coccyx"]


# --- sizes ---


@pytest.mark.slow
def test_bodies_are_as_large_as_people():
    rows = []
    for index in range(28):
        examination = Examination.of(AXIAL, index)
        who = {"patient": str(index), "case": str(index), "age": 50.0, "sex": examination.patient.sex}
        rows += [{**who, **row} for row in body_rows(examination.body)]
    table = pd.DataFrame(rows)
    for entry in read_published(WHOLE_FILE):
        compared = compare(entry, drawn_values(entry, table))
        assert compared["mean"] == "yes", compared
    for structure, quantity, low, high in (  # nearly every patient; ours: people who fit into a scanner
        ("waist", "breadth", 240, 420),
        ("waist", "depth", 160, 320),
        ("subcutaneous_fat", "thickness_back", 5, 50),
        ("kidney_left", "length", 97, 130),
    ):
        values = np.array(table.loc[(table.structure == structure) & (table.quantity == quantity), "value"])
        assert np.mean((values >= low) & (values <= high)) >= 0.92, (structure, quantity)
