"""What validation is scored by: cases computed by hand, the numpy protocol on random masks, and two processes."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.utilities import dim_zero_cat

from datamodules.batch import boxes_of_masks
from metrics.aggregate import summarise
from metrics.boxes import box_iou
from metrics.cases import score_slice
from metrics.keypoints import decode_heatmaps, mean_error_mm
from metrics.validation.keypoints import PatientKeypointError, decode_batch
from metrics.validation.masks import PatientBoxIou, PatientDice, paired_iou
from metrics.validation.scores import ValidationScores

STRUCTURES = ("disc", "canal", "psoas")
NAN = float("nan")


def seen(true, predicted, *, patient, index=None, labelled=None, has_mask=None, network_boxes=None) -> dict:
    """Masks [b, h, w] as the module hands them on; all labelled and drawn unless said otherwise."""
    true, predicted = (torch.as_tensor(mask) for mask in (true, predicted))
    count = len(true)
    return {
        "true_mask": true,
        "predicted_mask": predicted,
        "true_boxes": boxes_of_masks(true, len(STRUCTURES)),
        "mask_boxes": boxes_of_masks(predicted, len(STRUCTURES)),
        "network_boxes": network_boxes,
        "labelled": torch.ones(count, 4, dtype=torch.bool) if labelled is None else torch.tensor(labelled),
        "has_mask": torch.ones(count, dtype=torch.bool) if has_mask is None else torch.tensor(has_mask),
        "index": torch.arange(count) if index is None else torch.tensor(index),
        "patient": torch.tensor(patient),
    }


def scores(score=("dice", "box_iou"), smoothing=0.0) -> ValidationScores:
    measures = {"dice": PatientDice(STRUCTURES), "box_iou": PatientBoxIou(), "keypoints": PatientKeypointError()}
    return ValidationScores(measures, score, smoothing)


def mask(*rows: str) -> torch.Tensor:
    """A mask [1, h, w] as it looks."""
    return torch.tensor([[[int(digit) for digit in row] for row in rows]])


def dice_of(*batches: dict) -> dict[str, float]:
    measure = PatientDice(STRUCTURES)
    for batch in batches:
        measure.update(**measure._filter_kwargs(**batch))
    return measure.compute()


def test_one_slice_by_hand():
    # disc: 2 * 1 / (2 + 1); canal: missed; psoas: in neither
    found = dice_of(seen(mask("1100", "0220"), mask("1000", "0000"), patient=[0]))
    assert found["dice/disc"] == pytest.approx(2 / 3)
    assert found["dice/canal"] == 0
    assert np.isnan(found["dice/psoas"])
    assert found["dice"] == pytest.approx((2 / 3 + 0) / 2)
    assert list(found) == ["dice", *(f"dice/{name}" for name in STRUCTURES)]


def test_a_false_alarm_is_zero():
    assert dice_of(seen(mask("1100"), mask("1130"), patient=[0]))["dice/psoas"] == 0


def test_what_was_not_drawn_is_left_out():
    labelled = [[True, True, False, True]]
    found = dice_of(seen(mask("1100", "0030"), mask("1100", "2200"), patient=[0], labelled=labelled))
    assert (found["dice/disc"], found["dice/psoas"]) == (1, 0)
    assert np.isnan(found["dice/canal"])
    assert found["dice"] == 0.5


def test_slices_are_averaged_within_a_patient_first():
    """Patient 7 has slices of Dice 1, 0 and 0, patient 3 one of 1: 2/3 over patients, 1/2 over slices."""
    right, wrong = mask("1100"), mask("0011")
    first = seen(torch.cat([right, right]), torch.cat([right, wrong]), patient=[7, 7], index=[4, 9])
    second = seen(torch.cat([right, right]), torch.cat([wrong, right]), patient=[7, 3], index=[5, 2])
    assert dice_of(first, second)["dice"] == pytest.approx((1 / 3 + 1) / 2)


def test_a_structure_that_one_patient_lacks_counts_in_the_others():
    true = torch.cat([mask("1122"), mask("1100")])
    found = dice_of(seen(true, torch.cat([mask("1100"), mask("1100")]), patient=[0, 1]))
    assert found["dice/canal"] == 0
    assert found["dice"] == (0.5 + 1) / 2, "patients weigh the same, however many structures they have"


def test_a_slice_that_comes_twice_counts_once():
    right, wrong = mask("1100"), mask("0011")
    batch = seen(torch.cat([right, right, right]), torch.cat([right, wrong, wrong]), patient=[0, 0, 0], index=[0, 1, 1])
    assert dice_of(batch)["dice"] == 0.5


def test_two_processes_find_what_one_finds():
    """Three slices, of which the second process gets the first again, as `datamodules.loading.Share` deals them."""
    true = torch.cat([mask("1122"), mask("1133"), mask("0033")])
    predicted = torch.cat([mask("1100"), mask("1333"), mask("0003")])

    def process(*slices: int) -> PatientDice:
        measure = PatientDice(STRUCTURES)
        for index in slices:
            batch = seen(true[[index]], predicted[[index]], patient=[index // 2], index=[index])
            measure.update(**measure._filter_kwargs(**batch))
        return measure

    first, second = process(0, 2), process(1, 0)
    theirs = iter([dim_zero_cat(getattr(second, name)) for name in ("values", "slices", "patients")])
    first.distributed_available_fn, first.dist_sync_fn = lambda: True, lambda state, group: [state, next(theirs)]
    assert first.compute() == pytest.approx(process(0, 1, 2).compute(), rel=0, abs=0, nan_ok=True)
    assert next(theirs, None) is None
    first.reset()
    assert first.values == []


def test_slices_without_a_mask_are_scored_against_nothing():
    blank = torch.zeros_like(mask("1100"))
    both = {"patient": [0, 1], "has_mask": [True, False]}
    assert dice_of(seen(torch.cat([mask("1100"), blank]), torch.cat([mask("1100")] * 2), **both))["dice"] == 1
    assert dice_of(seen(blank, mask("1100"), patient=[0], has_mask=[False])) == {}


def box_iou_of(batch: dict) -> float:
    measure = PatientBoxIou()
    measure.update(**measure._filter_kwargs(**batch))
    return measure.compute()["box_iou"]


def test_boxes_are_the_networks_own_where_it_has_any():
    true, predicted = mask("1100", "0000"), mask("1111", "0000")
    assert box_iou_of(seen(true, predicted, patient=[0])) == pytest.approx(0.5)
    own = torch.tensor([[[0.25, 0.25, 0.5, 0.5], [0.5, 0.5, 1, 1], [0.5, 0.5, 1, 1]]])
    batch = seen(true, predicted, patient=[0], network_boxes=own)
    assert box_iou_of(batch) == pytest.approx(1), "boxes of absent structures are no false alarms"
    assert box_iou_of(seen(true, mask("2200", "0000"), patient=[0], network_boxes=own)) == 0, "no pixel, no box"
    own[0, 0] = NAN
    assert box_iou_of(seen(true, predicted, patient=[0], network_boxes=own)) == 0


@given(seed=st.integers(0, 2**32 - 1), with_boxes=st.booleans())
@settings(deadline=None, max_examples=50)
def test_random_masks_score_as_the_tables_of_a_test(seed, with_boxes):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 7))
    # Every second class is rare, so that all of scored, missed, false alarm and absent occur.
    true, predicted = (rng.choice(4, size=(count, 5, 4), p=[0.7, 0.15, 0.05, 0.1]) for _ in range(2))
    patients = rng.integers(0, 3, count)
    labelled = np.concatenate([np.ones((count, 1), bool), rng.random((count, 3)) < 0.8], axis=1)
    predicted *= labelled[np.arange(count)[:, None, None], predicted]
    true *= labelled[np.arange(count)[:, None, None], true]
    own = torch.from_numpy(rng.random((count, 3, 4))).float() if with_boxes else None
    batch = seen(true, predicted, patient=patients.tolist(), labelled=labelled.tolist(), network_boxes=own)
    rows = []
    for index in range(count):
        scored = score_slice(
            true_mask=true[index],
            predicted_mask=predicted[index],
            structures=STRUCTURES,
            labelled=labelled[index],
            spacing_mm=(1.0, 1.0),
            true_boxes=batch["true_boxes"][index].numpy(),
            mask_boxes=batch["mask_boxes"][index].numpy(),
            network_boxes=None if own is None else own[index].numpy(),
        )
        who = {"case": f"c{index}", "patient": str(patients[index]), "level": "", "slice": 0}
        rows += [{**who, **row} for row in scored]
    expected = summarise(pd.DataFrame(rows))
    measures = scores(smoothing=0.0)
    measures.update(**batch, true_keypoints=torch.zeros(count, 0, 2), heatmaps=None, spacing_mm=(1.0, 1.0))
    found = {name: None if np.isnan(value) else value for name, value in measures.end_epoch().items()}
    for name, value in expected["dice"].items():
        assert found["dice" if name == "mean" else f"dice/{name}"] == pytest.approx(value, abs=1e-6)
    assert found["box_iou"] == pytest.approx(expected["box_iou"]["mean"], abs=1e-5)


@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_pairs_of_boxes_overlap_as_in_a_test(seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.uniform(-0.3, 1, (2, 3, 4)).astype(np.float32) for _ in range(2))
    b[0, 0, rng.integers(4)] = NAN
    expected = [box_iou(one, other) for one, other in zip(a, b, strict=True)]
    np.testing.assert_allclose(paired_iou(torch.from_numpy(a), torch.from_numpy(b)), expected, atol=1e-4)


@pytest.mark.parametrize("spacing_mm", [(1.75, 1.75), (3.0, 2.0)])
def test_key_points_are_decoded_as_in_a_test(spacing_mm):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :30]
    centres = rng.uniform(-2, 40, (3, 6, 2))  # some at the edge, some beyond it
    maps = np.exp(-((x - centres[..., :1, None]) ** 2 + (y - centres[..., 1:, None]) ** 2) / (2 * 2.0**2))
    maps = (maps + rng.normal(0, 0.02, maps.shape)).astype(np.float32)
    maps[0, 0], maps[0, 1, 3, 4], maps[0, 2] = 0.3, NAN, -np.abs(maps[0, 2]) - 0.1
    expected = np.stack([decode_heatmaps(each, spacing_mm)[0] for each in maps])
    found = decode_batch(torch.from_numpy(maps), spacing_mm).numpy()
    assert np.isnan(expected[0, :2]).all()
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_key_point_that_is_not_found_is_the_diagonal_off():
    true = torch.tensor([[[5.0, 6.0], [3.0, 3.0], [NAN, NAN]], [[NAN, NAN]] * 3])
    maps = torch.zeros(2, 3, 12, 16)
    maps[0, 0, 6, 8] = maps[1, 0, 1, 1] = maps[0, 2, 1, 1] = 1.0
    measure = PatientKeypointError()
    place = {"spacing_mm": (2.0, 1.0), "index": torch.tensor([0, 1]), "patient": torch.tensor([5, 6])}
    measure.update(true_keypoints=true, heatmaps=maps, **place)
    expected = mean_error_mm(true[0].double().numpy(), np.array([[8.0, 6], [NAN, NAN], [1, 1]]), (2.0, 1.0), (12, 16))
    assert measure.compute()["keypoint_error_mm"] == pytest.approx(expected)
    measure.reset()
    measure.update(true_keypoints=true, heatmaps=None, **place)
    assert measure.compute() == {}


def test_the_score_is_smoothed_over_epochs_and_epochs_are_apart():
    measures = scores(("dice",), smoothing=0.7)
    empty = {"true_keypoints": torch.zeros(1, 0, 2), "heatmaps": None, "spacing_mm": (1.0, 1.0)}
    for predicted, dice, score in (("1100", 1, 1), ("0011", 0, 0.7), ("1100", 1, 0.7 * 0.7 + 0.3)):
        measures.update(**seen(mask("1100"), mask(predicted), patient=[0]), **empty)
        found = measures.end_epoch()
        assert (found["dice"], found["score"]) == (dice, pytest.approx(score))
    assert not measures.state_dict(), "checkpoints of older versions have nothing of it"


def test_what_cannot_choose_a_checkpoint_is_said():
    empty = {"true_keypoints": torch.zeros(1, 0, 2), "heatmaps": None, "spacing_mm": (1.0, 1.0)}
    measures = scores(("dice", "iou"))
    measures.update(**seen(mask("1100"), mask("1100"), patient=[0]), **empty)
    with pytest.raises(ValueError, match=r"metrics\.score is dice, iou, expected some of what .*: box_iou, dice"):
        measures.end_epoch()
    measures.update(**seen(mask("1100"), mask("1100"), patient=[0], has_mask=[False]), **empty)
    with pytest.raises(ValueError, match=r"no slice that validates has a mask.*supervision\.masked_patients"):
        measures.end_epoch()
    for score in ((), ("keypoint_error_mm",)):
        with pytest.raises(ValueError, match="expected names of shares such as dice"):
            scores(score)
