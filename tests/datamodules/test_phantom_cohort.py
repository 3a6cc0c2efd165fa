"""The cohort on disk: what is in it, that it is the same each time, and that nothing else is ever overwritten."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from datamodules.anatomy import Anatomy
from datamodules.phantom import PhantomSettings, phantom_cohort, write_cohort, write_into
from datamodules.phantom.canvas import LABELS
from datamodules.phantom.structures import labels_of
from tests.conftest import ROOT
from tests.made.grids import start

COARSE = {"size": 96, "spacing_mm": 2.0}
SMALL = PhantomSettings(num_patients=2, levels=("L2/3", "L5/S1"), slices_per_level=3, **COARSE)
MIXED = PhantomSettings(
    num_patients=3,
    view="sagittal",
    masked_patients=1,
    weak_contrast="T1",
    weak_spacing_mm=3.0,
    size=112,
    spacing_mm=2.5,
)
FILES = {"README.md", "cohort.csv", "labels.csv", "measurements.csv", "phantom.json"}
VOLUMES = ("image", "label", "second_rater", "fat_map")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_cohort(SMALL, tmp_path_factory.mktemp("phantom"), num_workers=2)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return write_into(MIXED, tmp_path_factory.mktemp("phantom") / "new" / "mixed", num_workers=2)


def hashes(folder):
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*.*")}


# --- on disk ---


def test_cohort_file_describes_every_block(written):
    table = pd.read_csv(written / "cohort.csv")
    assert list(table.case) == ["p000_L2-3", "p000_L5-S1", "p001_L2-3", "p001_L5-S1"]
    assert list(table.columns) == [
        *("case", "patient", *VOLUMES, "level", "view", "contrast", "site", "spacing", "age", "sex", "height_m"),
        *("weight_kg", "fat_fraction", "fascia_contrast", "quadratus_lumborum", "snr", "rater_noise", "variant"),
        "scoliosis_deg",
    ]
    assert table.spacing.isna().all()
    assert set(table.level) == {"L2/3", "L5/S1"}
    assert table.fat_fraction.between(0.02, 0.8).all()
    assert table.fascia_contrast.between(0, 1).all()
    for row in table.itertuples():
        files = [sitk.ReadImage(str(written / getattr(row, column))) for column in VOLUMES]
        assert {file.GetSize() for file in files} == {(96, 96, 3)}
        assert {file.GetDirection() for file in files} == {files[0].GetDirection()}
        assert [file.GetPixelID() for file in files] == [
            sitk.sitkUInt16,
            sitk.sitkUInt8,
            sitk.sitkUInt8,
            sitk.sitkFloat32,
        ]


def test_every_file_is_accounted_for(written):
    table = pd.read_csv(written / "cohort.csv")
    listed = {path for column in VOLUMES for path in table[column]}
    assert set(hashes(written)) == FILES | listed
    labels = pd.read_csv(written / "labels.csv")
    assert dict(zip(labels.structure, labels.id, strict=True)) == labels_of("posterior")
    assert "CC0" in (written / "README.md").read_text()


def test_header_places_left_on_the_patients_left(written):
    label = sitk.ReadImage(str(written / "labels/p000_L5-S1.nii.gz"))
    direction = np.array(label.GetDirection()).reshape(3, 3)
    np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(direction) == pytest.approx(1)
    array = sitk.GetArrayFromImage(label)

    def position(name):  # LPS: x grows toward the patient's left, y posterior, z up
        index = np.argwhere(array == LABELS[name]).mean(axis=0)[::-1]
        return np.array(label.TransformContinuousIndexToPhysicalPoint(index.tolist()))

    assert position("psoas_left")[0] > position("dural_sac")[0] > position("psoas_right")[0]
    assert position("multifidus_left")[1] > position("L5/S1")[1]


def test_measurements_are_those_of_the_label_files(written):
    table = pd.read_csv(written / "measurements.csv").set_index(["case", "structure", "quantity"])
    assert table.index.is_unique
    label = sitk.ReadImage(str(written / "labels/p001_L2-3.nii.gz"))
    middle = sitk.GetArrayFromImage(label)[1]
    ids = [LABELS["multifidus_left"], LABELS["multifidus_fat_left"]]
    row = table.loc[("p001_L2-3", "multifidus_left", "area")]
    assert row["value"] == pytest.approx(np.isin(middle, ids).sum() * 4.0)
    assert (row["unit"], row["level"], row["patient"]) == ("mm2", "L2/3", "p001")


def test_patients_without_masks_have_key_points_only(mixed):
    table = pd.read_csv(mixed / "cohort.csv").set_index("case")
    assert table.label.notna().tolist() == table.second_rater.notna().tolist() == [True, False, False]
    assert table.contrast.tolist() == ["T2", "T1", "T1"]
    assert table.site.tolist() == ["scanner_1", "scanner_2", "scanner_2"]
    assert len(list((mixed / "labels").iterdir())) == len(list((mixed / "second_rater").iterdir())) == 1
    assert sitk.ReadImage(str(mixed / table.image.iloc[1])).GetSpacing()[:2] == pytest.approx((3.0, 3.0))
    points = pd.read_csv(mixed / "keypoints.csv")
    assert points.groupby("case").supervision.unique().map(list).tolist() == [["mask"], ["keypoint"], ["keypoint"]]
    assert {"L1", "L5", "L1/2", "L5/S1"} <= set(points.structure)
    first = points.query("case == 'p000_sagittal' and structure == 'L3'").iloc[0]
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(mixed / "labels/p000_sagittal.nii.gz")))
    assert label[int(first.slice), round(first.row), round(first.col)] == LABELS["L3"]


def test_dixon_writes_water_and_fat_of_a_case(tmp_path):
    settings = PhantomSettings(num_patients=1, levels=("L4/5",), contrast="dixon", **COARSE)
    folder = write_into(settings, tmp_path / "dixon", num_workers=1)
    images = pd.read_csv(folder / "cohort.csv").image.iloc[0].split(";")
    assert images == ["images/p000_L4-5_water.nii.gz", "images/p000_L4-5_fat.nii.gz"]
    assert all((folder / image).is_file() for image in images)


# --- the same each time ---


@pytest.mark.parametrize("name", ["written", pytest.param("mixed", marks=pytest.mark.slow)])
def test_same_seed_same_bytes_for_any_number_of_workers(name, request, tmp_path):
    folder = request.getfixturevalue(name)
    again = write_into({"written": SMALL, "mixed": MIXED}[name], tmp_path / "again", num_workers=1)
    assert hashes(again) == hashes(folder)


def test_written_cohort_is_left_alone(written):
    before = {file: file.stat().st_mtime_ns for file in written.rglob("*")}
    assert write_cohort(SMALL, written.parent) == write_into(SMALL, written) == written
    assert {file: file.stat().st_mtime_ns for file in written.rglob("*")} == before
    assert [folder.name for folder in written.parent.iterdir()] == [written.name]
    card = json.loads((written / "phantom.json").read_text())
    assert PhantomSettings.from_mapping(card["settings"]) == SMALL


def test_failing_worker_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("datamodules.phantom.writer.sys.executable", "false")
    with pytest.raises(ChildProcessError, match="writes synthetic patients failed"):
        write_cohort(SMALL, tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_folders_are_refused(written, tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ValueError, match=r"is not empty and no phantom cohort; choose a new folder"):
        write_into(SMALL, tmp_path)
    with pytest.raises(ValueError, match=r"other settings \(seed: 0 -> 4; population.sex: any -> F\)"):
        write_into(replace(SMALL, seed=4, population=replace(SMALL.population, sex="F")), written)
    with pytest.raises(ValueError, match="num_workers is 0"):
        write_into(SMALL, tmp_path, num_workers=0)
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.jpg"]


# --- by the command ---


def run(folder, *words):
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "task=phantom", *words],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command_writes_into_the_named_folder_and_nowhere_else(written, tmp_path):
    (tmp_path / "out").mkdir()
    words = ("phantom.num_patients=2", "phantom.levels=[L2/3,L5/S1]", "phantom.slices_per_level=3")
    done = run(tmp_path, "output=out", *words, "phantom.size=96", "phantom.spacing_mm=2", "seed=0")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"{tmp_path / 'out'}: 2 synthetic patients, T2 axial_blocks, seed 0")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert hashes(tmp_path / "out") == hashes(written)


def test_the_command_needs_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert start("task=phantom") == 1
    told = capsys.readouterr().err
    assert "paraspine: task=phantom needs output=DIR" in told
    assert "Traceback" not in told
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_clean_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert start("task=phantom", "output=file/out", "phantom.num_patients=1") == 1
    told = capsys.readouterr().err
    assert "paraspine: file/out: the synthetic patients cannot be written there" in told
    assert "Traceback" not in told
    assert (tmp_path / "file").read_text() == "mine"


# --- as the default cohort ---


def anatomy(view, structures, **options):
    colours = dict.fromkeys(structures, "#000000")
    return Anatomy(name="mine", view=view, structures=structures, colours=colours, **options)


def test_entry_opens_the_written_cohort(written):
    nerves = anatomy("axial", ["canal", "lamina"], parts={"canal": ["dural_sac", "epidural_space"]})
    settings = {name: value for name, value in asdict(SMALL).items() if name != "seed"}
    cohort = phantom_cohort(anatomy=nerves, root=written.parent, settings=settings)
    assert cohort.root == written
    assert [case.level for case in cohort.cases] == ["L2/3", "L5/S1", "L2/3", "L5/S1"]
    ids = sitk.GetArrayFromImage(sitk.ReadImage(str(written / "labels/p000_L2-3.nii.gz")))
    counts = np.bincount(cohort.read(cohort.cases[0])[0].mask.ravel(), minlength=3)
    canal = np.isin(ids, [LABELS["dural_sac"], LABELS["epidural_space"]]).sum()
    assert counts[1:].tolist() == [canal, (ids == LABELS["lamina"]).sum()]


def test_key_points_that_an_anatomy_does_not_use_are_left_out(mixed):
    bodies = anatomy("sagittal", ["L3"], keypoints=["L3"])
    cohort = phantom_cohort(anatomy=bodies, root=mixed, settings=asdict(MIXED))
    assert [[point.structure for point in case.keypoints] for case in cohort.cases] == [["L3"]] * 3
    records = [cohort.read(case)[0] for case in cohort.cases]
    assert [record.has_mask for record in records] == [True, False, False]


def test_an_anatomy_of_the_other_view_is_refused(tmp_path):
    with pytest.raises(ValueError, match="anatomy mine has sagittal slices, the phantom's view is axial_blocks"):
        phantom_cohort(anatomy=anatomy("sagittal", ["L1"]), root=tmp_path, settings={})
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_a_killed_process_left_is_deleted_a_day_later(tmp_path):
    name = f".phantom-{SMALL.digest}"
    old, young = (tmp_path / f"{name}-{pid}" for pid in (1, 2))
    for folder in (old, young):
        (folder / "images").mkdir(parents=True)
    os.utime(old, (0, 0))
    write_cohort(SMALL, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([young.name, name.removeprefix(".")])
