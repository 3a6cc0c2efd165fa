"""The raw format of nnU-Net: who is in which list, what ids mean, and that left stays left there and back."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from datamodules.augment_batched import NoAugmentation
from datamodules.folds import HoldOut, ImageFolds, PatientFolds
from datamodules.nnunet_dataset import NnunetDataset
from datamodules.reading.foreign_masks import find_masks, name_of_slice, read_mask, reader_of_masks
from datamodules.slices import SliceDataModule
from datamodules.supervision import Supervision
from tests.made.scans import random_image, small_cohort, two_muscles, write_cohort, write_volume

PATIENTS = [f"p{number}" for number in range(8)]
FLIPPED, PARTIAL, WEAK = "p1", "p2", "weak"
LEFT, RIGHT = "muscle_left", "muscle_right"
RAW, PREPROCESSED = Path("nnUNet_raw/Dataset100_small"), Path("nnUNet_preprocessed/Dataset100_small")


@pytest.fixture(autouse=True)
def prepared_in_this_process(monkeypatch):
    """A handful of small volumes is read sooner than a second process starts."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def write_patients(root: Path, *, partial: str = "") -> Path:
    """Eight patients of four slices, one stored with columns and slices the other way round, and one without a mask."""
    write_cohort(root, PATIENTS)
    for folder in ("images", "labels"):
        path = root / folder / f"{FLIPPED}.nii.gz"
        sitk.WriteImage(sitk.Flip(sitk.ReadImage(str(path)), [True, False, True]), str(path))
    write_volume(root / "images" / f"{WEAK}.nii.gz", random_image(50))
    table = pd.read_csv(root / "cohort.csv", dtype=str)
    table.loc[len(table)] = [WEAK, WEAK, f"images/{WEAK}.nii.gz", ""]
    table["labelled"] = np.where(table["case"] == PARTIAL, partial, "")
    table.to_csv(root / "cohort.csv", index=False)
    return root


def data_of(root: Path, split=None, supervision=None, **changes) -> SliceDataModule:
    cohort = small_cohort(root, **changes)
    return SliceDataModule(
        cohort=cohort,
        split=split or PatientFolds(num_folds=2),
        supervision=supervision or Supervision(masks=True, keypoints=False),
        fold=0,
        size=(16, 16),
        spacing_mm=0.75,
        batch_size=4,
        augmentation=NoAugmentation(anatomy=cohort.anatomy),
        cache=root.parent / "cache",
    )


@pytest.fixture
def written(tmp_path):
    """The cohort's data, and the folder that nnU-Net gets."""
    data = data_of(write_patients(tmp_path / "cohort"))
    NnunetDataset(data).write(tmp_path / "nnunet")
    return data, tmp_path / "nnunet"


def names_in(folder: Path) -> set[str]:
    return {path.name.removesuffix(".nii.gz") for path in folder.iterdir()}


def patients_of(root: Path, names) -> set[str]:
    table = pd.read_csv(root / RAW / "slices.csv", index_col="name")
    return {*table.loc[list(names), "patient"]}


def test_who_is_tested_in_a_fold_is_in_none_of_its_lists(written):
    data, root = written
    splits = json.loads((root / PREPROCESSED / "splits_final.json").read_text())
    assert len(splits) == 2
    tested = []
    for number, lists in enumerate(splits):
        test = {name.removesuffix("_0000") for name in names_in(root / RAW / "imagesTs" / f"fold_{number}")}
        train, validation, tests = (patients_of(root, names) for names in (lists["train"], lists["val"], test))
        assert not tests & (train | validation)
        assert not train & validation
        assert train | validation | tests == set(PATIENTS)
        of_ours = data.split.indices(number, "test", data.store.table)
        assert tests == {*data.store.table["patient"].iloc[of_ours]}
        tested += sorted(tests)
    assert sorted(tested) == PATIENTS, "each in one fold"


def test_every_slice_with_a_mask_is_a_file_and_no_other(written):
    _, root = written
    expected = {name_of_slice(patient, number) for patient in PATIENTS for number in range(4)}
    assert names_in(root / RAW / "labelsTr") == expected
    assert names_in(root / RAW / "imagesTr") == {f"{name}_0000" for name in expected}
    description = json.loads((root / RAW / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, LEFT: 1, RIGHT: 2}
    assert description["numTraining"] == len(expected)
    assert (description["channel_names"], description["file_ending"]) == ({"0": "MRI 1"}, ".nii.gz")


def test_images_are_as_stored_and_lie_where_they_lay(written):
    data, root = written
    for patient in ("p0", FLIPPED):
        whole = sitk.ReadImage(str(data.cohort.root / "images" / f"{patient}.nii.gz"))
        for number in range(4):
            part = sitk.ReadImage(str(root / RAW / "imagesTr" / f"{name_of_slice(patient, number)}_0000.nii.gz"))
            assert part.GetSize() == (16, 12, 1)
            for index in ((0, 0, 0), (15, 3, 0)):
                place = part.TransformIndexToPhysicalPoint(index)
                there = whole.TransformPhysicalPointToIndex(place)
                assert there[2] == number
                assert part[index] == whole[there]


def test_masks_that_come_back_lie_on_the_side_that_they_were_drawn_on(written):
    """The left muscle is on the patient's left in every file, and `task=score` reads what was exported as it was."""
    data, root = written
    shutil.copy(root / RAW / "dataset.json", root / RAW / "labelsTr")
    files, extra = find_masks(root / RAW / "labelsTr", PATIENTS)
    assert extra == []
    reader = reader_of_masks(root / RAW / "labelsTr", data.cohort.reader)
    cases = {case.case: case for case in data.cohort.cases}
    table = data.store.table
    for patient in PATIENTS:
        mask = read_mask(reader, cases[patient], files[patient])
        assert not mask.resampled
        for row, number in table.loc[table["case"] == patient, "slice"].items():
            np.testing.assert_array_equal(mask.slices[number], data.store.native(int(str(row))).mask)
        image = sitk.ReadImage(str(root / RAW / "labelsTr" / f"{name_of_slice(patient, 1)}.nii.gz"))
        columns = [np.argwhere(sitk.GetArrayViewFromImage(image) == label)[:, 2].mean() for label in (1, 2)]
        left, right = (image.TransformContinuousIndexToPhysicalPoint((float(x), 5.0, 0.0))[0] for x in columns)
        assert left > right, "DICOM counts towards the patient's left"


def test_where_a_structure_was_not_drawn_unlabelled_pixels_are_ignored(tmp_path):
    data = data_of(write_patients(tmp_path / "cohort", partial=LEFT))
    dataset = NnunetDataset(data)
    assert dataset.labels == {"background": 0, LEFT: 1, RIGHT: 2, "ignore": 3}
    dataset.write(tmp_path / "nnunet")
    found = {
        patient: sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        for patient in ("p0", PARTIAL)
        for path in [tmp_path / "nnunet" / RAW / "labelsTr" / f"{name_of_slice(patient, 1)}.nii.gz"]
    }
    assert {patient: set(np.unique(mask)) for patient, mask in found.items()} == {"p0": {0, 1, 2}, PARTIAL: {1, 3}}
    assert (found[PARTIAL] == 1).sum() == (found["p0"] == 1).sum()


def test_a_structure_that_nobody_drew_has_no_number(tmp_path):
    data = data_of(write_patients(tmp_path / "cohort"), labels={1: None, 2: RIGHT, 7: None})
    assert NnunetDataset(data).labels == {"background": 0, RIGHT: 1}


def test_budgets_of_masks_hold_for_nnunet_too(tmp_path):
    data = data_of(
        write_patients(tmp_path / "cohort"), supervision=Supervision(masks=True, keypoints=False, masked_patients=3)
    )
    for number, fold in enumerate(NnunetDataset(data).folds):
        taught = {*data.store.table["patient"].iloc[[*fold.train, *fold.validation]]}
        assert taught == {*data.supervision.teach(data.store, data.split, number).masked_patients}
        assert len(taught) == 3


def test_who_is_only_ever_tested_is_no_training_case(tmp_path):
    dataset = NnunetDataset(data_of(write_patients(tmp_path / "cohort"), HoldOut(test_fraction=0.25)))
    dataset.write(tmp_path)
    tested = patients_of(tmp_path, [name[:-5] for name in names_in(tmp_path / RAW / "imagesTs" / "fold_0")])
    assert len(tested) == 2
    assert not tested & patients_of(tmp_path, names_in(tmp_path / RAW / "labelsTr"))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (ImageFolds(num_folds=2), r"patient\(s\) tested in fold 0 train or validate in it, too .*split=patient_folds"),
        (
            PatientFolds(num_folds=2, validation_fraction=0.0),
            r"4 .* train and 0 validate in fold 0.*validation_fraction above 0",
        ),
    ],
)
def test_a_split_that_nnunet_must_not_have_is_refused(tmp_path, split, message):
    with pytest.raises(ValueError, match=message):
        NnunetDataset(data_of(write_patients(tmp_path / "cohort"), split))


def test_a_cohort_without_any_mask_is_refused(tmp_path):
    root = write_patients(tmp_path / "cohort")
    pd.read_csv(root / "cohort.csv", dtype=str).assign(label="").to_csv(root / "cohort.csv", index=False)
    with pytest.raises(ValueError, match=r"only 0 patient\(s\) have masks: none; label more"):
        data_of(root)


def test_names_that_could_be_taken_for_another_case_are_refused(tmp_path):
    root = write_patients(tmp_path / "cohort")
    text = (root / "cohort.csv").read_text()
    (root / "cohort.csv").write_text(text.replace("\np3,", f"\n{name_of_slice('p0', 2)},"))
    with pytest.raises(ValueError, match=r"'p0_slice2', which is the name of another case; rename the case"):
        NnunetDataset(data_of(root))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("p0_slice9", r"has no slice 9, but 0, 1, 2, 3; correct the name"),
        ("p0_slice2", r"the mask does not lie in the field of the image"),
    ],
)
def test_a_mask_of_a_slice_must_be_that_slice(written, tmp_path, name, message):
    data, root = written
    (tmp_path / "masks").mkdir()
    shutil.copy(root / RAW / "labelsTr" / "p0_slice1.nii.gz", tmp_path / "masks" / f"{name}.nii.gz")
    files, _ = find_masks(tmp_path / "masks", PATIENTS)
    with pytest.raises(ValueError, match=message) as caught:
        read_mask(data.cohort.reader, data.cohort.cases[0], files["p0"])
    assert f"case 'p0': {tmp_path / 'masks' / name}" in str(caught.value)


def test_names_of_no_case_and_of_one_twice_are_refused(tmp_path):
    for name in ("q1_slice0.nii.gz", "p0_slicex.nii.gz", "plans.json"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"none of its 3 files .* p0\.nii\.gz .* p0_slice0\.nii\.gz; rename them"):
        find_masks(tmp_path, PATIENTS)
    (tmp_path / "p0_slice3.nii.gz").touch()
    (tmp_path / "p0_slice4.nii.gz").touch()
    files, extra = find_masks(tmp_path, PATIENTS)
    assert {case: sorted(own) for case, own in files.items()} == {"p0": [3, 4]}
    assert len(extra) == 3
    (tmp_path / "p0.nii.gz").touch()
    with pytest.raises(ValueError, match="is a mask of the same case"):
        find_masks(tmp_path, PATIENTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"labels": {"background": 0, "liver": 1}}', r"liver is no structure of the anatomy, which has muscle_left"),
        ('{"names": {}}', r"does not say what label ids mean \(KeyError"),
        ("[", r"does not say what label ids mean"),
        ('{"labels": [1, 2]}', r"does not say what label ids mean"),
    ],
)
def test_a_list_of_labels_that_does_not_fit_is_refused(tmp_path, text, message):
    (tmp_path / "dataset.json").write_text(text)
    reader = small_cohort(write_cohort(tmp_path / "cohort")).reader
    with pytest.raises(ValueError, match=message):
        reader_of_masks(tmp_path, reader)


def test_ids_of_the_list_are_taken_and_without_a_list_the_cohorts(tmp_path):
    reader = small_cohort(write_cohort(tmp_path / "cohort")).reader
    assert reader_of_masks(tmp_path, reader) is reader
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, RIGHT: 1, LEFT: 2, "ignore": 3}}))
    other = reader_of_masks(tmp_path, reader)
    assert other.labels == {1: RIGHT, 2: LEFT}
    assert other.labelled == reader.labelled


def test_the_muscles_are_on_two_sides():
    """What the tests above take for granted."""
    left, right = (np.argwhere(two_muscles() == label)[:, 2].mean() for label in (1, 2))
    assert left > right
