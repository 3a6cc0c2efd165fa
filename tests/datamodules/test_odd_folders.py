"""One odd file refuses itself alone; what is not read is named."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ComprehensiveSRStorage, EncapsulatedPDFStorage, GrayscaleSoftcopyPresentationStateStorage

from datamodules.reading import dicom_series
from datamodules.reading.case_images import read_images
from datamodules.reading.dicom_series import list_series
from datamodules.reading.scan_list import find_scans
from tests.conftest import ROOT, SHARED
from tests.datamodules.test_dicom_positions import write_object
from tests.made.predicted_scans import picture, write_scan, write_series

PREPARED = SHARED / "cases" / "dicom"
STILL = np.eye(3)


def series(folder, uid="1.1", study="1", **tags):
    """A sound axial series of three slices."""
    return write_series(
        folder, picture(), tilt=STILL, height_mm=0, first=int(uid[-1]) * 10, study=study, series=uid, **tags
    )


def names(found):
    return {case.case for case in found.cases}


@pytest.mark.parametrize("uid", ["1.9", "1.1"], ids=["a series of its own", "the series of the slices"])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (GrayscaleSoftcopyPresentationStateStorage, "Grayscale Softcopy Presentation State"),
        (ComprehensiveSRStorage, "Comprehensive SR"),
        (EncapsulatedPDFStorage, "Encapsulated PDF"),
    ],
)
def test_objects_without_pixels_do_not_stop_a_patient(tmp_path, kind, said, uid):
    series(tmp_path / "anna")
    write_object(tmp_path / "anna" / "object.dcm", kind, SeriesInstanceUID=uid)
    found = find_scans(tmp_path, "axial")
    assert names(found) == {"anna"}
    assert found.refused == {}
    assert found.notes == {}
    assert found.left_aside == {tmp_path / "anna" / "object.dcm": f"holds no image ({said})"}


def test_a_corrupt_file_takes_the_series_of_its_folder_and_no_other(tmp_path):
    for uid in ("1.1", "1.2"):
        series(tmp_path / "anna" / uid[-1], uid)
    bad = next((tmp_path / "anna" / "2").iterdir())
    bad.write_bytes(bad.read_bytes()[:400])
    series(tmp_path / "bert", "1.3", "2")
    found = find_scans(tmp_path, "axial")
    assert names(found) == {"anna_1", "bert"}
    assert list(found.refused) == ["anna_2"]
    assert f"{bad.name}: cannot be read as DICOM" in found.refused["anna_2"]


def test_a_corrupt_file_among_two_series_is_named_and_both_are_warned_of(tmp_path):
    for uid in ("1.1", "1.2"):
        series(tmp_path / "anna", uid)
    (tmp_path / "anna" / "x.dcm").write_bytes(b"\0" * 128 + b"DICM")
    found = find_scans(tmp_path, "axial")
    assert names(found) == {"anna_1.1", "anna_1.2"}
    assert list(found.refused) == ["anna/x.dcm"]
    assert all("x.dcm beside its slices cannot be read" in found.notes[name][0] for name in names(found))


def test_two_studies_side_by_side_refuse_themselves(tmp_path):
    series(tmp_path / "good", "1.1", "1")
    series(tmp_path / "bad", "2.2", "2")
    series(tmp_path / "bad", "3.3", "3")
    found = find_scans(tmp_path, "axial")
    assert names(found) == {"good"}
    assert list(found.refused) == ["bad"]


def test_two_series_of_one_number_and_a_converted_file_beside_its_folder_are_told_apart(tmp_path):
    for uid in ("1.1", "1.2"):
        series(tmp_path / "anna", uid, SeriesNumber=7)
    series(tmp_path / "s1", "1.3", "2")
    write_scan(tmp_path / "s1.nii.gz", picture())
    found = find_scans(tmp_path, "axial")
    assert names(found) == {"anna_1.1", "anna_1.2", "s1", "s1_2"}
    assert "another scan is called s1 as well" in found.notes["s1_2"][0]


def test_one_odd_row_of_cohort_csv_refuses_itself(tmp_path):
    for name in ("anna", "bert", "carl", "dora", "emil"):
        write_scan(tmp_path / f"{name}.nii.gz", picture())
    rows = [
        "case,patient,image,label,view",
        "anna,anna,anna.nii.gz,lost.nii.gz,axial",
        "bert,bert,bert.nii.gz,,sagittal",
        "carl,carl,nowhere.nii.gz,,axial",
        "dora,dora,dora.nii.gz,,axial,",
        "emil,emil,emil.nii.gz,,axial",
        "emil,emil,emil.nii.gz,,axial",
    ]
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    found = find_scans(tmp_path, "axial")
    assert names(found) == {"anna"}, "a label is not needed"
    assert set(found.refused) == {"bert", "carl", "line 5", "emil"}
    assert "view is 'sagittal'" in found.refused["bert"]


def test_channels_that_one_patient_lacks_refuse_him_alone(tmp_path):
    for name in ("aw", "af", "bw"):
        write_scan(tmp_path / f"{name}.nii.gz", picture())
    rows = "case,patient,image,contrast\naw,anna,aw.nii.gz,water\naf,anna,af.nii.gz,fat\nbw,bert,bw.nii.gz,water\n"
    (tmp_path / "cohort.csv").write_text(rows)
    found = find_scans(tmp_path, "axial", ["water", "fat"])
    assert names(found) == {"aw+af"}
    assert list(found.refused) == ["bert"]


def test_links_are_followed_and_other_formats_are_named(tmp_path):
    series(tmp_path / "elsewhere" / "carl")
    given = tmp_path / "in"
    write_scan(given / "anna.nii.gz", picture())
    (given / "carl").symlink_to(tmp_path / "elsewhere" / "carl")
    (given / "again").symlink_to(given)
    (given / "nowhere.nii.gz").symlink_to(tmp_path / "nothing")
    for name in ("bert.mgz", "bert.hdr", "bert.png", "bert.txt", ".hidden"):
        (given / name).write_bytes(b"x")
    found = find_scans(given, "axial")
    assert names(found) == {"anna", "carl"}
    assert {path.name: reason.partition(":")[0] for path, reason in found.left_aside.items()} == {
        "again": f"leads to the same folder as {given}",
        "nowhere.nii.gz": "is a link to nowhere, or no file",
        "bert.mgz": "is not read",
        "bert.hdr": "is not read",
        "bert.png": "is not read",
        "bert.txt": "is no image by itself",
    }


def test_a_file_of_a_format_that_is_not_read_is_refused_as_such(tmp_path):
    (tmp_path / "anna.mgz").write_bytes(b"x")
    (case,) = find_scans(tmp_path / "anna.mgz", "axial").cases
    with pytest.raises(
        ValueError, match=r"anna\.mgz: images of the format \.mgz are not read; convert it to \.nii\.gz"
    ):
        read_images(case, view="axial", has_sides=True)


def test_a_folder_called_images_may_hold_a_series(tmp_path):
    series(tmp_path / "images")
    assert names(find_scans(tmp_path, "axial")) == {"images"}


def test_relative_paths_of_series_work(tmp_path, monkeypatch):
    series(tmp_path / "in" / "anna" / "s1")
    monkeypatch.chdir(tmp_path / "in")
    for path, name, patient in [("anna", "s1", "s1"), (".", "anna_s1", "anna"), ("../in/anna/s1", "s1", "s1")]:
        found = find_scans(Path(path), "axial")
        (case,) = found.cases
        assert (case.case, case.patient) == (name, patient)
        for headers in (found.series[name], None):  # as predicted, and as a row of a cohort would be read
            ((volume,),) = read_images(case, view="axial", has_sides=True, series=headers)
            assert volume.voxels.shape == picture().shape


@pytest.mark.parametrize("listed", [False, True], ids=["a folder", "rows of cohort.csv"])
def test_every_header_is_read_once(tmp_path, monkeypatch, listed):
    for number in range(3):
        series(tmp_path / "all", f"1.{number}")
    if listed:
        rows = "".join(f"{number},anna,all,1.{number}\n" for number in range(3))
        (tmp_path / "cohort.csv").write_text(f"case,patient,image,series\n{rows}")
    read, original = [], dicom_series.read_header

    def counted(path):
        read.append(path)
        return original(path)

    monkeypatch.setattr(dicom_series, "read_header", counted)
    found = find_scans(tmp_path, "axial")
    assert len(found.cases) == 3
    for case in found.cases:
        read_images(case, view="axial", has_sides=True, series=found.series[case.case])
    assert len(read) == len(set(read)) == 9


TIMES = """
import json, sys, time
from pathlib import Path
import SimpleITK as sitk
from datamodules.reading.folder_walk import walk
from datamodules.reading.scan_list import find_scans
reading, listing = [], []
for _ in range(3):  # the best of each in turn: other work on the machine comes and goes
    start = time.perf_counter()
    files = walk(Path(sys.argv[1])).files
    for path in files:
        sitk.ReadImage(str(path))
    reading.append(time.perf_counter() - start)
    start = time.perf_counter()
    found = find_scans(Path(sys.argv[1]), "axial")
    listing.append(time.perf_counter() - start)
    assert len(files) == 480 and len(found.cases) == 12
print(json.dumps([min(reading), min(listing)]))
"""


@pytest.mark.slow
def test_listing_takes_at_most_half_as_long_again_as_reading(tmp_path):
    for number in range(12):
        big = np.random.default_rng(number).integers(0, 4000, (40, 256, 256))
        write_series(tmp_path / str(number), big, tilt=STILL, height_mm=0, first=1, series=f"1.{number}")
    words = [sys.executable, "-c", TIMES, str(tmp_path)]  # as people run it: tests check every array's shape as well
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    reading, listing = json.loads(printed)
    assert listing < 1.5 * reading


@pytest.mark.skipif(not PREPARED.is_dir(), reason="the odd files are not part of the repository")
def test_prepared_folders_give_these_scans():
    found = find_scans(PREPARED, "axial")
    assert {case.case.split("_1.2")[0] for case in found.cases} == {
        *(
            "dup_p1",
            "imagesdir_images",
            "iop_round3_p1",
            "ko_p1",
            "localizer_p1",
            "mosaic_p1",
            "onebad_p1_s1",
            "plain_p1",
        ),
        *("pr_p1", "samenumber_p1", "sbs_gap_p1", "sbs_zero_p1", "scout_p1", "thin_round_p1", "twostudies_good"),
    }
    assert len(found.cases) == 16
    assert set(found.refused) == {"onebad_p1_s2", "twostudies_bad"}
    assert {path.name for path in found.left_aside} == {"PR000001.dcm", "KO000001", "IM0001 (copy).dcm"}
    assert list_series([PREPARED / "README.md"]).series == []
