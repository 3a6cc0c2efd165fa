"""Splits: nobody is in two parts, every patient with masks is tested once, and bad requests are refused by name."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from datamodules.folds import AllTest, HoldOut, ImageFolds, PatientFolds
from datamodules.splits.split import PARTS, Split

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "conf" / "split").glob("*.yaml"))
QUICK = settings(deadline=None, max_examples=30)


def store_table(rows):
    """Store rows from (patient, number of slices with mask, without mask, level, site)."""
    records = [
        {"case": f"{patient}_t2", "patient": patient, "slice": number, "level": level, "site": site, "has_mask": masked}
        for patient, num_masked, num_weak, level, site in rows
        for number, masked in enumerate([True] * num_masked + [False] * num_weak)
    ]
    return pd.DataFrame(records, columns=["case", "patient", "slice", "level", "site", "has_mask"])


def simple_table(num_patients, num_weak=0):
    names = [f"p{index:02}" for index in range(num_patients + num_weak)]
    return store_table([(n, 2 if i < num_patients else 0, 1, "L4/5", "") for i, n in enumerate(names)])


tables = st.lists(
    st.tuples(
        *(st.from_regex(r"[a-d]{1,3}", fullmatch=True), st.integers(0, 3), st.integers(0, 2)),
        *(st.sampled_from(["L3/4", "L4/5"]), st.sampled_from(["north", "south"])),
    ),
    min_size=2,
    max_size=20,
    unique_by=lambda row: row[0],
).map(store_table)


def patients_with_masks(table):
    return sorted(set(table.loc[table["has_mask"], "patient"]))


def members(split, table, fold, part):
    return set(table.iloc[split.indices(fold, part, table)]["patient"])


# -------------------------------------------------------------------------------------------------------- by patient


@QUICK
@given(table=tables, num_folds=st.integers(2, 6), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_parts_are_disjoint_and_test_folds_partition_the_patients(table, num_folds, fraction, seed):
    masked = patients_with_masks(table)
    assume(len(masked) >= num_folds)
    split = PatientFolds(num_folds=num_folds, validation_fraction=fraction, seed=seed)(table)
    tested = []
    for fold in range(num_folds):
        train, validation, test = (members(split, table, fold, part) for part in PARTS)
        assert len(train) + len(validation) + len(test) == len(train | validation | test)
        assert train | validation | test == set(table["patient"])
        assert test
        assert train & set(masked)
        assert validation | test <= set(masked)
        num_training = len(masked) - len(test)
        assert len(validation) == (
            0 if num_training < 3 else min(max(1, round(fraction * num_training)), num_training - 1)
        )
        assert split.straddling(fold) == []
        for part in ("validation", "test"):
            assert table.iloc[split.indices(fold, part, table)]["has_mask"].all()
        tested += test
    assert sorted(tested) == masked
    assert Counter(map(tuple, split.table[["fold", "patient"]].to_numpy())).most_common(1)[0][1] == 1


@QUICK
@given(table=tables, num_folds=st.integers(2, 6), seed=st.integers(0, 99))
def test_folds_have_their_share_of_every_stratum(table, num_folds, seed):
    masked = table[table["has_mask"]].drop_duplicates("patient")
    assume(len(masked) >= num_folds)
    split = PatientFolds(num_folds=num_folds, seed=seed)(table)
    fold_of = {unit[0]: fold for unit, fold in split.test_fold.items()}
    for group in [masked, *(group for _, group in masked.groupby(["level", "site"]))]:
        counts = Counter(fold_of[patient] for patient in group["patient"])
        sizes = [counts[fold] for fold in range(num_folds)]
        assert max(sizes) - min(sizes) <= 1


@QUICK
@given(table=tables, seed=st.integers(0, 99), shuffle=st.integers(0, 99))
def test_the_split_depends_on_patients_and_seed_and_not_on_the_order_of_rows(table, seed, shuffle):
    assume(len(patients_with_masks(table)) >= 2)
    for folds in (PatientFolds(num_folds=2, seed=seed), ImageFolds(num_folds=2, seed=seed)):
        shuffled = table.sample(frac=1, random_state=shuffle)
        split, again = folds(table), folds(shuffled)
        assert split == again
        assert split.fingerprint == again.fingerprint


def test_another_seed_gives_another_split():
    table = simple_table(12)
    splits = {seed: PatientFolds(num_folds=3, seed=seed)(table) for seed in range(3)}
    assert len({split.fingerprint for split in splits.values()}) == 3


def test_a_patient_at_several_levels_is_a_stratum_of_its_own():
    rows = [(f"p{index}", 1, 0, "L4/5", "") for index in range(8)]
    both = pd.concat([store_table(rows), store_table([(name, 1, 0, "L5/S1", "") for name, *_ in rows[:4]])])
    split = PatientFolds(num_folds=4)(both)
    assert sorted(split.test_fold[(f"p{index}",)] for index in range(4)) == [0, 1, 2, 3]


def test_validation_takes_its_share_of_each_stratum():
    rows = [(f"p{index:02}", 1, 0, "", "north" if index < 20 else "south") for index in range(40)]
    split = PatientFolds(num_folds=2, validation_fraction=0.2, seed=3)(store_table(rows))
    for validation in split.validation:
        sites = Counter("north" if unit[0] < "p20" else "south" for unit in validation)
        assert sites == {"north": 2, "south": 2}


def test_two_volunteers_train_on_one_and_test_on_the_other(caplog):
    table = store_table([("tum01", 3, 1, "", ""), ("tum02", 2, 0, "", "")])
    with caplog.at_level(logging.INFO):
        split = PatientFolds(num_folds=2)(table)
    parts = [[members(split, table, fold, part) for part in PARTS] for fold in (0, 1)]
    assert sorted(len(test) for _, _, test in parts) == [1, 1]
    assert parts[0] == parts[1][::-1]  # train and test change places, nobody validates
    assert parts[0][1] == set()
    assert "fold 0: 1 patient(s) with masks to train on, too few to validate" in caplog.text


def test_a_patient_without_masks_trains_in_every_fold_and_a_slice_without_mask_is_not_scored():
    table = simple_table(4, num_weak=2)
    split = PatientFolds(num_folds=2)(table)
    for fold in (0, 1):
        assert {"p04", "p05"} <= members(split, table, fold, "train")
        assert len(split.indices(fold, "test", table)) == 2 * 2
        assert (
            len(split.indices(fold, "train", table))
            == 3 * len(members(split, table, fold, "train") - {"p04", "p05"}) + 2
        )


def test_indices_are_positions_whatever_the_index_of_the_table_says():
    table = simple_table(6)
    split = PatientFolds(num_folds=3)(table)
    relabelled = table.set_axis(range(100, 100 + len(table)))
    rows = [split.indices(0, part, relabelled) for part in PARTS]
    assert [list(r) for r in rows] == [list(split.indices(0, part, table)) for part in PARTS]
    assert all((np.diff(r) > 0).all() for r in rows)


# ---------------------------------------------------------------------------------------------------------- by image


def test_the_published_split_deals_images_and_says_how_many_patients_straddle(caplog):
    table = store_table([(f"p{index}", 4, 1, "L4/5", "") for index in range(10)])
    with caplog.at_level(logging.INFO):
        split = ImageFolds(num_folds=5)(table)
    tested = np.concatenate([split.indices(fold, "test", table) for fold in range(5)])
    assert sorted(tested) == list(np.flatnonzero(table["has_mask"]))
    for fold in range(5):
        rows = [set(split.indices(fold, part, table)) for part in PARTS]
        assert len(set.union(*rows)) == sum(map(len, rows)) == len(table)
        assert len(rows[1]) == round(0.1 * 32)
        num_tested = len(members(split, table, fold, "test"))
        assert len(split.straddling(fold)) == num_tested > 0
        assert f"fold {fold}: {num_tested} of its {num_tested} test patients are in training" in caplog.text


def test_a_patient_with_a_single_image_does_not_straddle():
    table = store_table([("a", 1, 0, "", ""), ("b", 1, 0, "", ""), ("c", 2, 0, "", ""), ("d", 1, 0, "", "")])
    split = ImageFolds(num_folds=5)(table)
    assert set().union(*(split.straddling(fold) for fold in range(5))) == {"c"}


# ---------------------------------------------------------------------------------------------------------- hold-out


def test_the_paper_s_hold_out_has_its_67_and_16_patients(caplog):
    split = instantiate(OmegaConf.load(CONFIGS[0].with_name("msff.yaml")))
    table = simple_table(83, num_weak=1)
    with caplog.at_level(logging.INFO):
        found = split(table)
    train, validation, test = (members(found, table, 0, part) for part in PARTS)
    assert (len(train | validation), len(validation), len(test)) == (67 + 1, 7, 16)
    assert not test & (train | validation)
    assert "16 of 83 patients with masks are tested" in caplog.text
    with pytest.raises(ValueError, match=r"fold=1 is out of range: the split has 1 fold"):
        found.indices(1, "test", table)


def test_a_hold_out_tests_its_share_of_every_stratum():
    rows = [(f"p{index:02}", 1, 0, "", "north" if index < 20 else "south") for index in range(40)]
    split = HoldOut(test_fraction=0.2, seed=3)(store_table(rows))
    tested = [unit[0] for unit, fold in split.test_fold.items() if fold == 0]
    assert Counter("north" if name < "p20" else "south" for name in tested) == {"north": 4, "south": 4}
    assert len({HoldOut(test_fraction=0.2, seed=seed)(store_table(rows)).fingerprint for seed in range(3)}) == 3


@pytest.mark.parametrize(("fraction", "num_patients", "num_tested"), [(0.01, 4, 1), (0.99, 4, 3), (0.5, 2, 1)])
def test_a_hold_out_tests_somebody_and_trains_on_somebody(fraction, num_patients, num_tested):
    table = simple_table(num_patients)
    split = HoldOut(test_fraction=fraction)(table)
    assert len(members(split, table, 0, "test")) == num_tested
    assert len(members(split, table, 0, "train")) >= 1


def test_a_hold_out_that_cannot_be_is_refused():
    for fraction in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"split.test_fraction is {fraction}, expected a share above 0"):
            HoldOut(test_fraction=fraction)
    with pytest.raises(ValueError, match=r"split\.validation_fraction is 1\.0"):
        HoldOut(test_fraction=0.2, validation_fraction=1.0)
    with pytest.raises(ValueError, match=r"1 patient\(s\) have masks: p00; label more, or use split=all"):
        HoldOut(test_fraction=0.2)(simple_table(1, num_weak=3))


# ---------------------------------------------------------------------------------------------------- other requests


def test_all_tests_every_slice_with_a_mask_in_fold_0():
    table = simple_table(3, num_weak=1)
    split = AllTest()(table)
    assert split.num_folds == 1
    assert list(split.indices(0, "test", table)) == list(np.flatnonzero(table["has_mask"]))
    assert len(split.indices(0, "validation", table)) == 0
    with pytest.raises(ValueError, match="no case of the cohort has one"):
        AllTest()(simple_table(0, num_weak=2))


@pytest.mark.parametrize("fold", [-1, 3, 17])
def test_a_fold_out_of_range_is_refused(fold):
    table = simple_table(6)
    with pytest.raises(ValueError, match=f"fold={fold} is out of range: the split has 3 fold"):
        PatientFolds(num_folds=3)(table).indices(fold, "train", table)


def test_fewer_patients_than_folds_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"num_folds is 5, but only 2 .*: p00, p01; set split.num_folds to at most 2"):
        PatientFolds()(simple_table(2, num_weak=9))
    with pytest.raises(ValueError, match=r"only 1 .*: p00; label more, or use split=all"):
        PatientFolds()(simple_table(1))
    with pytest.raises(ValueError, match=r"only 4 slice\(s\) have masks"):
        ImageFolds()(simple_table(2))


@pytest.mark.parametrize("folds", [PatientFolds, ImageFolds])
def test_settings_out_of_range_are_refused(folds):
    with pytest.raises(ValueError, match=r"split\.num_folds is 1, expected at least 2"):
        folds(num_folds=1)
    for fraction in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"split.validation_fraction is {fraction}, expected a share"):
            folds(validation_fraction=fraction)


def test_nobody_validates_where_the_last_checkpoint_counts(caplog):
    table = simple_table(10, num_weak=2)
    split = PatientFolds(validation_fraction=0.0)(table)
    assert split.validation == (frozenset(),) * 5
    assert "too few to validate" not in caplog.text
    assert split.test_fold == PatientFolds()(table).test_fold, "the test folds do not depend on who validates"


def test_a_split_of_other_data_is_refused_naming_the_patient():
    split = PatientFolds(num_folds=2)(simple_table(2))
    with pytest.raises(ValueError, match=r"does not say where p02, p03 of this cohort belong"):
        split.indices(0, "train", simple_table(4))


def test_a_validation_patient_that_is_tested_cannot_be_written_down():
    with pytest.raises(AssertionError, match="fold 0 validates on what it tests"):
        Split(columns=("patient",), test_fold={("a",): 0}, validation=(frozenset({("a",)}),))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_builds_a_split(path, tmp_path):
    config = OmegaConf.load(path)
    table = simple_table(10)
    if OmegaConf.missing_keys(config):  # path: ???
        PatientFolds()(table).write(tmp_path / "split.csv")
        config.path = str(tmp_path / "split.csv")
    split = instantiate(config)(table)
    tested = np.concatenate([split.indices(fold, "test", table) for fold in range(split.num_folds)])
    if not isinstance(instantiate(config), HoldOut):
        assert sorted(tested) == list(np.flatnonzero(table["has_mask"]))
    assert len(tested) == len(set(tested)) > 0
    for fold in range(split.num_folds):
        parts = np.concatenate([split.indices(fold, part, table) for part in PARTS])
        assert sorted(row for row in parts if table["has_mask"].iloc[row]) == list(np.flatnonzero(table["has_mask"]))


def test_there_are_configs():
    assert {path.stem for path in CONFIGS} >= {"all", "as_published", "from_file", "msff", "patient_folds"}
