"""NIfTI files, pictures and tables as tools and people save them."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from datamodules.reading.image_file import read_image_file
from tests.made.scans import random_image, read_all, small_cohort, write_cohort, write_volume

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
    with pytest.raises(ValueError, match="is compressed by gzip by its content, not what its name says; rename it"):
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


GREY = np.random.default_rng(0).integers(0, 256, (12, 16)).astype(np.uint8)


def picture(folder, name, values=GREY, mode=None, **more):
    path = folder / name
    Image.fromarray(values, mode=mode).save(path, **more)
    return path


@pytest.mark.parametrize("name", ["scan.png", "SCAN.PNG", "scan.tif"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pictures_keep_their_values(tmp_path, name, kind):
    values = GREY.astype(kind) * (200 if kind == np.uint16 else 1)
    np.testing.assert_array_equal(read_image_file(picture(tmp_path, name, values)).voxels[0], values)


def turned(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(folder, "scan.jpg", exif=exif)


def palette(folder):
    image = Image.fromarray(GREY, mode="P")
    image.putpalette([level for number in range(255, -1, -1) for level in [number] * 3])
    image.save(folder / "scan.png")
    return folder / "scan.png"


ODD_PICTURES = {
    "turned": (turned, r"is to be shown turned or mirrored \(its orientation is 6\)"),
    "turned, TIFF": (lambda f: picture(f, "a.tif", tiffinfo={274: 6}), "shown turned or mirrored"),
    "inverted": (lambda f: picture(f, "a.tif", tiffinfo={262: 0}), r"has inverted grey values \(0 is white\)"),
    "transparent": (lambda f: picture(f, "a.png", transparency=0), "has transparency; save it as a grey image"),
    "grey and alpha": (lambda f: picture(f, "a.png", np.stack([GREY] * 2, -1), "LA"), "has transparency"),
    "colours": (lambda f: picture(f, "a.png", np.stack([GREY] * 3, -1)), "has 3 numbers per pixel"),
    "palette": (palette, r"\(colours or a palette\)"),
}


@pytest.mark.parametrize(("write", "message"), ODD_PICTURES.values(), ids=ODD_PICTURES)
def test_pictures_that_would_be_read_wrongly_are_refused(tmp_path, write, message):
    with pytest.raises(ValueError, match=message):
        read_image_file(write(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("scan.png", b"\xff\xd8\xff\xe0", "a JPEG picture"),
        ("scan.nii.gz", b"PK\3\4", "a zip archive"),
        ("scan.nii", b"\0" * 128 + b"DICM", "a DICOM file"),
        ("scan.mha", b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
    ],
)
def test_a_file_of_another_format_than_its_name_says_is_named(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content + bytes(300))
    with pytest.raises(ValueError, match=f"is {kind}"):
        read_image_file(tmp_path / name)


TABLE = """case,patient,image,label
anna,anna,images/anna.nii.gz,labels/anna.nii.gz
bert,bert,images/bert.nii.gz,labels/bert.nii.gz
"""


@pytest.fixture
def root(tmp_path):
    return write_cohort(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        ("\ufeff" + TABLE).encode(),
        TABLE.replace("\n", "\r\n").encode(),
        TABLE.replace("\n", "\r").encode(),
        (TABLE + ",,,\n , , ,\n\n").encode(),
        TABLE.replace("label\n", "label,,\n").replace("gz\n", "gz,,\n").encode(),
        TABLE.replace("case,patient", ' case ,"patient"').encode(),
        TABLE.replace("anna,anna,", "anna\u200b,\ufeffanna\u00a0,").encode(),
    ],
    ids=["BOM", "CRLF", "CR", "blank rows", "blank columns", "blanks and quotes", "invisible"],
)
def test_tables_as_programs_save_them_are_the_same(root, content):
    (root / "cohort.csv").write_bytes(content)
    cohort = small_cohort(root)
    assert [(case.case, case.patient) for case in cohort.cases] == [("anna", "anna"), ("bert", "bert")]
    assert all(record.has_mask for records in read_all(root) for record in records)


def test_one_person_in_two_spellings_is_one(root):
    (root / "cohort.csv").write_text(
        TABLE.replace("anna,anna", "anna,Mu\u0308ller").replace("bert,bert", "bert,M\u00fcller")
    )
    assert {case.patient for case in small_cohort(root).cases} == {"M\u00fcller"}


def test_files_are_found_in_either_spelling(root):
    (root / "images" / "anna.nii.gz").rename(root / "images" / "u\u0308.nii.gz")
    (root / "cohort.csv").write_text(TABLE.replace("images/anna", "images/\u00fc"))
    assert len(read_all(root)) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label\n", "image\n", "has the column image twice; remove or rename one"),
        (",label", ",labels", "has a column labels, which nothing reads; did you mean label?"),
        (",label", ",Label", "has a column Label, which nothing reads; did you mean label?"),
        ("bert,bert", "be\0rt,bert", r"holds zero bytes\); save it as CSV in UTF-8"),
        ("images/bert", "images\\\\bert", r"folders are parted by / here"),
        (",", ";", "separated by commas"),
        (",", "\t", "separated by commas"),
    ],
)
def test_tables_that_would_be_read_wrongly_are_refused(root, old, new, message):
    (root / "cohort.csv").write_text(TABLE.replace(old, new))
    with pytest.raises(ValueError, match=message):
        small_cohort(root)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_refused_with_the_remedy(root, encoding):
    (root / "cohort.csv").write_bytes(TABLE.replace("anna,anna", "änna,änna").encode(encoding))
    with pytest.raises(ValueError, match=r"save it as CSV in UTF-8"):
        small_cohort(root)
