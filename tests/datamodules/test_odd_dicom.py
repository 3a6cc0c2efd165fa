"""DICOM series as scanners, archives and exports write them: read as they are, or refused by what is odd about them."""

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import HEVCMP51, DeflatedExplicitVRLittleEndian, RLELossless

from datamodules.reading.case_images import read_images
from datamodules.reading.scan_list import find_scans
from tests.made.scans import random_image, write_dicom

STILL = np.eye(3)[:2]
VALUES = random_image(0)


def write_stack(folder, values=VALUES, *, place=lambda n: (0, 0, 4.0 * n), suffix="", **tags):
    """An axial series; a tag may be a function of the number of its slice."""
    for number, slice_ in enumerate(values):
        given = {name: tag(number) if callable(tag) else tag for name, tag in tags.items()}
        name = folder / f"i{number}{suffix}"
        write_dicom(name, slice_, position=place(number), axes=STILL, number=given.pop("number", number + 1), **given)
    return folder


def rewrite(folder, change):
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        change(data)
        data.save_as(path)


def volumes(root):
    """What a prediction would read of the only scan below a folder."""
    found = find_scans(root, "axial")
    assert found.refused == {}
    (case,) = found.cases
    return read_images(case, view="axial", has_sides=True, series=found.series[case.case])[0]


def compress(data):
    data.compress(RLELossless)


def deflate(data):
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def without_preamble(path):
    data = pydicom.dcmread(path)
    data.file_meta, data.preamble = pydicom.dataset.FileMetaDataset(), None
    data.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)


def in_high_bits(data):
    data.PixelData = (data.pixel_array | 0x8000).tobytes()  # an overlay of old systems
    data.BitsStored, data.HighBit = 12, 11


@pytest.mark.parametrize("change", [compress, deflate, in_high_bits])
def test_however_values_are_stored_they_are_the_same(tmp_path, change):
    rewrite(write_stack(tmp_path / "anna"), change)
    (volume,) = volumes(tmp_path)
    np.testing.assert_array_equal(volume.voxels, VALUES[::-1])


def test_files_of_before_the_preamble_are_found_by_content(tmp_path):
    for path in write_stack(tmp_path / "anna").iterdir():
        without_preamble(path)
    (volume,) = volumes(tmp_path)
    np.testing.assert_array_equal(volume.voxels, VALUES[::-1])


def test_each_slice_has_its_own_scale(tmp_path):
    write_stack(tmp_path / "anna", RescaleSlope=lambda n: f"{n + 0.5}", RescaleIntercept=lambda n: f"{-n}")
    (volume,) = volumes(tmp_path)
    number = np.arange(4)[:, None, None]
    np.testing.assert_allclose(volume.voxels, (VALUES * (number + 0.5) - number)[::-1])


@pytest.mark.parametrize("number", [lambda n: 9 - n, lambda n: 1, lambda n: None], ids=["reversed", "all 1", "none"])
def test_positions_order_slices_whatever_their_numbers_say(tmp_path, number):
    write_stack(tmp_path / "anna", InstanceNumber=number)
    (volume,) = volumes(tmp_path)
    np.testing.assert_array_equal(volume.voxels, VALUES[::-1])
    assert sorted(volume.slice_index) == [0, 1, 2, 3]


def test_names_in_any_script_change_nothing(tmp_path):
    tags = {"PatientName": "山田^太郎", "SpecificCharacterSet": "ISO 2022 IR 87"}
    write_stack(tmp_path / "患者 Ünï", suffix=" (1).IMA", **tags)
    (volume,) = volumes(tmp_path)
    assert volume.voxels.shape == VALUES.shape


def decimal_commas(folder):
    for path in folder.iterdir():
        content = path.read_bytes()
        assert b"0.7\\0.6 " in content
        path.write_bytes(content.replace(b"0.7\\0.6 ", b"0,7\\0,6 "))


def unknown_compression(data):
    data.file_meta.TransferSyntaxUID, data.PixelData = HEVCMP51, encapsulate([b"\0" * 100])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: setattr(data, "PhotometricInterpretation", "MONOCHROME1"), r"grey values are inverted \(MONOCHR"),
        (lambda data: setattr(data, "PhotometricInterpretation", "PALETTE COLOR"), "is a colour image"),
        (lambda data: setattr(data, "RescaleSlope", "0"), "its header holds a RescaleSlope of 0"),
        (unknown_compression, r"or its compression \(HEVC/H\.265 Main Profile / Level 5\.1\) is one that is not known"),
    ],
    ids=["inverted", "palette", "slope 0", "compression"],
)
def test_what_would_be_read_wrongly_is_refused_by_its_name(tmp_path, change, message):
    rewrite(write_stack(tmp_path / "anna"), change)
    with pytest.raises(ValueError, match=message):
        volumes(tmp_path)


def test_a_number_with_a_comma_is_named_with_its_field(tmp_path):
    decimal_commas(write_stack(tmp_path / "anna"))
    with pytest.raises(ValueError, match="holds '0,7' as PixelSpacing, expected a number with a decimal point"):
        volumes(tmp_path)


def test_a_sheared_stack_is_refused_and_staggered_blocks_are_not(tmp_path):
    write_stack(tmp_path / "tilted" / "anna", place=lambda n: (0, 0.8 * n, 4.0 * n))
    with pytest.raises(ValueError, match=r"each of its 4 slices lies 0\.80 mm beside the one below it \(a tilted"):
        volumes(tmp_path / "tilted")
    # One slice through each disc, far from each other.
    write_stack(tmp_path / "discs" / "anna", place=lambda n: (0, 3.0 * n, 35.0 * n))
    assert [volume.voxels.shape[0] for volume in volumes(tmp_path / "discs")] == [1, 1, 1, 1]
    # Two blocks beside each other.
    write_stack(tmp_path / "blocks" / "anna", place=lambda n: (0, 9.0 * (n > 1), 4.0 * n))
    assert [volume.voxels.shape[0] for volume in volumes(tmp_path / "blocks")] == [2, 2]


def test_files_that_stand_twice_are_told_apart_by_their_folders(tmp_path):
    for folder in ("a", "b"):
        write_stack(tmp_path / "anna" / folder)
    with pytest.raises(ValueError, match="several images at one place, such as a/i0 and b/i0"):
        volumes(tmp_path)


def test_an_empty_file_is_left_aside_as_what_it_is(tmp_path):
    (write_stack(tmp_path / "anna") / "empty").write_bytes(b"")
    found = find_scans(tmp_path, "axial")
    assert found.left_aside == {tmp_path / "anna" / "empty": "is empty: copying it may have been interrupted"}
    assert len(found.cases) == 1
