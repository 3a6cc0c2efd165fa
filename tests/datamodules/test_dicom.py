"""DICOM series as scanners write them: several tilted blocks in one folder, in any order of files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from datamodules.reading.dicom import find_blocks, read_block
from datamodules.reading.dicom_series import find_series
from tests.made.scans import small_cohort, two_muscles, write_dicom, write_volume

SIZE = (12, 16)  # rows, columns
STEP = 4.4
TILTS = (-8.0, 5.0, 28.0)  # degrees, of L3/4, L4/5 and L5/S1


def read_blocks(folder):
    """The blocks of the only series of a folder, each with the places of its slices in the series."""
    blocks, left_aside = find_blocks(folder, find_series(folder))
    assert left_aside == []
    return [(read_block(each), list(each.stored)) for each in blocks]


def pixels_of(number):
    return np.random.default_rng(number).integers(1, 4000, SIZE)


def block(tilt, height, num_slices=4, first_number=1, step=STEP):
    """Slices (number, position, axes) of a block tilted about the left-right axis, from its lowest slice up."""
    turn = Rotation.from_euler("x", tilt, degrees=True).as_matrix()
    axes = turn[:, :2].T
    start = np.array([-5.0, -60.0, height])
    return [(first_number + i, start + turn[:, 2] * step * i, axes) for i in range(num_slices)]


def lumbar_series():
    """Three blocks, top first, numbered through."""
    blocks = [
        block(tilt, height, first_number=1 + 4 * i)
        for i, (tilt, height) in enumerate(zip(TILTS, (80, 40, 0), strict=True))
    ]
    return [item for slices in blocks for item in slices]


def write_series(folder, slices, names=None, **tags):
    names = names or [f"{item[0]:03d}.dcm" for item in slices]
    for name, (number, position, axes) in zip(names, slices, strict=True):
        write_dicom(folder / name, pixels_of(number), position=position, axes=axes, number=number, **tags)
    return folder


def cohort_of(root, cells="anna,anna,scan", columns="case,patient,image", **options):
    (root / "cohort.csv").write_text(f"{columns}\n{cells}\n")
    return small_cohort(root, **options)


def read_first(root, *args, **options):
    cohort = cohort_of(root, *args, **options)
    return cohort.read(cohort.cases[0])


def test_tilted_blocks_become_volumes_of_their_own(tmp_path):
    """Slices run superior to inferior in each block; `slice` counts in the order of InstanceNumber."""
    names = ["B.DCM", "q", "IM_2", "x.IMA", "c", "A", "1.2.840.99", "zz", "00001", "m.dcm", "K.dcm", "d.Dcm"]
    write_series(tmp_path / "scan", lumbar_series(), names, SpacingBetweenSlices=STEP)
    (tmp_path / "scan" / "notes.txt").write_text("not an image")
    (tmp_path / "scan" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    records = read_first(tmp_path, "anna,anna,scan,L3/4;L4/5;L5/S1", "case,patient,image,level")
    assert [record.level for record in records] == ["L3/4", "L4/5", "L5/S1"]
    for number, record in enumerate(records):
        np.testing.assert_array_equal(record.slice_index, np.arange(4)[::-1] + 4 * number)
        assert record.spacing_mm == (0.7, 0.6)
        for pixels, stored in zip(record.image[0], record.slice_index, strict=True):
            np.testing.assert_array_equal(pixels, pixels_of(stored + 1))
        assert not record.has_mask


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(12)), st.lists(st.floats(-35, 35), min_size=3, max_size=3, unique_by=round))
def test_blocks_do_not_depend_on_file_names(tmp_path_factory, order, tilts):
    folder = tmp_path_factory.mktemp("series")
    slices = [item for i, tilt in enumerate(tilts) for item in block(tilt, 80 - 40 * i, first_number=1 + 4 * i)]
    write_series(folder, slices, [f"f{place:02d}" for place in order])
    blocks = read_blocks(folder)
    assert [stored for _, stored in blocks] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    for (file, stored), tilt in zip(blocks, tilts, strict=True):
        np.testing.assert_array_equal(file.voxels, np.stack([pixels_of(index + 1) for index in stored]))
        np.testing.assert_allclose(file.direction, Rotation.from_euler("x", tilt, degrees=True).as_matrix(), atol=1e-6)
        np.testing.assert_allclose(file.spacing_mm, (0.6, 0.7, STEP), atol=1e-4)


def test_parallel_blocks_part_at_gaps_and_sideways_steps(tmp_path):
    """Also blocks of one slice, and blocks whose own spacing differs."""
    slices = block(10, 0, 3) + block(10, 60, 3, first_number=4, step=5.0) + block(10, 120, 1, first_number=7)
    blocks = read_blocks(write_series(tmp_path / "a", slices, SpacingBetweenSlices=STEP))
    assert [stored for _, stored in blocks] == [[0, 1, 2], [3, 4, 5], [6]]
    np.testing.assert_allclose([file.spacing_mm[2] for file, _ in blocks], [4.4, 5.0, 4.4], atol=1e-4)
    straight = block(0, 0, 3)
    beside = [(number, position + np.array([8.0, 0, 0]), axes) for number, position, axes in block(0, 13.2, 3, 4)]
    assert [stored for _, stored in read_blocks(write_series(tmp_path / "b", straight + beside))] == [
        [0, 1, 2],
        [3, 4, 5],
    ]
    far = block(0, 0, 1) + block(0, 90, 1, first_number=2)
    assert len(read_blocks(write_series(tmp_path / "c", far, SpacingBetweenSlices=STEP))) == 2


def test_numbers_that_run_downwards(tmp_path):
    """InstanceNumber falls with height: slices are still superior first, and `slice` still the stored order."""
    write_series(tmp_path / "scan", [(4 - number, position, axes) for number, position, axes in block(5, 0, 3)])
    (record,) = read_first(tmp_path)
    np.testing.assert_array_equal(record.slice_index, [0, 1, 2])
    np.testing.assert_array_equal(record.image[0, 0], pixels_of(1))


def test_irregular_spacing_is_refused(tmp_path):
    good = block(5, 0, 6)
    normal = np.cross(*good[0][2])
    for name, slices, words in [
        ("missing", good[:3] + good[4:], r"8\.80 mm between 003\.dcm and 005\.dcm, 4\.40 mm elsewhere"),
        ("moved", [*good[:5], (6, good[5][1] + 0.5 * normal, good[5][2])], r"4\.90 mm between 005\.dcm and 006\.dcm"),
        ("twice", [*good, (7, good[2][1], good[2][2])], r"0\.00 mm between 003\.dcm and 007\.dcm"),
    ]:
        write_series(tmp_path / name / "scan", slices)
        problem = r"case 'anna': \S*scan: irregular slice spacing inside a block: .*"
        with pytest.raises(ValueError, match=rf"{problem}{words}.*nothing is interpolated.*export the series anew"):
            read_first(tmp_path / name)


def test_several_series_are_named_and_one_is_chosen(tmp_path):
    write_series(tmp_path / "scan" / "one", block(0, 0, 2), series="1.2.3")
    write_series(tmp_path / "scan" / "two", block(0, 0, 3), series="1.2.4")
    with pytest.raises(
        ValueError, match=r"case 'anna': \S*scan: holds 2 series: 1\.2\.3, 1\.2\.4; name one in the column series"
    ):
        read_first(tmp_path)
    (record,) = read_first(tmp_path, "anna,anna,scan,1.2.4", "case,patient,image,series")
    assert len(record.slice_index) == 3
    with pytest.raises(ValueError, match=r"scan: has no series 9\.9; it holds 1\.2\.3, 1\.2\.4; correct"):
        read_first(tmp_path, "anna,anna,scan,9.9", "case,patient,image,series")


def test_labels_find_their_block_by_geometry(tmp_path):
    """One label as the DICOM converter stores it (rows and slices turned), one block without label."""
    write_series(tmp_path / "scan", lumbar_series())
    blocks = read_blocks(tmp_path / "scan")
    mask = two_muscles((4, *SIZE))
    low, middle = blocks[2][0], blocks[1][0]
    write_volume(tmp_path / "l5s1.nii.gz", mask, spacing=low.spacing_mm, origin=low.origin_mm, direction=low.direction)
    last_row = middle.origin_mm + middle.direction[:, 1] * 0.7 * (SIZE[0] - 1)
    turned = middle.direction * [1, -1, 1]
    write_volume(
        tmp_path / "l45.nii.gz", mask[:, ::-1], spacing=middle.spacing_mm, origin=last_row.tolist(), direction=turned
    )
    records = read_first(tmp_path, "anna,anna,scan,l5s1.nii.gz;l45.nii.gz", "case,patient,image,label")
    assert [record.has_mask for record in records] == [False, True, True]
    for record in records[1:]:
        np.testing.assert_array_equal(record.mask, mask[::-1])
    write_volume(tmp_path / "l45.nii.gz", mask, spacing=low.spacing_mm, origin=(0, 0, 0), direction=low.direction)
    with pytest.raises(
        ValueError, match=r"l45\.nii\.gz: the label .*none of 3 blocks has its grid.*one label file per block"
    ):
        read_first(tmp_path, "anna,anna,scan,l5s1.nii.gz;l45.nii.gz", "case,patient,image,label")
    with pytest.raises(ValueError, match=r"l5s1\.nii\.gz: another label file has the same grid; keep one"):
        read_first(tmp_path, "anna,anna,scan,l5s1.nii.gz;l5s1.nii.gz", "case,patient,image,label")
    with pytest.raises(ValueError, match="level names 2 levels, the image has 3 blocks"):
        read_first(tmp_path, "anna,anna,scan,L1/2;L2/3", "case,patient,image,level")


def test_key_points_count_in_the_stored_order(tmp_path):
    write_series(tmp_path / "scan", lumbar_series())
    (tmp_path / "keypoints.csv").write_text("case,structure,slice,col,row\nanna,disc,6,3,8\n")
    records = read_first(tmp_path, slices="labelled")
    assert [len(record.slice_index) for record in records] == [0, 1, 0]
    np.testing.assert_allclose(records[1].keypoints[0, 0], [3, 8])
    np.testing.assert_array_equal(records[1].image[0, 0], pixels_of(7))


def test_bad_dicom_is_refused_by_name(tmp_path):
    folder = write_series(tmp_path / "scan", block(5, 0, 3))
    scan = r"case 'anna': \S*scan"
    content = (folder / "002.dcm").read_bytes()
    (folder / "002.dcm").write_bytes(content[: len(content) - 100])
    with pytest.raises(
        ValueError, match=scan + r"/002\.dcm: cannot be read.*corrupt or truncated; export the series anew"
    ):
        read_first(tmp_path)
    position, axes = block(5, 0, 3)[1][1:]
    several = {"position": position, "axes": axes, "number": 2}
    write_dicom(folder / "002.dcm", np.tile(pixels_of(2), (2, 1)), **several, NumberOfFrames=2, Rows=SIZE[0])
    with pytest.raises(ValueError, match=scan + r"/002\.dcm: is a multi-frame DICOM file.*convert it"):
        read_first(tmp_path)
    write_dicom(folder / "002.dcm", pixels_of(2), **several, ImagePositionPatient=None)
    with pytest.raises(ValueError, match=scan + r"/002\.dcm: has no ImagePositionPatient.*original images"):
        read_first(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"case 'anna': \S*empty: no DICOM image in this folder; correct"):
        read_first(tmp_path, "anna,anna,empty")


def test_one_dicom_file_and_rescaled_values(tmp_path):
    ((number, position, axes),) = block(5, 0, 1)
    write_dicom(
        tmp_path / "scan",
        pixels_of(1),
        position=position,
        axes=axes,
        number=number,
        RescaleSlope=2,
        RescaleIntercept=-5,
    )
    (record,) = read_first(tmp_path)
    np.testing.assert_array_equal(record.image[0, 0], pixels_of(1) * 2.0 - 5)
