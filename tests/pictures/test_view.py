"""What a picture shows of a slice: the same millimetres, true proportions, the marks, and what is painted where."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from pictures.view import SliceView, common_half_mm, corners_of, grey_levels, window_of, zoomed

RED, GREEN = "#ff0000", "#00ff00"


def view_of(shape=(60, 80), spacing_mm=(1.0, 1.0), **changes) -> SliceView:
    return SliceView(grey=np.full(shape, 100, np.uint8), spacing_mm=spacing_mm, view="axial", **changes)


def with_square(*, top: int, left: int, side: int, shape=(60, 80)) -> np.ndarray:
    mask = np.zeros(shape, np.int64)
    mask[top : top + side, left : left + side] = 1
    return mask


def shown_on(view: SliceView):
    axis = Figure().subplots()
    view.show(axis)
    return axis


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (0.5, 1.25)])
def test_every_view_shows_the_same_millimetres_around_its_middle(spacing_mm):
    shape = (round(60 / spacing_mm[0]), round(100 / spacing_mm[1]))
    small, large = (with_square(top=20, left=30, side=side, shape=shape) for side in (4, 10))
    views = [view_of(shape, spacing_mm, around=corners_of(mask > 0)) for mask in (small, large)]
    cut = zoomed(views, 5.0)
    expected = [(9 * mm + 10) / 2 for mm in spacing_mm]
    assert common_half_mm(views, 5.0) == pytest.approx(expected)
    for view, middle in zip(cut, ((21.5, 31.5), (24.5, 34.5)), strict=True):
        assert [sum(edges) / 2 for edges in view.limits] == pytest.approx(middle)
        extent = [(last - first) * mm for (first, last), mm in zip(view.limits, spacing_mm, strict=True)]
        assert extent == pytest.approx([2 * half for half in expected])
        assert view.proportion == pytest.approx(expected[0] / expected[1])


def test_a_view_stays_inside_the_image_where_that_is_large_enough():
    corner = corners_of(with_square(top=0, left=70, side=10) > 0)
    assert view_of(around=corner, half_mm=(15.0, 15.0)).limits == [(-0.5, 29.5), (49.5, 79.5)]
    assert view_of(around=corner, half_mm=(40.0, 15.0)).limits[0] == (-10.5, 69.5), "more than the image, on both sides"
    assert view_of().limits == [(-0.5, 59.5), (-0.5, 79.5)]
    assert corners_of(np.zeros((60, 80), bool)) == ((0, 0), (59, 79)), "nothing is drawn: the whole image"


@pytest.mark.parametrize("column_mm", [0.5, 1.0])
def test_bare_pixels_bear_a_bar_of_its_length_and_are_left_alone_else(column_mm):
    grey = np.random.default_rng(0).integers(40, 200, (256, 300)).astype(np.uint8)
    view = replace(view_of(), grey=grey, spacing_mm=(1.0, column_mm), interpolation="none")
    shown = view.pixels(grey.shape)
    assert shown.shape == (256, 300, 3)
    white = (shown == 255).all(axis=2)[int(0.93 * 256) : int(0.97 * 256)]
    assert max(white[:, :200].sum(axis=1)) == pytest.approx(20 / column_mm, abs=2)
    changed = (shown != grey[..., None]).any(axis=2)
    assert changed[8:34, :25].any()
    assert changed[8:34, -25:].any()
    changed[8:34, :25] = changed[8:34, -25:] = changed[225:, :120] = False
    assert not changed.any()
    nominal = replace(view, has_mm=False).pixels(grey.shape)
    assert (nominal[225:] == grey[225:, :, None]).all(), "nobody measured this one"


def test_a_structure_is_painted_on_its_own_pixels_and_background_stays():
    mask = with_square(top=10, left=20, side=8)
    axis = shown_on(view_of())
    view_of().paint(axis, np.where(mask, 2, 0), [RED], opacity=0.5)
    painted = np.asarray(axis.images[1].get_array())
    assert (painted[mask == 0][:, 3] == 0).all()
    assert np.allclose(painted[mask == 1], (1, 1, 1, 0.5)), "a class without a colour is white"


def test_an_outline_runs_along_the_pixels_of_its_structure_and_is_closed_at_the_edge_of_the_image():
    mask = with_square(top=52, left=10, side=8) + 2 * with_square(top=20, left=40, side=1)
    axis = shown_on(view_of())
    view_of().outline(axis, mask, [RED, GREEN])
    edges = {}
    for lines in axis.collections:
        (path,) = lines.get_paths()
        assert (path.vertices[0] == path.vertices[-1]).all()
        edges[to_hex(lines.get_edgecolor()[0])] = (
            path.vertices.min(axis=0).tolist(),
            path.vertices.max(axis=0).tolist(),
        )
    assert edges == {RED: ([9.5, 51.5], [17.5, 59.5]), GREEN: ([39.5, 19.5], [40.5, 20.5])}


def test_boxes_lie_on_the_edges_of_pixels_and_absent_ones_are_left_out():
    axis = shown_on(view_of())
    boxes = np.array([[0.25, 0.5, 0.1, 0.2], [np.nan] * 4])
    view_of().boxes(axis, boxes, [RED, GREEN], dashed=True)
    (drawn,) = axis.patches
    assert drawn.get_xy() == pytest.approx((80 * 0.2 - 0.5, 60 * 0.4 - 0.5))
    assert (drawn.get_width(), drawn.get_height()) == pytest.approx((8, 12))
    assert drawn.get_linestyle() == "--"
    assert axis.get_xlim() == (-0.5, 79.5)


def test_the_darkest_and_the_brightest_are_black_and_white_and_a_window_may_be_another_s():
    image = np.linspace(-3, 3, 10_000, dtype=np.float32).reshape(100, 100)
    levels = grey_levels(image)
    assert levels.dtype == np.uint8
    assert ((levels == 0).mean(), (levels == 255).mean()) == pytest.approx((0.01, 0.005), abs=0.003)
    assert abs(int(levels[50, 0]) - 128) < 3
    brighter = grey_levels(image + 1, window_of(image))
    assert brighter.mean() > levels.mean() + 30
    assert not grey_levels(np.zeros((4, 4), np.float32)).any()
