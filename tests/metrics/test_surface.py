"""Distances between outlines: hand-computed values, MONAI as the independent implementation, and properties."""

from math import hypot, nan, sqrt

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from metrics.surface import surface_points_mm, surface_scores

QUICK = settings(deadline=None, max_examples=30)
MASK = arrays(bool, (11, 14))
SPACING = st.tuples(st.floats(0.2, 4), st.floats(0.2, 4))
NONE = np.zeros((20, 30), dtype=bool)


def pixels(*positions, shape=(20, 30)):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(np.transpose(positions))] = True
    return mask


def ellipse(row, column, semi_rows, semi_columns, shape=(64, 80)):
    rows, columns = np.indices(shape)
    return ((rows - row) / semi_rows) ** 2 + ((columns - column) / semi_columns) ** 2 <= 1


def values(scores):
    return (scores.hd95_mm, scores.assd_mm, scores.nsd_1mm, scores.nsd_2mm)


def test_two_pixels_are_as_far_apart_as_their_spacing_says():
    scores = surface_scores(pixels((5, 5)), pixels((8, 9)), (2.0, 0.5))
    distance = hypot(3 * 2.0, 4 * 0.5)
    assert values(scores) == pytest.approx((distance, distance, 0, 0))


def test_hd95_is_the_larger_directed_percentile_and_not_the_pooled_one():
    line, end = pixels(*((3, column) for column in range(20))), pixels((3, 0))
    scores = surface_scores(line, end, (5.0, 1.0))
    # Line to end: 0, 1, ..., 19 mm, 95th percentile 18.05 mm; end to line: 0 mm; pooled it would be 18 mm.
    assert scores.hd95_mm == pytest.approx(18.05)
    assert scores.assd_mm == pytest.approx(sum(range(20)) / 21)
    assert (scores.nsd_1mm, scores.nsd_2mm) == pytest.approx((3 / 21, 4 / 21))


def test_hd95_ignores_a_lone_pixel_that_assd_sees():
    line = [(3, column) for column in range(21)]
    scores = surface_scores(pixels(*line), pixels(*line, (13, 0)), (1.0, 1.0))
    assert scores.hd95_mm == 0
    assert scores.assd_mm == pytest.approx(10 / 43)
    assert scores.nsd_2mm == pytest.approx(42 / 43)


def test_surface_pixels_have_a_neighbour_outside_and_beyond_the_edge_is_outside():
    full, cross = np.ones((4, 5), dtype=bool), pixels((1, 1), (0, 1), (2, 1), (1, 0), (1, 2), shape=(4, 5))
    assert len(surface_points_mm(full, (1.0, 1.0))) == 14
    # The centre of a cross has all four neighbours inside; that its diagonal ones are outside does not matter.
    assert sorted(map(tuple, surface_points_mm(cross, (2.0, 3.0)))) == [(0, 3), (2, 0), (2, 6), (4, 3)]
    assert len(surface_points_mm(NONE, (1.0, 1.0))) == 0


def test_a_pixel_of_one_millimetre_is_within_one_millimetre_despite_its_header():
    scores = surface_scores(pixels((5, 5)), pixels((5, 6)), (1.0000001, 1.0000001))
    assert (scores.nsd_1mm, scores.nsd_2mm) == (1, 1)
    assert surface_scores(pixels((5, 5)), pixels((5, 6)), (1.001, 1.001)).nsd_1mm == 0


def test_empty_masks():
    some = pixels((5, 5), (5, 6))
    diagonal = sqrt((20 * 2.0) ** 2 + (30 * 0.5) ** 2)
    assert values(surface_scores(some, NONE, (2.0, 0.5))) == pytest.approx((diagonal, diagonal, 0, 0))
    assert values(surface_scores(NONE, some, (2.0, 0.5))) == pytest.approx((nan, nan, 0, 0), nan_ok=True)
    assert values(surface_scores(NONE, NONE, (2.0, 0.5))) == pytest.approx((nan, nan, nan, nan), nan_ok=True)


@pytest.mark.parametrize("spacing_mm", [(0.0, 1.0), (1.0, -1.0), (nan, 1.0), (1.0, float("inf"))])
def test_impossible_spacing_is_refused_whatever_the_masks(spacing_mm):
    for mask in (NONE, pixels((5, 5))):
        with pytest.raises(ValueError, match=r"spacing_mm is .* expected two positive numbers"):
            surface_scores(mask, mask, spacing_mm)


# MONAI 1.6 passes its own deprecated argument to itself.
ignores_monai = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")


def monai_scores(true, predicted, spacing_mm):
    y, y_pred = (torch.from_numpy(mask)[None, None].float() for mask in (true, predicted))
    options = {"include_background": True, "spacing": list(spacing_mm)}
    return (
        compute_hausdorff_distance(y_pred, y, percentile=95, **options).item(),
        compute_average_surface_distance(y_pred, y, symmetric=True, **options).item(),
        *(compute_surface_dice(y_pred, y, class_thresholds=[tolerance], **options).item() for tolerance in (1.0, 2.0)),
    )


# The definitions coincide where both masks have a pixel (MONAI's edges are an erosion by the same cross, its symmetric
# average pools both directions). On empty masks MONAI gives NaN or infinity; there the protocol's rules are ours alone.
@ignores_monai
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (0.7, 1.3), (3.0, 0.4)])
@pytest.mark.parametrize(
    ("true", "predicted"),
    [
        (ellipse(30, 40, 20, 12), ellipse(33, 37, 18, 15)),
        (ellipse(30, 40, 20, 12), ellipse(30, 40, 20, 12)),
        (ellipse(10, 10, 6, 6), ellipse(50, 60, 9, 5)),
        (ellipse(0, 0, 20, 30), ellipse(0, 5, 18, 30)),
        (ellipse(30, 40, 20, 20) & ~ellipse(30, 40, 8, 8), ellipse(30, 40, 20, 20)),
    ],
    ids=["near", "identical", "disjoint", "at the edge", "with a hole"],
)
def test_agrees_with_monai(true, predicted, spacing_mm):
    scores = surface_scores(true, predicted, spacing_mm)
    assert values(scores) == pytest.approx(monai_scores(true, predicted, spacing_mm), rel=1e-5, abs=1e-5)


@ignores_monai
@QUICK
@given(true=MASK, predicted=MASK)
def test_agrees_with_monai_on_noise(true, predicted):
    assume(true.any() and predicted.any())
    scores = surface_scores(true, predicted, (0.7, 1.3))
    assert values(scores) == pytest.approx(monai_scores(true, predicted, (0.7, 1.3)), rel=1e-5, abs=1e-5)


@QUICK
@given(true=MASK, predicted=MASK, spacing_mm=SPACING, scale=st.floats(0.2, 5))
def test_properties(true, predicted, spacing_mm, scale):
    assume(true.any() and predicted.any())
    scores = surface_scores(true, predicted, spacing_mm)
    assert values(scores) == pytest.approx(values(surface_scores(predicted, true, spacing_mm)))
    assert values(scores) == pytest.approx(values(surface_scores(true[::-1, ::-1], predicted[::-1, ::-1], spacing_mm)))
    assert values(scores) == pytest.approx(values(surface_scores(true.T, predicted.T, spacing_mm[::-1])))
    scaled = surface_scores(true, predicted, (spacing_mm[0] * scale, spacing_mm[1] * scale))
    assert (scaled.hd95_mm, scaled.assd_mm) == pytest.approx((scores.hd95_mm * scale, scores.assd_mm * scale))
    assert 0 <= scores.nsd_1mm <= scores.nsd_2mm <= 1
    missed = surface_scores(true, np.zeros_like(true), spacing_mm)
    assert scores.hd95_mm < missed.hd95_mm
    assert scores.assd_mm < missed.assd_mm


@QUICK
@given(mask=MASK, spacing_mm=SPACING)
def test_identical_masks_are_perfect(mask, spacing_mm):
    assume(mask.any())
    assert values(surface_scores(mask, mask, spacing_mm)) == (0, 0, 1, 1)
