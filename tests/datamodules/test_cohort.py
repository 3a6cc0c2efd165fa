"""Cohorts as users write them: what is read, and what bad input gets."""

import logging
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from datamodules.reading.geometry import SliceGrid
from datamodules.store.slice_store import build_store
from tests.made.scans import (
    SHAPE,
    random_image,
    read_all,
    replace_line,
    small_anatomy,
    small_cohort,
    two_muscles,
    write_cohort,
    write_volume,
)

DATA = Path(__file__).parents[3] / "shared" / "data"


def test_a_cohort_is_read_in_canonical_orientation(tmp_path):
    """Files run towards left, posterior and superior: only the slices, superior first, are turned."""
    cohort = small_cohort(write_cohort(tmp_path))
    (record,) = cohort.read(cohort.cases[1])
    assert (cohort.cases[1].case, cohort.cases[1].patient, cohort.num_channels) == ("bert", "bert", 1)
    np.testing.assert_array_equal(record.image[0], random_image(1)[::-1])
    np.testing.assert_array_equal(record.mask, two_muscles()[::-1])
    np.testing.assert_array_equal(record.slice_index, [3, 2, 1, 0])
    assert record.has_mask
    assert record.spacing_mm == (0.75, 0.5)
    np.testing.assert_array_equal(record.labelled, [True, True, True])


def test_options_of_hydra_and_label_maps(tmp_path):
    """Keys arrive as text, lists as ListConfig; several ids become one structure, null becomes background."""
    root = write_cohort(tmp_path)
    mask = two_muscles()
    mask[0, 0, :4] = [7, 9, 0, 9]
    write_volume(root / "labels/anna.nii.gz", mask)
    options = OmegaConf.create(
        {
            "labels": {"1": "muscle_left", "2": "muscle_right", "7": None, "9": "muscle_left"},
            "labelled": ["muscle_left"],
        }
    )
    cohort = small_cohort(root, slices="2", **options)
    (record,) = cohort.read(cohort.cases[0])
    assert record.mask.shape == (2, *SHAPE[1:]), "the two central slices of four"
    np.testing.assert_array_equal(record.slice_index, [2, 1])
    np.testing.assert_array_equal(record.labelled, [True, True, False])
    assert set(np.unique(record.mask)) == {0, 1}, "muscle_right counts as not drawn, so nothing says that it is there"
    (record,) = small_cohort(root, **{**options, "labelled": None}).read(cohort.cases[0])
    np.testing.assert_array_equal(record.mask[-1, 0, :4], [0, 1, 0, 1])


def test_a_case_states_what_was_drawn_in_it(tmp_path):
    root = write_cohort(tmp_path)
    replace_line(root, "image,label", "image,label,labelled,level,scanner")
    replace_line(root, "anna.nii.gz\n", "anna.nii.gz,muscle_right,L4/5,X\n")
    replace_line(root, "bert.nii.gz\n", "bert.nii.gz,,,\n")
    cohort = small_cohort(root, slices="labelled")
    (first,), (second,) = (cohort.read(case) for case in cohort.cases)
    np.testing.assert_array_equal(first.labelled, [True, False, True])
    np.testing.assert_array_equal(second.labelled, [True, True, True])
    assert first.level == "L4/5"
    assert cohort.cases[0].row == {"scanner": "X"}
    np.testing.assert_array_equal(first.slice_index, [2, 1, 0])


def test_without_a_table_files_are_paired_by_name(tmp_path, caplog):
    root = write_cohort(tmp_path)
    (root / "cohort.csv").unlink()
    write_volume(root / "images/carl.mha", random_image(2))
    with caplog.at_level(logging.WARNING):
        cohort = small_cohort(root)
    assert [(case.case, case.patient, len(case.labels)) for case in cohort.cases] == [
        ("anna", "anna", 1),
        ("bert", "bert", 1),
        ("carl", "carl", 0),
    ]
    assert "3 images and 2 labels are paired by name" in caplog.text
    assert "patient" in caplog.text
    (record,) = cohort.read(cohort.cases[2])
    assert not record.has_mask
    write_volume(root / "labels/dora.nii.gz", two_muscles())
    with pytest.raises(ValueError, match=r"dora\.nii\.gz: no image of that name .*rename it"):
        small_cohort(root)


def test_channels_from_one_cell_and_from_several_rows(tmp_path):
    root = write_cohort(tmp_path)
    write_volume(root / "images/fat.nii.gz", random_image(5))
    (root / "cohort.csv").write_text("case,patient,image\nanna,anna,images/anna.nii.gz; images/fat.nii.gz\n")
    ((record,),) = read_all(root)
    np.testing.assert_array_equal(record.image, np.stack([random_image(0)[::-1], random_image(5)[::-1]]))
    rows = ["case,patient,contrast,image,label", "a_w,anna,water,images/anna.nii.gz,labels/anna.nii.gz"]
    rows += ["b_w,bert,water,images/bert.nii.gz,", "a_f,anna,fat,images/fat.nii.gz,labels/anna.nii.gz"]
    (root / "cohort.csv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match=r"patient 'bert'.* water, fat .*b_w \(water\).*correct rows"):
        small_cohort(root, channels=["water", "fat"])
    (root / "cohort.csv").write_text("\n".join([rows[0], rows[1], rows[3]]))
    cohort = small_cohort(root, channels=OmegaConf.create(["fat", "water"]))
    assert [case.case for case in cohort.cases] == ["a_f+a_w"]
    (record,) = cohort.read(cohort.cases[0])
    np.testing.assert_array_equal(record.image[0], random_image(5)[::-1])
    assert [case.case for case in small_cohort(root, contrasts=["fat"]).cases] == ["a_f"]
    with pytest.raises(ValueError, match="contrast T9; there are fat, water"):
        small_cohort(root, contrasts=["T9"])
    write_volume(root / "images/fat.nii.gz", random_image(5), origin=(9, 9, 9))
    with pytest.raises(ValueError, match=r"anna\.nii\.gz: channels must share a grid.*fat\.nii\.gz.*origin.*resample"):
        cohort.read(cohort.cases[0])


def test_same_patient_merges_patients(tmp_path):
    root = write_cohort(tmp_path, ["anna", "bert", "carl"])
    cohort = small_cohort(root, same_patient=OmegaConf.create([["bert", "anna"]]))
    assert [case.patient for case in cohort.cases] == ["bert", "bert", "carl"]
    with pytest.raises(ValueError, match="same_patient names 'anna' in two groups; join the groups"):
        small_cohort(root, same_patient=[["anna", "bert"], ["carl", "anna"]])


def test_same_patient_of_another_copy_of_the_data(tmp_path, caplog):
    """A folder may hold some of the patients, or none of them; of a group that is there in part, the log tells."""
    root = write_cohort(tmp_path, ["anna", "bert", "carl"])
    with caplog.at_level(logging.WARNING):
        cohort = small_cohort(root, same_patient=[["dora", "emil"], ["anna", "bert"]])
    assert [case.patient for case in cohort.cases] == ["anna", "anna", "carl"]
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        cohort = small_cohort(root, same_patient=[["emil", "bert", "carl"]])
    assert [case.patient for case in cohort.cases] == ["anna", "bert", "bert"], "the first name that is there"
    assert "same_patient names emil, bert, carl, of whom only bert, carl" in caplog.text


def test_key_points_follow_the_file_axes(tmp_path):
    """The file's columns run towards the right and its slices downwards: columns turn, slices do not."""
    root = write_cohort(tmp_path, ["anna"])
    turned = np.diag([-1.0, 1.0, -1.0])
    for folder, array in (("images", random_image(0)), ("labels", two_muscles())):
        write_volume(root / f"{folder}/anna.nii.gz", array, direction=turned)
    (root / "keypoints.csv").write_text("case,supervision,structure,slice,col,row\nanna,mask,disc,1,4,2.25\n")
    ((record,),) = read_all(root)
    np.testing.assert_allclose(record.keypoints[1, 0], [SHAPE[2] - 1 - 4, 2.25])
    assert np.isnan(record.keypoints[[0, 2, 3]]).all()
    ((record,),) = read_all(root, slices="labelled", labels={1: None, 2: "muscle_right"})
    assert 1 in record.slice_index


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("anna,disk,1,4,2", r"case 'anna', disk: the anatomy has no such key point; it has disc; correct"),
        ("zoe,disc,1,4,2", r"keypoints\.csv, case 'zoe', disc: cohort\.csv has no such case; correct"),
        ("anna,disc,1,four,2", r"case 'anna', disc: slice, col or row is no number: 1, four, 2"),
        ("anna,disc,1,4,2\nanna,disc,1,4,2", r"case 'anna', disc: is listed twice on slice 1; remove one"),
        ("anna,disc,9,4,2", r"case 'anna'.*disc at slice 9.* outside of .*anna\.nii\.gz.*4 slices.*correct"),
        ("anna,disc,1,40,2", r"case 'anna'.*disc at slice 1, col 40.* outside of .*anna\.nii\.gz"),
    ],
)
def test_bad_key_points(tmp_path, row, words):
    root = write_cohort(tmp_path)
    (root / "keypoints.csv").write_text(f"case,structure,slice,col,row\n{row}\n")
    with pytest.raises(ValueError, match=words):
        read_all(root)


def test_empty_slices_and_small_shifts_are_normal(tmp_path):
    root = write_cohort(tmp_path)
    write_volume(root / "labels/bert.nii.gz", two_muscles(), origin=(3.04, -5.0, 7.0))
    (_, (record,)) = read_all(root)
    assert not record.mask[0].any()
    assert record.mask[1].any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"root": "nowhere"},
            r"cohort small: .*nowhere: there is no such folder; looked for cohort\.csv.*cohort\.root=DIR",
        ),
        (
            {"labels": {1: "liver"}},
            "labels: anatomy two_muscles has no structure liver; it has muscle_left, muscle_right",
        ),
        ({"labels": {"one": "muscle_left"}}, "no label id .whole number.: one"),
        ({"labelled": ["liver"]}, "labelled: anatomy two_muscles has no structure liver"),
        ({"slices": "some"}, "slices is 'some', expected 'all', 'labelled', 'middle' or the number"),
        ({"slices": 0}, "slices is 0"),
        ({"anatomy": small_anatomy(view="sagittal", mirror=[])}, "take the sagittal series"),
    ],
)
def test_bad_options(tmp_path, options, words):
    root = write_cohort(tmp_path)
    with pytest.raises(ValueError, match=words):
        read_all(options.pop("root", root), **options)


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"neither cohort\.csv nor an images/ folder.*write a cohort\.csv"):
        small_cohort(tmp_path)


def test_the_view_of_a_row_must_be_that_of_the_anatomy(tmp_path):
    root = write_cohort(tmp_path)
    replace_line(root, "image,label", "image,label,view")
    replace_line(root, "anna.nii.gz\n", "anna.nii.gz,axial\n")
    replace_line(root, "bert.nii.gz\n", "bert.nii.gz,sagittal\n")
    with pytest.raises(ValueError, match="case 'bert': view is 'sagittal', the anatomy needs 'axial'; remove the row"):
        small_cohort(root)


def test_the_same_image_of_two_patients_is_a_leak(tmp_path):
    root = write_cohort(tmp_path / "data", ["anna", "bert", "carl"])
    write_volume(
        root / "images/carl.mha", random_image(0)[:, :, ::-1], origin=(10.5, -5, 7), direction=np.diag([-1, 1, 1])
    )
    replace_line(root, "images/carl.nii.gz", "images/carl.mha")
    grid = SliceGrid(size=(8, 8), spacing_mm=1.0)
    words = r"case 'carl' of patient 'carl' and case 'anna' of patient 'anna'.*add \[anna, carl\] to same_patient"
    with pytest.raises(ValueError, match=words):
        build_store(small_cohort(root), grid=grid, cache=tmp_path / "cache", num_workers=0)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()], "nothing half-made is left"
    store = build_store(
        small_cohort(root, same_patient=[["anna", "carl"]]), grid=grid, cache=tmp_path / "cache", num_workers=0
    )
    assert set(store.table["patient"]) == {"anna", "bert"}
