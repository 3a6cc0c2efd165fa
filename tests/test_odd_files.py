"""NIfTI files, pictures and tables as tools and people save them."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from datamodules.image_file import read_image_file
from tests.scans import random_image, write_volume

VALUES = random_image(0)


def nifti(folder, name="scan.nii", *, fields=(), values=VALUES):
    """A NIfTI file, with header fields as (offset, format, values)."""
    write_volume(folder / "sound.nii", values)
    content = bytearray((folder / "sound.nii").read_bytes())
    for at, kind, value in fields:
        struct.pack_into(f"<{kind}", content, at, *value)
    path = folder / name
    path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    return path


def test_values_are_those_that_the_scale_says(tmp_path):
    scaled = read_image_file(nifti(tmp_path, fields=[(112, "2f", (2.0, -5.0))])).voxels
    np.testing.assert_allclose(scaled, 2 * VALUES.astype(float) - 5)
    for slope in (0.0, float("nan")):
        plain = read_image_file(nifti(tmp_path, fields=[(112, "2f", (slope, 0.0))])).voxels
        np.testing.assert_array_equal(plain, VALUES)


@pytest.mark.parametrize("slope", [0.0, float("nan")])
def test_an_offset_without_a_slope_is_refused(tmp_path, slope):
    path = nifti(tmp_path, fields=[(112, "2f", (slope, 7.0))])
    with pytest.raises(ValueError, match=r"its scl_slope of (0|nan) says not to scale its values, its scl_inter of 7"):
        read_image_file(path)


def test_a_fourth_axis_of_one_is_none(tmp_path):
    path = nifti(tmp_path, fields=[(40, "8h", (4, *VALUES.shape[::-1], 1, 1, 1, 1))])
    np.testing.assert_array_equal(read_image_file(path).voxels, VALUES)


def test_suffixes_in_capitals_and_dots_in_names(tmp_path):
    for name in ("SCAN.NII.GZ", "scan.v2.NII", "a.nii.nii.gz"):
        np.testing.assert_array_equal(read_image_file(nifti(tmp_path, name)).voxels, VALUES)


def test_a_name_that_says_otherwise_than_the_content_is_named_with_the_remedy(tmp_path):
    plain, packed = nifti(tmp_path).read_bytes(), nifti(tmp_path, "scan.nii.gz").read_bytes()
    (tmp_path / "scan.nii").write_bytes(packed)
    with pytest.raises(ValueError, match=r"is compressed, which its name does not say; rename it to scan\.nii\.gz"):
        read_image_file(tmp_path / "scan.nii")
    (tmp_path / "scan.nii.gz").write_bytes(plain)
    with pytest.raises(ValueError, match=r"is not compressed; rename it to scan\.nii$"):
        read_image_file(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "scan.mha", "scan.png"])
def test_an_empty_file_is_called_empty(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="is empty, copying it may have been interrupted"):
        read_image_file(tmp_path / name)


def test_the_second_version_of_nifti_is_named(tmp_path):
    path = tmp_path / "scan.nii"
    path.write_bytes(struct.pack("<i", 540) + b"n+2\0" + bytes(600))
    with pytest.raises(ValueError, match="is a NIfTI-2 file, which is not read; save it as NIfTI-1"):
        read_image_file(path)


def test_a_unit_other_than_millimetres_is_refused_with_both_readings(tmp_path):
    path = nifti(tmp_path, fields=[(123, "B", (3,))])  # micrometres
    with pytest.raises(ValueError, match=r"heeds its unit.* in steps of 0\.5 x 0\.75 x 4 mm, .* in steps of 0\.0005 x"):
        read_image_file(path)


def test_colours_are_refused(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 12, 16, 3), np.uint8), isVector=True), tmp_path / "scan.nii")
    with pytest.raises(ValueError, match="has 3 numbers per pixel"):
        read_image_file(tmp_path / "scan.nii")
