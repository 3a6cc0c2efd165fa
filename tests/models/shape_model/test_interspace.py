"""Spaces between neighbours: lengths and angles, who faces whom, and contours that are parted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.shape_model.contours import inside, outward_normals
from models.shape_model.interspace import facing, interspace_of, log_vectors, pushed_out, vectors_of
from tests.made.spine_shapes import spines

TURN = st.floats(-3.1, 3.1)


@given(x=st.floats(-20, 20), y=st.floats(-20, 20), turn=TURN)
def test_what_is_told_of_a_vector_is_the_vector(x, y, turn):
    vector, tangent = np.array([[x, y]]), np.array([np.cos(turn), np.sin(turn)])
    if np.hypot(x, y) > 1e-3:
        np.testing.assert_allclose(vectors_of(log_vectors(vector, tangent), tangent), vector, atol=1e-9)


@given(length=st.floats(0.1, 20), angle=TURN, turn=TURN)
def test_length_and_angle_come_back(length, angle, turn):
    tangent, told = np.array([np.cos(turn), np.sin(turn)]), np.array([[np.log(length), angle]])
    np.testing.assert_allclose(log_vectors(vectors_of(told, tangent), tangent), told, atol=1e-9)


@pytest.fixture(scope="module")
def pairs():
    """Contours of a body and the disc below it, of ten spines."""
    return [(spine.contours[0], spine.contours[1]) for spine in spines(range(10))]


def look(source, target, reach_mm=15.0):
    return facing(source, outward_normals(source[None])[0], target, reach_mm)


def test_the_lower_side_of_a_body_faces_the_disc_and_the_upper_side_faces_nobody(pairs):
    body, disc = pairs[0]
    seen = look(body, disc + np.array([0.0, 2.0]))
    assert (seen.edge[34:46] >= 0).all(), "the third side goes from the front to the back, below"
    assert (seen.edge[2:14] == -1).all()
    np.testing.assert_allclose(seen.along_mm[36:44], 2, atol=1)
    assert (look(body, disc + np.array([0.0, 40.0])).edge == -1).all(), "too far"


def test_contours_that_have_crossed_are_met_inside(pairs):
    body, disc = pairs[0]
    seen = look(body, disc - np.array([0.0, 3.0]))
    np.testing.assert_allclose(seen.along_mm[36:44], -3, atol=1)


def test_a_space_as_in_training_is_left_alone_and_a_crossed_one_is_parted(pairs):
    space = interspace_of((0, 1), pairs, [np.array([0.0, 1.0])] * len(pairs), reach_mm=15.0, floor_mm=0.1)
    assert len(space.points) >= 12
    tangent, how = np.array([0.0, 1.0]), {"limit_sd": 2.5, "reach_mm": 15.0}
    body, disc = pairs[0][0], pairs[0][1] + np.array([0.0, 0.4])
    still, near = space.parted(body, disc, tangent, **how)
    assert np.abs(still - body).max() < 0.5
    assert np.abs(near - disc).max() < 0.5
    disc = disc - np.array([0.0, 4.0])
    before = look(body, disc).along_mm[space.points]
    for _ in range(3):
        body, disc = space.parted(body, disc, tangent, **how)
    after = look(body, disc).along_mm[space.points]
    assert np.nanmedian(before) < -3
    assert np.nanmedian(after) > 0
    assert np.nanmin(after) > -0.5


def test_both_neighbours_go_half_of_the_way(pairs):
    space = interspace_of((0, 1), pairs, [np.array([0.0, 1.0])] * len(pairs), reach_mm=15.0, floor_mm=0.1)
    body, disc = pairs[0][0], pairs[0][1] - np.array([0.0, 4.0])
    moved, away = space.parted(body, disc, np.array([0.0, 1.0]), limit_sd=2.5, reach_mm=15.0)
    up, down = (body - moved)[space.points, 1].mean(), (away - disc)[:, 1].max()
    assert up > 1
    assert up == pytest.approx(down, rel=0.35)


def test_points_inside_of_a_neighbour_are_pushed_out_of_it(pairs):
    body, disc = pairs[0][0], pairs[0][1] - np.array([0.0, 3.0])
    freed = pushed_out(disc, body, 0.1)
    shape = (200, 120)
    assert (inside(body, shape) & inside(disc, shape)).sum() > 60
    assert (inside(body, shape) & inside(freed, shape)).sum() < 15
    untouched = pushed_out(disc + 100, body, 0.1)
    np.testing.assert_array_equal(untouched, disc + 100)
