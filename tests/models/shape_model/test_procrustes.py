"""Shapes without place, size and turn, and the model of their differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.shape_model.procrustes import Similarity, aligned, shapes_of, similarity

SHAPES = np.random.default_rng(0).normal(size=(9, 1, 1)) * np.random.default_rng(1).normal(size=(9, 16, 2))
SHAPES = 0.2 * SHAPES + np.random.default_rng(2).normal(size=(16, 2)) * 3
FACTOR = st.builds(lambda size, turn: size * np.exp(1j * turn), st.floats(0.1, 10), st.floats(-3.1, 3.1))
SHIFT = st.complex_numbers(max_magnitude=100)


@given(factor=FACTOR, shift=SHIFT)
def test_a_similarity_is_found_and_undone(factor, shift):
    move = Similarity(factor=complex(factor), shift=shift)
    found = similarity(SHAPES[0], move(SHAPES[0]))
    assert found.factor == pytest.approx(complex(factor), rel=1e-8, abs=1e-8)
    np.testing.assert_allclose(found.undo(move(SHAPES[0])), SHAPES[0], atol=1e-6)


@given(moves=st.lists(st.tuples(FACTOR, SHIFT), min_size=8, max_size=8))
def test_no_similarity_of_any_shape_changes_the_analysis(moves):
    mean, residuals = aligned(SHAPES)
    pairs = zip(moves, SHAPES[1:], strict=True)
    moved = [Similarity(factor=complex(factor), shift=shift)(shape) for (factor, shift), shape in pairs]
    other, others = aligned(np.stack([SHAPES[0], *moved]))
    np.testing.assert_allclose(other, mean, atol=1e-7)
    np.testing.assert_allclose(others, residuals, atol=1e-7)


def test_the_mean_has_centre_zero_and_size_one():
    mean, _ = aligned(SHAPES)
    np.testing.assert_allclose(mean.sum(axis=0), 0, atol=1e-9)
    assert np.linalg.norm(mean) == pytest.approx(1)


def test_with_all_modes_a_training_shape_comes_back_exactly_and_the_mean_has_no_score():
    model, (_, residuals) = shapes_of(SHAPES, 1.0), aligned(SHAPES)
    np.testing.assert_allclose(model.scores(model.mean), 0, atol=1e-12)
    for shape in residuals:
        np.testing.assert_allclose(model.shape(model.scores(shape)), shape, atol=1e-9)
    np.testing.assert_allclose(model.modes @ model.modes.T, np.eye(len(model.sd)), atol=1e-9)


def test_fewer_modes_explain_the_share_that_is_asked_for():
    every, most = shapes_of(SHAPES, 1.0), shapes_of(SHAPES, 0.8)
    share = (most.sd**2).sum() / (every.sd**2).sum()
    assert 0.8 <= share < 1
    assert ((every.sd[: len(most.sd) - 1] ** 2).sum() / (every.sd**2).sum()) < 0.8


def test_no_score_goes_beyond_the_limit():
    model = shapes_of(SHAPES, 1.0)
    far = model.shape(np.array([10.0, *np.zeros(len(model.sd) - 1)]) * model.sd)
    near, pose = model.nearest(far * 7 + 3, 3.0)
    assert np.abs(model.scores(near) / model.sd).max() <= 3 + 1e-9
    assert np.abs(model.scores(near) / model.sd).max() > 2.9
    assert abs(pose.factor) == pytest.approx(7, rel=0.5)


def test_equal_shapes_have_no_mode():
    model = shapes_of(np.repeat(SHAPES[:1], 4, axis=0), 0.98)
    assert len(model.sd) == 0
    shape, _ = model.nearest(SHAPES[0], 3.0)
    np.testing.assert_allclose(shape, model.mean)
