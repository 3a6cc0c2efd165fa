"""Labels that are DICOM files, and folders of DICOM that many rows of cohort.csv name."""

import numpy as np
import pytest
from pydicom.uid import SegmentationStorage

from datamodules.reading import dicom_series
from datamodules.reading.scan_list import find_scans
from tests.datamodules.test_dicom_positions import write_object
from tests.made.scans import random_image, read_all, two_muscles, write_dicom

STILL = np.eye(3)[:2]


def write_stack(folder, values, series):
    for number, slice_ in enumerate(values):
        name = folder / f"{series}_{number}.dcm"
        write_dicom(name, slice_, position=(0, 0, 4.0 * number), axes=STILL, number=number, series=series)


def write_rows(root, *rows):
    (root / "cohort.csv").write_text("\n".join(["case,patient,image,label,series", *rows]) + "\n")


@pytest.fixture
def root(tmp_path):
    write_stack(tmp_path / "anna", random_image(1), "1.1")
    write_stack(tmp_path / "drawn", two_muscles(), "1.2")
    return tmp_path


def test_a_label_may_be_a_dicom_series(root):
    write_rows(root, "anna,anna,anna,drawn,")
    (((record,),)) = read_all(root)
    np.testing.assert_array_equal(np.bincount(record.mask.ravel())[1:], [90, 90])
    assert record.has_mask


def test_a_lone_dicom_file_is_a_label_of_one_slice(root):
    write_rows(root, "anna,anna,anna/1.1_1.dcm,drawn/1.2_1.dcm,")
    (((record,),)) = read_all(root)
    assert record.mask.shape == (1, 12, 16)
    np.testing.assert_array_equal(np.bincount(record.mask.ravel())[1:], [30, 30])
    write_rows(root, "anna,anna,anna/1.1_1.dcm,drawn/1.2_2.dcm,")
    with pytest.raises(ValueError, match=r"2\.dcm: the label does not lie on the grid of the image \S+1\.1_1\.dcm"):
        read_all(root)


def test_a_segmentation_object_is_named_with_the_remedy(root):
    write_object(root / "seg.dcm", SegmentationStorage, SeriesInstanceUID="1.9")
    write_rows(root, "anna,anna,anna,seg.dcm,")
    with pytest.raises(ValueError, match=r"holds no image \(Segmentation\), which is to be converted to \.nii"):
        read_all(root)


def test_a_folder_that_many_rows_name_is_listed_once_until_it_changes(tmp_path, monkeypatch):
    read, headers = dicom_series.read_header, []
    monkeypatch.setattr(dicom_series, "read_header", lambda path: headers.append(path) or read(path))
    for series in ("1.1", "1.2", "1.3"):
        write_stack(tmp_path / "anna", random_image(int(series[-1])), series)
    rows = [f"anna_{series},anna,anna,,{series}" for series in ("1.1", "1.2", "1.3")]
    write_rows(tmp_path, *rows)
    for found in (read_all(tmp_path), find_scans(tmp_path, "axial").cases):
        assert len(found) == 3
        assert len(headers) == 12
    write_stack(tmp_path / "anna", random_image(4), "1.4")
    write_rows(tmp_path, *rows, "anna_1.4,anna,anna,,1.4")
    assert len(read_all(tmp_path)) == 4
    assert len(headers) == 12 + 16
