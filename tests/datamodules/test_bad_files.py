"""Files that cannot be trusted are refused, with the case, the file and the remedy."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.made.scans import (
    SHAPE,
    random_image,
    read_all,
    replace_line,
    two_muscles,
    write_cohort,
    write_volume,
)

DATA = Path(__file__).parents[3] / "shared" / "data"


def edit(old, new):
    return lambda root: replace_line(root, old, new)


def image(array=None, name="images/bert.nii.gz", **geometry):
    return lambda root: write_volume(root / name, random_image(1) if array is None else array, **geometry)


def label(array=None, **geometry):
    return image(two_muscles() if array is None else array, name="labels/bert.nii.gz", **geometry)


def change_bytes(change, name="images/bert.nii.gz"):
    def apply(root):
        path = root / name
        path.write_bytes(change(path.read_bytes()))

    return apply


def cut_nifti(root):
    """As a copy that stopped half way: uncompressed, so that nothing but the length tells."""
    path = root / "images/bert.nii"
    path.write_bytes(gzip.decompress((root / "images/bert.nii.gz").read_bytes())[:-200])
    replace_line(root, "images/bert.nii.gz", "images/bert.nii")


def other_format(suffix, change=lambda content: content, array=None, **geometry):
    """The image as another kind of file, its bytes changed."""

    def apply(root):
        name = f"images/bert{suffix}"
        image(array, name, **geometry)(root)
        change_bytes(change, name)(root)
        replace_line(root, "images/bert.nii.gz", name)

    return apply


def with_nan_at_one_voxel():
    array = random_image(1).astype(np.float32)
    array[1, 2, 3] = np.nan
    return array


def flip_a_byte(content):
    return content[:-60] + bytes([content[-60] ^ 255]) + content[-59:]


def nifti_header(offset, *values):
    """Overwrites numbers of the NIfTI header."""

    def change(content):
        content = bytearray(gzip.decompress(content))
        kind = "h" if isinstance(values[0], int) else "f"
        struct.pack_into(f"<{len(values)}{kind}", content, offset, *values)
        return gzip.compress(bytes(content))

    return change_bytes(change)


shifted = {"origin": (3.0, -4.0, 7.0)}
tilted = {"direction": [[1, 0, 0], [0, np.cos(0.1), -np.sin(0.1)], [0, np.sin(0.1), np.cos(0.1)]]}
halves = two_muscles() * np.float32(1.5)
BERT = r"case 'bert': \S*images/bert\.nii\.gz: "
LABEL_OF_BERT = r"case 'bert': \S*labels/bert\.nii\.gz: "


BAD_FILES = {
    "size": (label(two_muscles((4, 12, 15))), LABEL_OF_BERT + r".*size .*\(4, 12, 16\) and \(4, 12, 15\).*resample"),
    "spacing": (label(spacing=(0.5, 0.8, 4)), LABEL_OF_BERT + r".*images/bert\.nii\.gz.*spacing .*resample"),
    "origin": (label(**shifted), LABEL_OF_BERT + r".*images/bert\.nii\.gz.*origin .*resample"),
    "direction": (label(**tilted), LABEL_OF_BERT + r".*images/bert\.nii\.gz.*direction .*resample"),
    "unknown id": (
        label(two_muscles() * 3),
        LABEL_OF_BERT + r"holds the unknown label id 3, 6; known are 1, 2, 7.*null",
    ),
    "fractions": (label(halves), LABEL_OF_BERT + r"holds the unknown label id 1\.5"),
    "empty": (label(two_muscles() * 0), LABEL_OF_BERT + r"the whole mask is empty .*leave its label cell empty"),
    "no label file": (
        lambda root: (root / "labels/bert.nii.gz").unlink(),
        r"cohort small: .*cohort\.csv, case 'bert': the label file .*labels/bert\.nii\.gz is missing; correct .*empty",
    ),
    "no image": (
        edit("images/bert.nii.gz", "images/bart.nii.gz"),
        r"case 'bert': the image file .*bart\.nii\.gz is missing; correct",
    ),
    "nan": (image(with_nan_at_one_voxel()), BERT + r"1 voxels are NaN or infinite; export"),
    "nan in mha": (
        other_format(".mha", array=with_nan_at_one_voxel()),
        r"case 'bert': \S*bert\.mha: 1 voxels are NaN or infinite; export",
    ),
    "constant": (image(np.full(SHAPE, 4, np.int16)), BERT + r"the image is constant \(4 everywhere\); export"),
    "twice": (edit("bert,bert", "anna,bert"), r"cohort\.csv: case 'anna' is listed twice, in lines 2 and 3; give each"),
    "truncated gz": (change_bytes(lambda c: c[: len(c) // 2]), BERT + r"is truncated or corrupt .*copy"),
    "corrupt gz": (
        change_bytes(lambda c: c[:400] + bytes([c[400] ^ 255]) + c[401:]),
        BERT + r"is truncated or corrupt .*copy",
    ),
    "short gz": (
        change_bytes(lambda c: gzip.compress(gzip.decompress(c)[:-100])),
        BERT + r"is truncated: \d+ bytes where its header promises \d+; copy",
    ),
    "no gzip": (change_bytes(lambda content: b"<html>"), BERT + r"is truncated or corrupt .*copy"),
    "no nifti": (
        change_bytes(lambda content: gzip.compress(b"x" * 400)),
        BERT + r"does not start with a NIfTI header; copy",
    ),
    "an offset of voxels that is NaN": (nifti_header(108, np.nan), BERT + r"does not start with a NIfTI header; copy"),
    "a negative size": (nifti_header(42, -16), BERT + r"does not start with a NIfTI header; copy"),
    "truncated nii": (cut_nifti, r"case 'bert': \S*bert\.nii: is truncated: .*copy"),
    "truncated mha": (
        other_format(".mha", lambda content: content[:-300]),
        r"case 'bert': \S*bert\.mha: cannot be read, it may be corrupt or truncated; copy",
    ),
    "corrupt nrrd": (
        other_format(".nrrd", flip_a_byte, compressed=True),
        r"case 'bert': \S*bert\.nrrd: is truncated or corrupt .*copy",
    ),
    "sheared nifti": (nifti_header(284, 0.2), BERT + r"the direction in the header is not orthonormal.*resample"),
    "sheared mha": (
        other_format(".mha", direction=[[1, 0.2, 0], [0, 1, 0], [0, 0, 1]]),
        r"case 'bert': \S*bert\.mha: the direction in the header is not orthonormal.*resample",
    ),
    "no orientation": (
        nifti_header(252, 0, 0),
        BERT + r"does not say where the patient's left is; add the column orientation.*LPS",
    ),
    "sagittal": (
        image(direction=[[0, 0, 1], [1, 0, 0], [0, -1, 0]]),
        BERT + r"its slices are not axial: .*take the axial series",
    ),
    "four axes": (image(np.zeros((2, *SHAPE), np.int16)), BERT + r"has 4 axes .*one file per channel"),
    "no column": (
        edit("patient,", "person,"),
        r"cohort\.csv: lacks the column patient; it has case, person, image, label; needed are case, patient, image",
    ),
    "a comma too many": (
        edit("bert.nii.gz\n", "bert.nii.gz,\n"),
        r"cohort\.csv: line 3 has 5 cells, the header 4; add or",
    ),
    "semicolons": (
        lambda root: (root / "cohort.csv").write_text("case;patient;image\nanna;anna;images/anna.nii.gz\n"),
        r"cohort\.csv: lacks the column case, patient, image; it has case;patient;image; .*separated by commas",
    ),
    "no rows": (
        lambda root: (root / "cohort.csv").write_text("case,patient,image\n"),
        r"cohort\.csv: lists nothing; add",
    ),
    "no patient": (edit("bert,bert", "bert,"), r"cohort\.csv: line 3 has no patient; fill it in"),
}


@pytest.mark.parametrize(("spoil", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_refused_by_name_and_remedy(tmp_path, spoil, words):
    root = write_cohort(tmp_path)
    read_all(root)
    spoil(root)
    with pytest.raises(ValueError, match=words):
        read_all(root)
