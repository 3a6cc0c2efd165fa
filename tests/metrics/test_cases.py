"""The rows of `cases.csv`: what each status means for every column."""

from math import hypot, isnan, nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from datamodules.batch import boxes_of_masks
from metrics.cases import CASE_COLUMNS, MECHANISM_COLUMNS, SCORE_COLUMNS, STATUSES, score_slice, without_millimetres
from metrics.keypoints import KEYPOINT_COLUMNS
from metrics.mechanism import Mechanism, score_mechanism
from metrics.morphometry import MORPHOMETRY_COLUMNS
from metrics.spine_shape import SPINE_MEASURES

LABELS = arrays(np.uint8, (9, 12), elements=st.integers(0, 3))
ISSUE_COLUMNS = (
    "case, patient, level, slice, structure, status, dice, iou, precision, recall, box_iou, detected, hd95_mm, "
    "assd_mm, nsd_1mm, nsd_2mm, tp, fp, fn, area_true_mm2, area_pred_mm2, csa_error_percent, mask_box_iou, "
    "preliminary_dice, preliminary_ceiling_dice, saliency_share, area_share, "
    "site, fat_fraction, fascia_contrast, quadratus_lumborum, snr"
)
SCORES = [name for name in SCORE_COLUMNS if name not in ("structure", "status", "tp", "fp", "fn")]
UNDEFINED = {
    "scored": set(),
    "missed": {"precision"},
    "false_alarm": {"recall", "hd95_mm", "assd_mm", "csa_error_percent"},
    "absent": {name for name in SCORES if not name.startswith("area")},
    "unlabelled": {*SCORES, "tp", "fp", "fn"},
}


def rectangle(rows, columns, shape=(20, 30)):
    mask = np.zeros(shape, dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def boxes(mask, num_structures):
    num_present = max(num_structures, int(mask.max()))
    return boxes_of_masks(torch.from_numpy(mask.astype(np.int64))[None], num_present)[0, :num_structures].numpy()


def score(true, predicted, *, labelled=None, network_boxes=None, spacing_mm=(1.0, 1.0), num_structures=3):
    return score_slice(
        true_mask=true.astype(np.uint8),
        predicted_mask=predicted.astype(np.uint8),
        structures=[f"s{index}" for index in range(1, num_structures + 1)],
        labelled=np.array([True, *(labelled or [True] * num_structures)]),
        spacing_mm=spacing_mm,
        true_boxes=boxes(true, num_structures),
        mask_boxes=boxes(predicted, num_structures),
        network_boxes=network_boxes,
    )


def score_one(true, predicted, **options):
    (row,) = score(true, predicted, num_structures=1, **options)
    return row


def is_nan(value):
    return not isinstance(value, str) and isnan(value)


def test_the_columns_are_those_of_the_contract():
    assert ", ".join(CASE_COLUMNS) == ISSUE_COLUMNS


def test_a_scored_row_by_hand():
    true, predicted = rectangle((4, 8), (10, 20)), rectangle((4, 8), (12, 22))  # moved by two columns of 0.5 mm
    row = score_one(true, predicted, spacing_mm=(2.0, 0.5))
    assert list(row) == list(SCORE_COLUMNS)
    assert (row["structure"], row["status"], row["detected"]) == ("s1", "scored", True)
    assert (row["tp"], row["fp"], row["fn"]) == (32, 8, 8)
    assert (row["dice"], row["iou"], row["precision"], row["recall"]) == pytest.approx((0.8, 2 / 3, 0.8, 0.8))
    assert (row["box_iou"], row["mask_box_iou"]) == pytest.approx((2 / 3, 2 / 3))
    assert (row["area_true_mm2"], row["area_pred_mm2"], row["csa_error_percent"]) == (40, 40, 0)
    assert (row["hd95_mm"], row["nsd_1mm"], row["nsd_2mm"]) == (1, 1, 1)
    assert 0 < row["assd_mm"] < 1


@pytest.mark.parametrize(("columns", "error"), [((0, 5), 50), ((0, 15), 50), ((0, 30), 200), ((20, 30), 0)])
def test_area_error_is_relative_to_the_truth(columns, error):
    assert score_one(rectangle((0, 2), (0, 10)), rectangle((0, 2), columns))["csa_error_percent"] == pytest.approx(
        error
    )


def test_a_miss_is_the_worst_there_is():
    row = score_one(rectangle((4, 8), (10, 20)), rectangle((0, 0), (0, 0)), spacing_mm=(2.0, 0.5))
    zeros = ("dice", "iou", "recall", "box_iou", "mask_box_iou", "nsd_1mm", "nsd_2mm", "area_pred_mm2")
    assert row["status"] == "missed"
    assert [row[name] for name in zeros] == [0] * len(zeros)
    assert row["detected"] is False
    assert row["hd95_mm"] == row["assd_mm"] == hypot(20 * 2, 30 * 0.5)
    assert row["csa_error_percent"] == 100


def test_a_false_alarm_scores_zero():
    row = score_one(rectangle((0, 0), (0, 0)), rectangle((4, 8), (10, 20)))
    zeros = ("dice", "iou", "precision", "box_iou", "mask_box_iou", "nsd_1mm", "nsd_2mm", "area_true_mm2")
    assert row["status"] == "false_alarm"
    assert [row[name] for name in zeros] == [0] * len(zeros)
    assert row["detected"] is False
    assert (row["fp"], row["area_pred_mm2"]) == (40, 40)


@settings(deadline=None, max_examples=30)
@given(true=LABELS, predicted=LABELS, side_mm=st.floats(0.1, 9.0))
def test_without_millimetres_a_row_does_not_depend_on_the_size_of_a_pixel(true, predicted, side_mm):
    here, elsewhere = (without_millimetres(score(true, predicted, spacing_mm=(side, side))) for side in (1.0, side_mm))
    for one, other in zip(here, elsewhere, strict=True):
        assert list(one) == list(SCORE_COLUMNS)
        assert one == pytest.approx(other, nan_ok=True)


def test_which_columns_of_any_table_mean_millimetres():
    tables = (*CASE_COLUMNS, *KEYPOINT_COLUMNS, *MORPHOMETRY_COLUMNS, *SPINE_MEASURES, "csa_mm2_sd", "distance_mm_0.5")
    (row,) = without_millimetres([dict.fromkeys(tables, 1.0)])
    lost = {name for name, value in row.items() if is_nan(value)}
    in_mm = {name for name in tables if "mm" in name and not name.endswith(("asymmetry_percent", "asymmetry_points"))}
    assert lost == in_mm | {"area_threshold"}, "which compares an area to one in mm2"


def test_the_networks_own_box_is_scored_where_it_has_one():
    true = predicted = rectangle((0, 10), (0, 10))
    half = boxes(rectangle((0, 10), (0, 4)), 1)
    row = score_one(true, predicted, network_boxes=half)
    assert (row["box_iou"], row["mask_box_iou"], row["detected"]) == (pytest.approx(0.4), 1, False)
    row = score_one(true, predicted)
    assert (row["box_iou"], row["mask_box_iou"], row["detected"]) == (1, 1, True)


def test_a_box_counts_only_where_the_mask_has_a_pixel_and_a_box_of_nan_never():
    true, none = rectangle((0, 10), (0, 10)), rectangle((0, 0), (0, 0))
    perfect = boxes(true, 1)
    assert score_one(true, none, network_boxes=perfect)["box_iou"] == 0
    assert score_one(none, none, network_boxes=perfect)["status"] == "absent"
    row = score_one(true, true, network_boxes=np.full_like(perfect, nan))
    assert (row["box_iou"], row["mask_box_iou"], row["detected"]) == (0, 1, False)


def test_unlabelled_structures_have_a_row_and_no_score():
    true = np.where(rectangle((0, 5), (0, 5)), 1, 0)
    rows = score(true, true, labelled=[True, False, True])
    assert [row["status"] for row in rows] == ["scored", "unlabelled", "absent"]
    assert [row["structure"] for row in rows] == ["s1", "s2", "s3"]


@settings(deadline=None, max_examples=30)
@given(true=LABELS, predicted=LABELS, labelled=st.tuples(*[st.booleans()] * 3), seed=st.integers(0, 9))
def test_each_status_leaves_exactly_its_own_values_undefined(true, predicted, labelled, seed):
    dropped = np.random.default_rng(seed).integers(0, 4, size=2)  # so that misses and false alarms occur
    true, predicted = (
        np.where(np.isin(mask, np.flatnonzero([True, *labelled])) & (mask != drop), mask, 0)
        for mask, drop in zip((true, predicted), dropped, strict=True)
    )
    for index, row in enumerate(score(true, predicted, labelled=list(labelled)), start=1):
        assert row["status"] in STATUSES
        assert (row["status"] == "unlabelled") == (not labelled[index - 1])
        assert {name for name, value in row.items() if is_nan(value)} == UNDEFINED[row["status"]]
        if labelled[index - 1]:
            assert row["tp"] + row["fp"] == (predicted == index).sum() == row["area_pred_mm2"]
            assert row["tp"] + row["fn"] == (true == index).sum() == row["area_true_mm2"]


def test_a_caller_that_forgot_to_merge_unlabelled_classes_is_told():
    true = np.where(rectangle((0, 5), (0, 5)), 1, 0)
    with pytest.raises(AssertionError, match="predicted mask has pixels of an unlabelled class"):
        score(true, true * 2, labelled=[True, False, True])


def test_boxes_of_another_mask_are_refused():
    true = rectangle((0, 5), (0, 5)).astype(np.uint8)
    with pytest.raises(AssertionError, match="true boxes"):
        score_slice(
            true_mask=true,
            predicted_mask=true,
            structures=["s1"],
            labelled=np.array([True, True]),
            spacing_mm=(1.0, 1.0),
            true_boxes=np.full((1, 4), nan),
            mask_boxes=boxes(true, 1),
            network_boxes=None,
        )


def test_a_class_beyond_the_structures_is_refused():
    true = rectangle((0, 5), (0, 5)).astype(np.uint8)
    with pytest.raises(AssertionError, match="true mask has class 2 of 2 classes"):
        score(true * 2, true, num_structures=1)


def shares(true, mechanism, *, labelled=(True, True)):
    return score_mechanism(mechanism, true_mask=true.astype(np.uint8), labelled=np.array(labelled))[0]


def test_saliency_inside_the_structure_alone_has_a_share_of_one_and_a_flat_map_that_of_the_area():
    true = rectangle((4, 8), (10, 20))
    field = rectangle((0, 20), (0, 25))
    row = shares(true, Mechanism(saliency=true.astype(np.float32), field=field))
    assert (row["saliency_share"], row["area_share"]) == pytest.approx((1, 40 / 500))
    row = shares(true, Mechanism(saliency=0.3 * field.astype(np.float32), field=field))
    assert row["saliency_share"] == pytest.approx(row["area_share"])


def test_only_what_the_network_sees_counts_in_the_shares():
    """Half of the structure lies outside of the field; saliency there cannot be."""
    true, field = rectangle((4, 8), (10, 20)), rectangle((0, 20), (0, 15))
    row = shares(true, Mechanism(saliency=field.astype(np.float32), field=field))
    assert (row["saliency_share"], row["area_share"]) == pytest.approx((20 / 300, 20 / 300))


def test_the_preliminary_mask_is_scored_like_any_mask():
    true = rectangle((4, 8), (10, 20))
    masks = {"preliminary_mask": rectangle((4, 8), (12, 22)), "ceiling_mask": true}
    row = shares(true, Mechanism(**{name: mask.astype(np.uint8) for name, mask in masks.items()}))
    assert (row["preliminary_dice"], row["preliminary_ceiling_dice"]) == pytest.approx((0.8, 1))
    assert is_nan(row["saliency_share"])


@pytest.mark.parametrize(
    ("true", "labelled", "defined"),
    [
        (rectangle((4, 8), (10, 20)), (True, False), set()),
        (rectangle((0, 0), (0, 0)), (True, True), {"preliminary_dice", "preliminary_ceiling_dice"}),
        (rectangle((4, 8), (10, 20)), (True, True), set(MECHANISM_COLUMNS)),
    ],
    ids=["not annotated", "absent", "present"],
)
def test_which_structures_have_a_mechanism_to_score(true, labelled, defined):
    found = rectangle((0, 2), (0, 2)).astype(np.uint8)
    everywhere = np.ones(true.shape, dtype=bool)
    mechanism = Mechanism(
        preliminary_mask=found, ceiling_mask=found, saliency=everywhere.astype(np.float32), field=everywhere
    )
    row = shares(true, mechanism, labelled=labelled)
    assert set(row) == set(MECHANISM_COLUMNS)
    assert {name for name, value in row.items() if not is_nan(value)} == defined


def test_a_network_that_shows_nothing_and_a_map_of_zeros_have_no_share():
    true = rectangle((4, 8), (10, 20))
    assert all(is_nan(value) for value in shares(true, Mechanism()).values())
    zeros = Mechanism(saliency=np.zeros(true.shape, np.float32), field=np.ones(true.shape, dtype=bool))
    row = shares(true, zeros)
    assert is_nan(row["saliency_share"])
    assert row["area_share"] == pytest.approx(40 / 600)
