"""Positions decide what a DICOM series is, whatever its header says besides; what cannot be read is named."""

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SegmentationStorage,
)

from datamodules.reading.case_images import read_images
from datamodules.reading.case_list import Case
from datamodules.reading.dicom import find_blocks, read_block
from datamodules.reading.dicom_series import find_series, list_series
from datamodules.reading.folder_walk import walk
from tests.conftest import SHARED
from tests.datamodules.test_dicom import SIZE, block, pixels_of, write_series
from tests.made.scans import write_dicom, write_enhanced

PLACE = {"position": (0.0, 0.0, 0.0), "axes": np.eye(3)[:2], "number": 1}
PREPARED = SHARED / "cases" / "dicom"


def read(folder, view=None):
    """The blocks of the only series of a folder, and what was left aside."""
    blocks, left_aside = find_blocks(folder, find_series(folder), view)
    return [read_block(each) for each in blocks], left_aside


LETTER = {"EncapsulatedDocument": b"%PDF-1.4\n%%EOF ", "MIMETypeOfEncapsulatedDocument": "application/pdf"}


def write_object(path, kind, **tags):
    """A DICOM object without pixels."""
    write_dicom(path, pixels_of(1), **PLACE, SOPClassUID=kind, **tags)
    data = pydicom.dcmread(path)
    for name in ("Rows", "Columns", "PixelData", "PixelSpacing", "ImagePositionPatient"):
        delattr(data, name)
    data.save_as(path)


@pytest.mark.parametrize("stated", [0.4, -4.4, 0.0, 40.0, None], ids=["gap", "negative", "zero", "tenfold", "absent"])
@pytest.mark.parametrize("thickness", [4.0, None])
def test_evenly_spaced_positions_are_one_volume_whatever_the_header_says(tmp_path, stated, thickness):
    write_series(tmp_path, block(12, 0, 5), SpacingBetweenSlices=stated, SliceThickness=thickness)
    (volume,), _ = read(tmp_path)
    assert volume.voxels.shape == (5, *SIZE)
    np.testing.assert_allclose(volume.spacing_mm, (0.6, 0.7, 4.4), atol=1e-4)


@settings(deadline=None, max_examples=15)
@given(st.floats(0.4, 6), st.floats(-40, 40), st.integers(2, 8), st.integers(2, 6), st.integers(3, 8))
def test_rounded_positions_and_cosines_are_sound(tmp_path_factory, step, tilt, num_slices, decimals, cosines):
    folder = tmp_path_factory.mktemp("rounded")
    for number, position, axes in block(tilt, 0, num_slices, step=step):
        rounded = np.round(position, decimals), np.round(axes, cosines)
        write_dicom(folder / str(number), pixels_of(number), position=rounded[0], axes=rounded[1], number=number)
    (volume,), _ = read(folder)
    assert volume.spacing_mm[2] == pytest.approx(step, abs=0.02)
    np.testing.assert_allclose(volume.direction.T @ volume.direction, np.eye(3), atol=1e-9)
    # The last slice lies where its header says.
    last = np.array(volume.origin_mm) + volume.direction[:, 2] * volume.spacing_mm[2] * (num_slices - 1)
    np.testing.assert_allclose(last, block(tilt, 0, num_slices, step=step)[-1][1], atol=0.1)


def test_unevenly_spaced_single_slices_are_told_apart_by_their_thickness(tmp_path):
    discs = [(number, np.array([-5.0, -60.0, height]), np.eye(3)[:2]) for number, height in enumerate((0, 31, 69))]
    write_series(tmp_path / "discs", discs)
    assert [len(volume.voxels) for volume in read(tmp_path / "discs")[0]] == [1, 1, 1]


def test_images_at_one_place_are_named_as_what_they_are(tmp_path):
    slices = [(3 * time + item[0], *item[1:]) for time in range(2) for item in block(5, 0, 3)]
    write_series(tmp_path / "times", slices, [f"{place}.dcm" for place in range(6)])
    with pytest.raises(ValueError, match=r"several images at one place.*a time series, echoes, or phase"):
        read(tmp_path / "times")


def test_a_mosaic_and_a_pixel_without_size_are_refused_by_name(tmp_path):
    write_series(tmp_path / "mosaic", block(0, 0, 1), ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    write_series(tmp_path / "bare", block(0, 0, 2), PixelSpacing=None)
    for name, words in [("mosaic", r"is a mosaic, many slices tiled"), ("bare", r"PixelSpacing is missing mm")]:
        with pytest.raises(ValueError, match=rf"{name}/001\.dcm: {words}"):
            read(tmp_path / name)


def test_objects_without_pixels_and_copies_are_left_aside_by_name(tmp_path):
    write_series(tmp_path, block(5, 0, 3))
    write_object(tmp_path / "PR1.dcm", GrayscaleSoftcopyPresentationStateStorage, SeriesInstanceUID="1.2.9")
    write_object(tmp_path / "KO1", KeyObjectSelectionDocumentStorage, SeriesInstanceUID="1.2.9")
    write_object(tmp_path / "report.dcm", ComprehensiveSRStorage, SeriesInstanceUID="1.2.9", Modality="SR")
    # Of the very series of the slices, as an export by hand puts it there.
    write_object(tmp_path / "letter.dcm", EncapsulatedPDFStorage, **LETTER)
    write_object(tmp_path / "private", "1.3.12.2.1107.5.9.9", SeriesInstanceUID="1.2.9")
    write_dicom(tmp_path / "seg", pixels_of(1), **PLACE, SOPClassUID=SegmentationStorage, series="1.2.8")
    (tmp_path / "002 (copy).dcm").write_bytes((tmp_path / "002.dcm").read_bytes())
    (volume,), _ = read(tmp_path)
    assert len(volume.voxels) == 3
    left_aside = list_series(walk(tmp_path).files).left_aside
    assert {path.name: reason for path, reason in left_aside.items()} == {
        "PR1.dcm": "holds no image (Grayscale Softcopy Presentation State)",
        "KO1": "holds no image (Key Object Selection Document)",
        "report.dcm": "holds no image (Comprehensive SR)",
        "letter.dcm": "holds no image (Encapsulated PDF)",
        "private": "holds no image (1.3.12.2.1107.5.9.9)",
        "seg": "holds no image (Segmentation)",
        "002 (copy).dcm": "is a copy of 002.dcm",
    }


def test_another_image_of_the_same_name_is_no_copy(tmp_path):
    """A bad anonymiser gives the images of two patients the same UIDs: none is dropped, both are refused."""
    write_series(tmp_path / "anna", block(5, 0, 1), SOPInstanceUID="1.2.3.4")
    ((_, position, axes),) = block(5, 0, 1)
    write_dicom(tmp_path / "bert" / "1", pixels_of(9), position=position, axes=axes, number=1, SOPInstanceUID="1.2.3.4")
    with pytest.raises(ValueError, match="several images at one place"):
        read(tmp_path)


def test_one_corrupt_file_refuses_the_series_of_its_folder_alone(tmp_path):
    for series in ("1.2.3", "1.2.4"):
        write_series(tmp_path / series, block(5, 0, 3), series=series)
    bad = tmp_path / "1.2.4" / "002.dcm"
    bad.write_bytes(bad.read_bytes()[:400])
    assert len(read_block(find_blocks(tmp_path, find_series(tmp_path, "1.2.3"))[0][0]).voxels) == 3
    with pytest.raises(ValueError, match=r"1\.2\.4/002\.dcm: cannot be read as DICOM, it may be corrupt"):
        find_series(tmp_path, "1.2.4")


def test_a_scout_is_left_aside_where_slices_of_the_view_are(tmp_path):
    sagittal = np.array([[0.0, 1, 0], [0, 0, -1]])
    write_series(tmp_path, [*block(5, 0, 3), (99, np.array([10.0, -60, 60]), sagittal)])
    case = Case(case="anna", patient="anna", images=(tmp_path,), row={})
    ((volume,),) = read_images(case, view="axial", has_sides=True)
    np.testing.assert_array_equal(volume.slice_index, [2, 1, 0])
    assert find_blocks(tmp_path, find_series(tmp_path), "axial")[1] == ["1 slice(s) of another view (099.dcm ...)"]
    write_series(tmp_path / "scout", [(1, np.array([10.0, -60, 60]), sagittal)])
    alone = Case(case="anna", patient="anna", images=(tmp_path / "scout",), row={})
    with pytest.raises(ValueError, match="its slices are not axial"):
        read_images(alone, view="axial", has_sides=True)


@settings(deadline=None, max_examples=10)
@given(st.permutations(range(7)), st.booleans(), st.lists(st.floats(-35, 35), min_size=2, max_size=2, unique_by=round))
def test_an_enhanced_file_equals_its_single_frames(tmp_path_factory, order, scaled, tilts):
    """Two tilted blocks in one file, frames in any order, each with its own scale, as one scanner maker stores them."""
    folder = tmp_path_factory.mktemp("enhanced")
    slices = [*block(tilts[0], 60, 4), *block(tilts[1], 0, 3, first_number=5)]
    scales = [(0.5 + number / 3, 1.25 - number) if scaled else (1.0, 0.0) for number in range(7)]
    for position, place in enumerate(order):
        number, origin, axes = slices[place]
        slope, intercept = (str(round(value, 12)) for value in scales[place])
        tags = {"RescaleSlope": slope, "RescaleIntercept": intercept} if scaled else {}
        write_dicom(
            folder / "single" / f"{position}.dcm",
            pixels_of(number),
            position=origin,
            axes=axes,
            number=position + 1,
            **tags,
        )
    frames = np.stack([pixels_of(slices[place][0]) for place in order])
    write_enhanced(
        folder / "enhanced.dcm",
        frames,
        places=[slices[place][1:] for place in order],
        scales=[[round(value, 12) for value in scales[place]] for place in order] if scaled else None,
    )
    blocks, _ = find_blocks(folder, find_series(folder / "enhanced.dcm"))
    singles, _ = find_blocks(folder, find_series(folder / "single"))
    assert [each.stored for each in blocks] == [each.stored for each in singles]
    for one, other in zip(map(read_block, blocks), map(read_block, singles), strict=True):
        np.testing.assert_allclose(one.voxels, other.voxels, rtol=1e-12)
        np.testing.assert_allclose(one.direction, other.direction, atol=1e-9)
        np.testing.assert_allclose((*one.origin_mm, *one.spacing_mm), (*other.origin_mm, *other.spacing_mm), atol=1e-9)


def test_a_time_series_in_an_enhanced_file_is_refused_by_name(tmp_path):
    places = [item[1:] for item in block(5, 0, 3)] * 2
    write_enhanced(tmp_path / "e.dcm", np.stack([pixels_of(1)] * 6), places=places)
    with pytest.raises(ValueError, match=r"several images at one place, such as e\.dcm frame 1 and e\.dcm frame 4"):
        read(tmp_path / "e.dcm")


@pytest.mark.skipif(not PREPARED.is_dir(), reason="the odd files are not part of the repository")
@pytest.mark.parametrize(
    ("name", "num_slices"),
    [(name, 4) for name in ("plain", "sbs_gap", "sbs_zero", "thin_round", "iop_round3", "pr", "ko", "dup", "scout")]
    + [("imagesdir", 4), ("localizer", 3)],
)
def test_prepared_series_are_read_as_one_volume(name, num_slices):
    case = Case(case=name, patient=name, images=(PREPARED / name,), row={})
    ((volume,),) = read_images(case, view="axial", has_sides=True)
    assert len(volume.voxels) == num_slices
