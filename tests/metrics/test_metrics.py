"""Overlap of masks and of boxes: hand-computed values, MONAI and torchvision beside them, and properties."""

from math import nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_dice, compute_iou, get_confusion_matrix
from torchvision import ops

from metrics.boxes import box_iou
from metrics.overlap import Overlap, count_overlap

QUICK = settings(deadline=None, max_examples=30)
MASK = arrays(bool, (9, 12))


def rectangle(rows, columns, shape=(20, 30)):
    mask = np.zeros(shape, dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


# ---------------------------------------------------------------------------------------------------------- overlap


def test_overlap_by_hand():
    overlap = count_overlap(rectangle((0, 4), (0, 5)), rectangle((2, 6), (0, 5)))  # 20 and 20 pixels, 10 shared
    assert overlap == Overlap(tp=10, fp=10, fn=10)
    assert (overlap.dice, overlap.iou) == (0.5, pytest.approx(1 / 3))
    assert (overlap.precision, overlap.recall) == (0.5, 0.5)


def test_precision_is_of_the_prediction_and_recall_of_the_truth():
    overlap = count_overlap(rectangle((0, 10), (0, 10)), rectangle((0, 2), (0, 10)))
    assert (overlap.precision, overlap.recall) == (1.0, 0.2)


def test_overlap_of_empty_identical_and_disjoint_masks():
    some, other, none = rectangle((0, 3), (0, 3)), rectangle((8, 9), (8, 9)), rectangle((0, 0), (0, 0))
    identical, disjoint, missed, alarm, absent = (
        count_overlap(*pair) for pair in ((some, some), (some, other), (some, none), (none, some), (none, none))
    )
    for overlap, expected in (
        (identical, (1, 1, 1, 1)),
        (disjoint, (0, 0, 0, 0)),
        (missed, (0, 0, nan, 0)),
        (alarm, (0, 0, 0, nan)),
        (absent, (nan, nan, nan, nan)),
    ):
        values = (overlap.dice, overlap.iou, overlap.precision, overlap.recall)
        assert values == pytest.approx(expected, nan_ok=True)


@QUICK
@given(true=MASK, predicted=MASK)
def test_overlap_properties(true, predicted):
    overlap, swapped = count_overlap(true, predicted), count_overlap(predicted, true)
    assert overlap.tp + overlap.fp == predicted.sum()
    assert overlap.tp + overlap.fn == true.sum()
    assert overlap.dice == pytest.approx(swapped.dice, nan_ok=True)
    assert overlap.precision == pytest.approx(swapped.recall, nan_ok=True)
    assert overlap.iou == pytest.approx(overlap.dice / (2 - overlap.dice), nan_ok=True)


@QUICK
@given(true=MASK, predicted=MASK)
def test_overlap_agrees_with_monai(true, predicted):
    overlap = count_overlap(true, predicted)
    y, y_pred = (torch.from_numpy(mask)[None, None].float() for mask in (true, predicted))
    if true.any():  # without a truth MONAI leaves a slice out, a false alarm included
        assert overlap.dice == pytest.approx(compute_dice(y_pred, y).item())
        assert overlap.iou == pytest.approx(compute_iou(y_pred, y).item())
    tp, fp, _, fn = get_confusion_matrix(y_pred, y)[0, 0].tolist()
    assert overlap == Overlap(tp=int(tp), fp=int(fp), fn=int(fn))


# ------------------------------------------------------------------------------------------------------------ boxes


def test_box_iou_by_hand():
    a = np.array([[0.5, 0.5, 1, 1], [0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0.2, 0.4]])
    b = np.array([[0.5, 0.5, 0.5, 0.5], [0.8, 0.8, 0.2, 0.2], [0.6, 0.5, 0.2, 0.4]])
    assert box_iou(a, b) == pytest.approx([0.25, 0, 1 / 3])


def test_box_iou_of_undefined_and_degenerate_boxes():
    box, empty, inverted = [0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0, 0.2], [0.5, 0.5, -0.2, -0.2]
    a = np.array([box, [nan, 0.5, 0.2, 0.2], empty, empty, inverted, inverted])
    b = np.array([[nan] * 4, box, box, empty, box, inverted])
    assert box_iou(a, b) == pytest.approx([nan, nan, 0, 0, 0, 0], nan_ok=True)
    assert box_iou(a[:0], b[:0]).shape == (0,)


@QUICK
@given(values=arrays(np.float64, (2, 5, 4), elements=st.floats(0.01, 1)), scale=st.floats(0.1, 300))
def test_box_iou_agrees_with_torchvision_in_any_unit(values, scale):
    a, b = values
    corners = [ops.box_convert(torch.from_numpy(boxes), "cxcywh", "xyxy") for boxes in values]
    iou = box_iou(a, b)
    assert iou == pytest.approx(ops.box_iou(*corners).diagonal().numpy(), abs=1e-9)
    assert iou == pytest.approx(box_iou(b, a))
    stretch = np.array([scale, 1, scale, 1])  # from 0..1 to pixels or mm of an oblong image
    assert iou == pytest.approx(box_iou(a * stretch, b * stretch), abs=1e-9)
    assert box_iou(a, a) == pytest.approx(1)
