"""Left and right swapped in label files are found before the first batch, over all cases."""

import numpy as np
import pytest

from datamodules.reading import sides
from datamodules.reading.geometry import SliceGrid
from datamodules.reading.sides import check_sides
from datamodules.store.slice_store import build_store
from lightning_modules.tasks import training
from records.identity import cell_name
from tests.conftest import TINY_PHANTOM
from tests.made.scans import small_anatomy, small_cohort, two_muscles, write_cohort, write_volume

SWAPPED = {1: "muscle_right", 2: "muscle_left", 7: None}
GRID = SliceGrid(size=(12, 16), spacing_mm=0.6)


def judge(root, **changes):
    cohort = small_cohort(root, **changes)
    check_sides(build_store(cohort, grid=GRID, cache=root / "cache", num_workers=1), cohort)


def test_sides_that_are_named_rightly_pass(tmp_path):
    judge(write_cohort(tmp_path))


def test_label_ids_given_to_the_wrong_side_are_refused_with_the_count_of_slices(tmp_path, caplog):
    root = write_cohort(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"cohort small: left and right are swapped in the label files: muscle_left and muscle_right on 6 of 6 "
        r"slices of 2 of 2 cases \(anna, bert\)\..*cohort\.sides=as_named",
    ):
        judge(root, labels=SWAPPED)
    judge(root, labels=SWAPPED, sides="as_named")
    assert "on 6 of 6 slices" in caplog.text
    assert "taken as named" in caplog.text


def test_one_swapped_file_among_many_is_named_and_one_odd_slice_is_none(tmp_path):
    root = write_cohort(tmp_path, ["anna", "bert", "carl"])
    mask = two_muscles()
    mask[0] = mask[0, :, ::-1]
    write_volume(root / "labels/bert.nii.gz", mask)
    judge(root)
    write_volume(root / "labels/carl.nii.gz", two_muscles()[:, :, ::-1])
    with pytest.raises(ValueError, match=r"on 3 of 3 slices of 1 of 3 cases \(carl\)"):
        judge(root)


def test_what_has_no_sides_or_no_mask_is_not_judged(tmp_path):
    root = write_cohort(tmp_path)
    judge(root, labels=SWAPPED, anatomy=small_anatomy(mirror=[]))
    write_volume(root / "labels/anna.nii.gz", np.where(two_muscles() == 1, 1, 0))
    (root / "cohort.csv").write_text("case,patient,image,label\nanna,anna,images/anna.nii.gz,labels/anna.nii.gz\n")
    judge(root, labels=SWAPPED)


def test_another_word_than_checked_or_as_named_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sides is 'mirrored', expected 'checked' or 'as_named'"):
        small_cohort(write_cohort(tmp_path), sides="mirrored")


def test_training_refuses_before_the_first_batch_and_the_option_changes_no_name(composed, monkeypatch):
    line = (*TINY_PHANTOM, "experiment=unet", "trainer=smoke", "logger=csv")
    checked, named = composed(*line), composed(*line, "cohort.sides=as_named")
    assert cell_name(_root_=checked) == cell_name(_root_=named)
    training.build_data(checked)
    original = sides._mean_columns
    monkeypatch.setattr(sides, "_mean_columns", lambda mask, number: -original(mask, number))  # seen in a mirror
    with pytest.raises(Exception, match="left and right are swapped in the label files"):
        training.build_data(checked)
    training.build_data(named)
