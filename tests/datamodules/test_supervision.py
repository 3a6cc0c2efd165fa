"""Who trains with what: budgets of masks, key points alone, the batches of both, and what they must not tell."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from datamodules.folds import ImageFolds, PatientFolds
from datamodules.loading import MixedBatches, Share, TrainingBatches
from datamodules.slice_batches import SliceBatches
from datamodules.splits.split import Split
from datamodules.store.slice_store import SliceStore, build_store
from datamodules.supervision import Supervision, Teaching
from tests.made.spines import GRID, spine_cohort, write_spines

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "supervision").glob("*.yaml"))
MASKED = [f"m{number}" for number in range(12)]
WEAK = ["w0", "w1", "w2"]
NUM_FOLDS = 4
ALONE = Share()


def supervision(name: str, **changes) -> Supervision:
    config = OmegaConf.load(next(path for path in CONFIGS if path.stem == name))
    return instantiate(config, **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> SliceStore:
    """Three slices of each patient; key points on one, and none at all of m0 and w2."""
    root = tmp_path_factory.mktemp("supervision")
    clicked = [name for name in (*MASKED, *WEAK) if name not in ("m0", "w2")]
    write_spines(root / "spines", masked=MASKED, weak=WEAK, clicked=clicked)
    return build_store(spine_cohort(root / "spines"), grid=GRID, cache=root / "cache", num_workers=0)


@pytest.fixture(scope="module")
def split(store) -> Split:
    return PatientFolds(num_folds=NUM_FOLDS)(store.table)


def patients(store, rows) -> set[str]:
    return set(store.table["patient"].iloc[rows])


def part(store, split, name, fold=0) -> set[str]:
    return patients(store, split.indices(fold, name, store.table))


# -------------------------------------------------------------------------------------------------- who has what


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_supervision_has_the_same_keys_and_can_train_every_fold(path, store, split):
    config = OmegaConf.load(path)
    assert {"_target_", "masked_patients", "draw", "weak_cohort"} <= set(config)
    arm = instantiate(config)
    for fold in range(NUM_FOLDS):
        taught = arm.teach(store, split, fold)
        arm.check(taught, fold)
        assert not patients(store, [*taught.masked, *taught.weak]) & part(store, split, "test", fold)
        assert not patients(store, [*taught.masked, *taught.weak]) & patients(store, taught.validation)


def test_full_supervision_knows_masks_alone(store, split):
    taught = supervision("full").teach(store, split, 0)
    assert patients(store, taught.masked) == part(store, split, "train") - {*WEAK}
    assert not len(taught.weak)
    assert not taught.labels.has_keypoints.any()
    assert set(taught.masked_patients) == part(store, split, "train") - {*WEAK} | part(store, split, "validation")
    assert taught.weak_patients == ()


def test_mixed_supervision_adds_the_clicked_slices_of_patients_without_masks(store, split):
    taught = supervision("mixed").teach(store, split, 0)
    np.testing.assert_array_equal(taught.masked, supervision("full").teach(store, split, 0).masked)
    table = store.table.iloc[taught.weak]
    assert sorted(zip(table["patient"], table["slice"], strict=True)) == [("w0", 1), ("w1", 1)]
    assert taught.weak_patients == ("w0", "w1")
    assert taught.labels.has_keypoints[taught.masked].all(), "those with masks teach key points as well"


@pytest.mark.parametrize("fold", range(NUM_FOLDS))
def test_pictures_alone_are_of_training_patients_without_masks(store, split, fold):
    """All their slices, also of who has no key point; nothing is known of them, and nobody is tested."""
    taught = supervision("unlabelled").teach(store, split, fold)
    np.testing.assert_array_equal(taught.masked, supervision("full").teach(store, split, fold).masked)
    assert patients(store, taught.weak) == {*WEAK} & part(store, split, "train", fold)
    assert len(taught.weak) == 3 * len(taught.weak_patients)
    assert not taught.labels.has_keypoints.any()
    assert not taught.labels.has_mask[taught.weak].any()
    assert not {*taught.weak} & {*split.indices(fold, "test", store.table)}
    fewer = supervision("unlabelled", masked_patients=3).teach(store, split, fold)
    assert patients(store, fewer.weak) == {*MASKED, *WEAK} - part(store, split, "test", fold) - {*fewer.masked_patients}


def test_pictures_alone_have_to_be_there(tmp_path):
    write_spines(tmp_path / "spines", masked=MASKED, weak=[], clicked=["m1"])
    store = build_store(spine_cohort(tmp_path / "spines"), grid=GRID, cache=tmp_path / "cache", num_workers=0)
    arm = supervision("unlabelled")
    with pytest.raises(ValueError, match=r"no picture without a mask is left to train on in fold 1.*supervision=full"):
        arm.check(arm.teach(store, PatientFolds(num_folds=NUM_FOLDS)(store.table), 1), 1)
    for changes in ({"keypoints": True}, {"masks": False}):
        with pytest.raises(Exception, match=r"of which nothing is known|nothing would be trained on"):
            supervision("unlabelled", **changes)


def test_key_point_supervision_shows_nobodys_mask(store, split):
    taught = supervision("keypoint").teach(store, split, 0)
    assert not len(taught.masked)
    assert not taught.labels.has_mask.any()
    assert taught.masked_patients == ()
    assert patients(store, taught.weak) == part(store, split, "train") - {"w2"}
    np.testing.assert_array_equal(taught.validation, split.indices(0, "validation", store.table))


@pytest.mark.parametrize("draw", [0, 1, 2])
def test_budgets_of_a_draw_are_nested_and_hold_those_who_validate(store, split, draw):
    smaller: set[str] = set()
    for budget in range(1, 10):
        taught = supervision("mixed", masked_patients=budget, draw=draw).teach(store, split, 0)
        kept, validating = {*taught.masked_patients}, {*taught.validation_patients}
        assert len(kept) == budget
        assert smaller < kept <= {*MASKED} - part(store, split, "test")
        assert patients(store, taught.masked) == kept - validating
        assert patients(store, taught.validation) == validating
        assert len(validating) == (0 if budget < 3 else 1)
        assert {*taught.weak_patients} == {*MASKED, *WEAK} - part(store, split, "test") - kept - {"w2"}
        full = supervision("full", masked_patients=budget, draw=draw).teach(store, split, 0)
        np.testing.assert_array_equal(full.masked, taught.masked)
        np.testing.assert_array_equal(full.validation, taught.validation)
        smaller = kept


def test_another_draw_keeps_others_and_all_masks_are_no_budget(store, split):
    kept = {supervision("full", masked_patients=4, draw=draw).teach(store, split, 0).masked_patients for draw in (0, 1)}
    assert len(kept) == 2
    everyone, unlimited = (supervision("full", masked_patients=k).teach(store, split, 1) for k in (9, None))
    np.testing.assert_array_equal(everyone.masked, unlimited.masked)
    np.testing.assert_array_equal(everyone.validation, unlimited.validation)


def test_nobody_of_a_budget_validates_where_the_split_has_no_validation(store):
    split = PatientFolds(num_folds=NUM_FOLDS, validation_fraction=0.0)(store.table)
    taught = supervision("mixed", masked_patients=6).teach(store, split, 0)
    assert not len(taught.validation)
    assert patients(store, taught.masked) == {*taught.masked_patients}


def test_who_lost_the_masks_is_left_with_what_was_clicked(store, split):
    """m0 has no row in keypoints.csv: its centroids stand in for an annotator."""
    taught = supervision("keypoint").teach(store, split, 0)
    num_slices = store.table.iloc[taught.weak].groupby("patient").size()
    expected = {name: 3 if name == "m0" else 1 for name in patients(store, taught.weak)}
    assert num_slices.to_dict() == expected
    unclicked = ~store.clicked & (store.table["patient"] != "m0").to_numpy()[:, None]
    assert np.isnan(taught.labels.keypoints[unclicked]).all()
    kept = supervision("mixed").teach(store, split, 0)
    assert np.isfinite(kept.labels.keypoints[kept.masked]).all()


def test_a_batch_shows_no_mask_that_was_lost(store, split):
    taught = supervision("mixed", masked_patients=3).teach(store, split, 0)
    lost = [row for row in taught.weak if store.table["has_mask"].iloc[row]]
    rows = [(int(row), 0) for row in (taught.masked[0], lost[0])]
    kept, blank = range(2)
    batch = SliceBatches(store, taught.labels)[rows]
    assert batch.has_mask.tolist() == [True, False]
    assert batch.has_keypoints.tolist() == [True, True]
    assert batch.mask[kept].any()
    assert not batch.mask[blank].any()
    assert batch.boxes[blank].isnan().all()
    assert batch.keypoints[blank].isfinite().all()
    as_stored = SliceBatches(store)[rows]
    assert as_stored.has_mask.all()
    assert as_stored.mask[blank].any()


# ------------------------------------------------------------------------------------------------------- batches


def order(arm: Supervision, taught: Teaching, *, epoch=0, batch_size=4, samples=None, share=ALONE):
    batches = arm.batches(taught, batch_size=batch_size, samples_per_epoch=samples, seed=3, share=share)
    batches.set_epoch(epoch)
    found = list(batches)
    assert len(found) == len(batches)
    return found


@pytest.fixture(scope="module")
def mixed(store, split) -> tuple[Supervision, Teaching]:
    arm = supervision("mixed")
    return arm, arm.teach(store, split, 0)


def test_every_batch_has_its_share_of_both_and_an_epoch_is_a_pass_over_the_masks(mixed):
    arm, taught = mixed
    seen = []
    for epoch in range(8):
        batches = order(arm, taught, epoch=epoch)
        assert len(batches) == -(-len(taught.masked) // 2)
        for batch in batches:
            assert [row in taught.masked for row, _ in batch] == [True, True, False, False]
            assert [row in taught.weak for row, _ in batch] == [False, False, True, True]
            seen += [row for row, _ in batch]
    counts = np.bincount(seen)
    for rows in (taught.masked, taught.weak):
        assert np.ptp(counts[rows]) <= 1, "every slice of a kind equally often, whatever the length of an epoch"


def test_the_order_follows_from_seed_and_epoch_alone(mixed):
    arm, taught = mixed
    assert order(arm, taught, epoch=5) == order(arm, taught, epoch=5)
    first, second = (order(arm, taught, epoch=epoch) for epoch in (0, 1))
    assert first != second
    seeds = [seed for batch in (*first, *second) for _, seed in batch]
    assert len(set(seeds)) == len(seeds), "no two samples are augmented alike"


@pytest.mark.parametrize("samples", [4, 30, 31, 33])
def test_all_arms_take_the_same_steps_at_a_given_number_of_samples(store, split, samples):
    steps = set()
    for path in CONFIGS:
        for budget in (None,) if path.stem == "keypoint" else (3, 6, None):
            arm = supervision(path.stem, masked_patients=budget)
            steps.add(len(order(arm, arm.teach(store, split, 0), samples=samples)))
    assert steps == {-(-samples // 4)}


def test_processes_share_every_batch(mixed):
    arm, taught = mixed
    whole = order(arm, taught, batch_size=8)
    shares = [order(arm, taught, batch_size=8, share=Share(rank, 2)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(batch) == sorted(parts[0] + parts[1])
        assert [sum(row in taught.masked for row, _ in part) for part in parts] == [2, 2]


@pytest.mark.parametrize(
    ("ratio", "batch_size", "masked"), [((2, 2), 2, 1), ((2, 2), 8, 4), ((3, 1), 4, 3), ((1, 2), 6, 2)]
)
def test_the_ratio_holds_in_batches_of_any_multiple(mixed, ratio, batch_size, masked):
    _, taught = mixed
    arm = supervision("mixed", batch=dict(zip(("masked", "weak"), ratio, strict=True)))
    for batch in order(arm, taught, batch_size=batch_size):
        assert (len(batch), sum(row in taught.masked for row, _ in batch)) == (batch_size, masked)
    with pytest.raises(ValueError, match=r"does not divide a batch of 5; set data\.batch_size to a multiple of"):
        order(arm, taught, batch_size=5)


def test_the_kinds_of_batches(store, split, mixed):
    arm, taught = mixed
    settings = {"batch_size": 4, "samples_per_epoch": None, "seed": 0, "share": ALONE}
    assert isinstance(arm.batches(taught, **settings), MixedBatches)
    for name in ("full", "keypoint"):
        arm = supervision(name)
        assert isinstance(arm.batches(arm.teach(store, split, 0), **settings), TrainingBatches)


# ----------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("keypoint", {"masked_patients": 3}, "masked_patients is 3, but nobody's masks are trained on .*choose"),
        ("mixed", {"masked_patients": 0}, "masked_patients is 0, expected at least 1, or null"),
        ("mixed", {"draw": -1}, "draw is -1, expected a whole number from 0"),
        ("mixed", {"batch": {"masked": 2, "weak": 0}}, "batch is .*expected masked and weak, .*at least 1"),
        ("full", {"masks": False}, "masks and keypoints are both false"),
    ],
)
def test_options_that_contradict_each_other_are_refused(name, changes, words):
    with pytest.raises(Exception, match=words) as caught:
        supervision(name, **changes)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_budget_that_a_fold_cannot_fill_is_refused(store, split):
    arm = supervision("mixed", masked_patients=10)
    with pytest.raises(ValueError, match=r"is 10, but the training part of fold 2 has only 9 patient.*m\d.*at most 9"):
        arm.check(arm.teach(store, split, 2), 2)


def test_a_budget_needs_folds_by_patient(store):
    with pytest.raises(ValueError, match="masked_patients needs folds by patient, as split=patient_folds"):
        supervision("full", masked_patients=3).teach(store, ImageFolds()(store.table), 0)


def test_a_fold_without_a_kind_of_supervision_is_refused(store, tmp_path):
    rows = [(0, "test" if name in MASKED else "train", name) for name in (*MASKED, *WEAK)]
    split = Split.from_table(pd.DataFrame(rows, columns=["fold", "part", "patient"]))
    arm = supervision("mixed")
    with pytest.raises(ValueError, match=r"no case with a mask is left to train on in fold 0.*add labels"):
        arm.check(arm.teach(store, split, 0), 0)
    root = write_spines(tmp_path / "spines", masked=["m0", "m1", "m2"])
    store = build_store(spine_cohort(root), grid=GRID, cache=tmp_path / "cache", num_workers=0)
    split = PatientFolds(num_folds=3)(store.table)
    with pytest.raises(
        ValueError, match=r"no case with key points alone .*fold 1: every training case has a mask.*DIR"
    ):
        arm.check(arm.teach(store, split, 1), 1)
