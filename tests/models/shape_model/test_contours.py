"""Outlines as rings of numbered points, and back to pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.shape_model.contours import LANDMARKS, inside, outline_mm, outward_normals, ring

DOWN = np.array([0.0, 1.0])


def block(rows=slice(10, 30), columns=slice(8, 40), shape=(50, 60)):
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def test_an_outline_is_that_of_the_largest_piece_in_millimetres():
    mask = block()
    mask[45:47, 2:4] = True
    outline = outline_mm(mask, (2.0, 0.5))
    assert outline[:, 0].min() == pytest.approx(7.5 * 0.5)
    assert outline[:, 0].max() == pytest.approx(39.5 * 0.5)
    assert (outline[:, 1].min(), outline[:, 1].max()) == (19.0, 59.0)


@pytest.mark.parametrize("mask", [np.zeros((9, 9), bool), block(rows=slice(0, 20)), block(columns=slice(30, 60))])
def test_what_is_not_there_or_cut_by_the_edge_has_no_outline(mask):
    assert outline_mm(mask, (1.0, 1.0)) is None


@pytest.mark.parametrize(("kind", "first"), [("vertebra", (39, 10)), ("disc", (39, None))])
def test_a_ring_begins_at_the_back_and_goes_over_the_head(kind, first):
    """The back is on the right of canonical sagittal slices, the head above."""
    points = ring(outline_mm(block(), (1.0, 1.0)), kind, DOWN, 64)
    assert points.shape == (64, 2)
    assert abs(points[0, 0] - first[0]) < 1
    if first[1] is not None:
        assert abs(points[0, 1] - first[1]) < 1
    side = 64 // len(LANDMARKS[kind])
    assert points[1 : side // 2, 1].max() < 21, "first over the upper half"
    assert points[side, 0] < 10, "the second landmark is in front"


@given(turn=st.floats(-0.6, 0.6), backwards=st.booleans())
def test_a_ring_follows_the_spine_and_not_the_direction_of_the_line(turn, backwards):
    outline = outline_mm(block(), (1.0, 1.0))
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    straight = ring(outline, "vertebra", DOWN, 64)
    turned = ring((outline @ spin)[:: -1 if backwards else 1], "vertebra", DOWN @ spin, 64)
    np.testing.assert_allclose(turned, straight @ spin, atol=1e-6)


def test_normals_point_outward():
    points = ring(outline_mm(block(), (1.0, 1.0)), "vertebra", DOWN, 64)
    middle = points.mean(axis=0)
    assert ((outward_normals(points[None])[0] * (points - middle)).sum(axis=1) > 0).all()


def test_a_polygon_filled_is_the_mask_that_it_came_from():
    mask = block()
    np.testing.assert_array_equal(inside(outline_mm(mask, (1.0, 1.0)), mask.shape), mask)
    whole = np.array([[-5.0, -5.0], [99.0, -5.0], [99.0, 99.0], [-5.0, 99.0]])
    assert inside(whole, (6, 7)).all(), "what reaches beyond the picture is cut"
    assert not inside(whole + 200, (6, 7)).any()
