"""Geometry is stated by the file, stated by cohort.csv, or missing; what contradicts itself is refused."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from datamodules.reading.case_images import read_images
from datamodules.reading.case_list import Case, read_cases
from datamodules.reading.image_file import read_image_file
from tests.conftest import SHARED
from tests.made.scans import random_image, small_cohort, write_volume

CASES = SHARED / "cases"
shared_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the odd files are not part of the repository")
PIXDIM, CODES, QUATERNION, OFFSET, SFORM = 76, 252, 256, 268, 280  # where a NIfTI-1 header holds them
TILT = Rotation.from_euler("xyz", (12, 5, -8), degrees=True).as_matrix()


def nifti(path, *changes):
    """A sound scan, with numbers of its header replaced: (offset, values), or (offset, function of the old ones)."""
    write_volume(path, random_image(0), spacing=(0.6, 0.7, 4.0), direction=TILT)
    content = bytearray(gzip.decompress(path.read_bytes()))
    for offset, values in changes:
        if callable(values):
            values = values(np.array(struct.unpack_from("<12f", content, offset)))
        kind = "h" if isinstance(values[0], int) else "f"
        struct.pack_into(f"<{len(values)}{kind}", content, offset, *values)
    path.write_bytes(gzip.compress(bytes(content)))
    return path


def read(path, **changes):
    case = Case(case="scan", patient="scan", images=(path,), row={}, **changes)
    ((volume,),) = read_images(case, view="axial", has_sides=True)
    return volume


def moved(by_mm):
    return lambda form: form + np.array([0, 0, 0, by_mm, *[0] * 8])


def mirrored(form):
    """The same voxels under a form that lets x run the other way."""
    form = form.reshape(3, 4).copy()
    form[:, 3] += form[:, 0] * 15
    form[:, 0] *= -1
    return form.ravel()


ODD_NIFTI = {
    "negative pixdim": ([(PIXDIM + 4, (-0.6,))], r"pixdim says -0\.6 x 0\.7 x 4 mm.*sform says 0\.6 x 0\.7 x 4 mm"),
    "pixdim of 0": ([(PIXDIM + 4, (0.0, 0.0, 0.0))], r"pixdim says 0 x 0 x 0 mm.*sform says 0\.6 x 0\.7 x 4 mm"),
    "pixdim of 1 beside an sform": (
        [(PIXDIM + 4, (1.0, 1.0, 1.0)), (CODES, (0, 1))],
        r"pixdim says 1 x 1 x 1 mm, its sform 0\.6 x 0\.7 x 4 mm",
    ),
    "pixdim that is NaN": ([(PIXDIM + 8, (np.nan,))], r"pixdim says 0\.6 x nan x 4 mm"),
    "a mirrored sform": (
        [(SFORM, mirrored), (CODES, (1, 2))],
        r"15\.0 pixels apart: axes towards RPS.*axes towards LPS",
    ),
    "an sform moved by 30 mm": ([(SFORM, moved(30))], r"its sform and its qform place the voxels up to \d+\.\d pixels"),
    "an sform moved by 0.2 pixels": ([(SFORM, moved(0.13))], r"up to 0\.2 pixels apart"),
    "an offset that is NaN": ([(OFFSET, (np.nan,)), (CODES, (1, 0))], r"its qform holds NaN"),
    "micrometres": ([(123, (3.0,))], r"its sform and its reading by SimpleITK"),
}


@pytest.mark.parametrize(("changes", "words"), ODD_NIFTI.values(), ids=ODD_NIFTI)
def test_a_nifti_header_that_contradicts_itself_is_refused_with_both_readings(tmp_path, changes, words):
    path = nifti(tmp_path / "scan.nii.gz", *changes)
    if changes[0][0] == 123:  # one byte: units of length and time
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[120:124], content[123] = content[120:123] + b"\0", 3
        path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(ValueError, match=rf"scan\.nii\.gz: the header contradicts itself: .*{words}.*nibabel"):
        read(path)


@pytest.mark.parametrize("apart_px", [0.05, 0.09])
def test_an_sform_that_differs_from_the_qform_by_less_than_a_tenth_of_a_pixel_is_read(tmp_path, apart_px):
    sound = read(nifti(tmp_path / "sound.nii.gz"))
    volume = read(nifti(tmp_path / "scan.nii.gz", (SFORM, moved(apart_px * 0.6))))
    np.testing.assert_array_equal(volume.voxels, sound.voxels)
    assert volume.pixel_mm == pytest.approx(sound.pixel_mm)
    np.testing.assert_allclose(volume.direction, sound.direction, atol=1e-6)
    difference = np.abs(volume.origin_mm - sound.origin_mm)
    np.testing.assert_allclose(difference, [apart_px * 0.6, 0, 0], atol=1e-5)  # of two equal codes the sform counts


@settings(deadline=None, max_examples=20)
@given(st.tuples(*[st.floats(-180, 180)] * 3), st.sampled_from([(1, 1), (1, 0), (0, 1), (2, 1)]), st.booleans())
def test_what_agrees_is_read_as_other_tools_see_it(tmp_path_factory, angles, codes, left_handed):
    """A header written by a tool: the grid is the sform's (nibabel), the qform's (ITK), and that of the mask."""
    path = tmp_path_factory.mktemp("sound") / "scan.nii.gz"
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * [1, 1, -1 if left_handed else 1]
    write_volume(path, random_image(0), spacing=(0.6, 0.7, 4.0), direction=turn)
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<2h", content, CODES, *codes)
    path.write_bytes(gzip.compress(bytes(content)))
    form = np.array(struct.unpack_from("<12f", content, SFORM)).reshape(3, 4)
    file = read_image_file(path)
    found = np.column_stack([file.direction * file.spacing_mm, file.origin_mm]) * [[-1], [-1], [1]]
    np.testing.assert_allclose(found, form, atol=2e-3)
    assert file.has_spacing
    assert file.has_orientation


@pytest.mark.parametrize("degrees", [0.0, 0.0003, 0.003, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 1.0])
def test_a_large_scan_that_is_hardly_tilted_contradicts_itself_by_rounding_alone(tmp_path, degrees):
    """Of half a turn, as of every axial scan, a quaternion of 32 bits says the last 0.04 degrees badly."""
    for turn in np.random.default_rng(int(degrees * 1e4)).normal(size=(8, 3)):
        direction = Rotation.from_rotvec(np.radians(degrees) * turn / np.linalg.norm(turn)).as_matrix()
        image = sitk.GetImageFromArray(np.zeros((2, 512, 512), np.uint8))
        image.SetSpacing((0.7, 0.7, 4.0))
        image.SetDirection(direction.ravel().tolist())
        sitk.WriteImage(image, str(tmp_path / "scan.nii.gz"))
        found = read_image_file(tmp_path / "scan.nii.gz").direction
        np.testing.assert_allclose(found, direction, atol=8e-4)


def test_a_nifti_of_two_dimensions_keeps_its_place_in_the_patient(tmp_path):
    path = nifti(tmp_path / "scan.nii.gz")
    whole = read_image_file(path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<4h", content, 40, 2, 16, 12, 1)
    path.write_bytes(gzip.compress(bytes(content[: 352 + 16 * 12 * 2])))
    flat = read_image_file(path)
    assert flat.has_orientation
    np.testing.assert_allclose(flat.direction, whole.direction, atol=1e-6)
    np.testing.assert_allclose(flat.origin_mm, whole.origin_mm, atol=1e-5)
    np.testing.assert_array_equal(flat.voxels, whole.voxels[:1])
    assert read(path).pixel_mm == pytest.approx((0.7, 0.6))


def text_format(path, *without):
    """A sound MHA or NRRD whose header has lost these lines."""
    write_volume(path, random_image(0), spacing=(0.6, 0.7, 4.0), direction=TILT)
    separator = b"ElementDataFile" if path.suffix == ".mha" else b"\n\n"
    header, found, voxels = path.read_bytes().partition(separator)
    # Without its name, a space has a number of dimensions.
    header = header.replace(b"space:", b"space dimension: 3\nspace:") if without == (b"space:",) else header
    lines = [line for line in header.split(b"\n") if not line.startswith(without)]
    path.write_bytes(b"\n".join(lines) + (b"\n" if path.suffix == ".mha" else b"") + found + voxels)
    return path


NO_SPACING = r"its header does not say how large a voxel is; correct it, or add the column spacing.*rows;columns;slices"
NO_SIDES = r"does not say where the patient's left is; add the column orientation"


@pytest.mark.parametrize(
    ("suffix", "without", "words"),
    [
        (".mha", (b"ElementSpacing",), NO_SPACING),
        (".mha", (b"TransformMatrix",), NO_SIDES),
        (".nrrd", (b"space",), NO_SPACING),
        (".nrrd", (b"space:",), NO_SIDES),
    ],
)
def test_a_text_header_that_says_nothing_is_missing_something(tmp_path, suffix, without, words):
    write_volume(tmp_path / f"whole{suffix}", random_image(0), spacing=(0.6, 0.7, 4.0), direction=TILT)
    assert read(tmp_path / f"whole{suffix}").pixel_mm == pytest.approx((0.7, 0.6))
    path = text_format(tmp_path / f"scan{suffix}", *without)
    with pytest.raises(ValueError, match=rf"scan\{suffix}: {words}"):
        read(path)
    stated = read(path, spacing_mm=(0.7, 0.6, 4.0), orientation="LPS")
    assert stated.spacing_mm == pytest.approx((4.0, 0.7, 0.6))


def test_a_stack_of_pictures_needs_three_spacings_and_three_sides(tmp_path):
    path = tmp_path / "stack.tif"
    sitk.WriteImage(sitk.GetImageFromArray(random_image(0).astype(np.uint16)), str(path))
    for changes, words in [
        ({}, r"a \.tif file does not say how large a pixel is"),
        ({"spacing_mm": (0.7, 0.6)}, r"nor how far its slices lie apart.*0\.7;0\.6;4"),
        ({"spacing_mm": (0.7, 0.6, 4.0)}, NO_SIDES),
    ]:
        with pytest.raises(ValueError, match=words):
            read(path, **changes)
    assert read(path, spacing_mm=(0.7, 0.6, 4.0), orientation="LPS").spacing_mm == (4.0, 0.7, 0.6)


def test_cohort_csv_may_repeat_the_header_but_not_contradict_it(tmp_path):
    path = nifti(tmp_path / "scan.nii.gz")
    assert read(path, spacing_mm=(0.7, 0.6), orientation="LPS").pixel_mm == pytest.approx((0.7, 0.6))
    with pytest.raises(
        ValueError, match=r"contradicts the spacing 1 mm of cohort\.csv: its voxels are 0\.6 x 0\.7 x 4"
    ):
        read(path, spacing_mm=(1.0, 1.0))


def test_three_spacings_are_read_from_cohort_csv(tmp_path):
    write_volume(tmp_path / "a.mha", random_image(0))
    (tmp_path / "cohort.csv").write_text("case,patient,image,spacing\na,a,a.mha,0.7;0.6;4\n")
    (case,) = read_cases(tmp_path, "axial")
    assert case.spacing_mm == (0.7, 0.6, 4.0)


def test_complex_voxels_and_values_beyond_single_precision_are_refused(tmp_path):
    values = random_image(0).astype(np.float64)
    write_volume(tmp_path / "complex.nii.gz", values + 1j)
    with pytest.raises(ValueError, match=r"complex\.nii\.gz: has complex numbers as voxels.*magnitude"):
        read(tmp_path / "complex.nii.gz")
    values[1, 2, 3] = 1e39
    write_volume(tmp_path / "large.nii.gz", values)
    with pytest.raises(ValueError, match=r"large\.nii\.gz: holds values up to 1e\+39, more than networks can"):
        read(tmp_path / "large.nii.gz")


@pytest.mark.parametrize("key", ["Offset", "space origin"])
def test_an_offset_that_is_no_number_is_refused(tmp_path, key):
    path = tmp_path / ("scan.mha" if key == "Offset" else "scan.nrrd")
    write_volume(path, random_image(0))
    offset = b"Offset = 3 -5 7" if key == "Offset" else b"space origin: (3,-5,7)"
    content = path.read_bytes()
    assert offset in content
    path.write_bytes(content.replace(offset, offset.replace(b"-5", b"nan")))
    with pytest.raises(ValueError, match=r"scan\.\w+: (offset is '3 nan 7', expected finite|cannot be read)"):
        read(path)


def test_label_ids_one_step_below_whole_numbers_are_those(tmp_path):
    labels = np.zeros((4, 12, 16), np.float32)
    labels[1, 3:6, 3:6], labels[1, 3:6, 9:12] = np.nextafter(np.float32(2), np.float32(0)), 1
    write_volume(tmp_path / "image.nii.gz", random_image(0))
    write_volume(tmp_path / "label.nii.gz", labels)
    (tmp_path / "cohort.csv").write_text("case,patient,image,label\na,a,image.nii.gz,label.nii.gz\n")
    cohort = small_cohort(tmp_path)
    (record,) = cohort.read(cohort.cases[0])
    assert (np.bincount(record.mask.ravel())[1:] == [9, 9]).all()


@shared_cases
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nifti/negpix_s1_q1.nii.gz", "pixdim says -0.6"),
        ("nifti/zeropix_s1_q1.nii.gz", "pixdim says 0 x 0 x 0"),
        ("nifti/s2flip_q1.nii.gz", "its sform and its qform"),
        ("others/no_spacing.mha", "how large a voxel"),
        ("others/no_matrix.mha", "the patient's left"),
        ("others/no_space.nrrd", "the patient's left"),
        ("others/no_geometry.nrrd", "how large a voxel"),
        ("complex/complex.nii.gz", "complex numbers"),
        ("tif/stack.tif", "how large a pixel"),
    ],
)
def test_prepared_odd_files_are_refused(name, words):
    with pytest.raises(ValueError, match=words):
        read(CASES / name)


@shared_cases
def test_prepared_sound_files_are_read():
    whole, flat = (read(CASES / "nifti" / name) for name in ("plain.nii.gz", "2d.nii.gz"))
    np.testing.assert_allclose(flat.direction, whole.direction, atol=1e-6)
    assert flat.pixel_mm == pytest.approx((0.6, 0.6))
