import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import yaml

from datamodules.anatomy import Anatomy
from datamodules.phantom import PhantomSettings, phantom_cohort, write_cohort
from datamodules.phantom.block import Examination, block_geometry
from datamodules.phantom.canvas import LABELS
from datamodules.phantom.patient import draw_patient
from datamodules.phantom.templates import AREA_MM2, LEVELS

CONF = Path(__file__).parents[1] / "conf"
COARSE = {"size": 96, "spacing_mm": 2.0}
SMALL = PhantomSettings(num_patients=2, levels=("L2/3", "L5/S1"), slices_per_level=3, **COARSE)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_cohort(SMALL, tmp_path_factory.mktemp("phantom"), num_workers=2)


@pytest.fixture(scope="module")
def anatomy():
    facts = yaml.safe_load((CONF / "anatomy/axial9.yaml").read_text())
    facts.pop("_target_")
    return Anatomy(**facts)


def hashes(folder):
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*.*")}


# --- on disk ---


def test_cohort_file_describes_every_block(written):
    table = pd.read_csv(written / "cohort.csv")
    assert list(table.case) == ["p000_L2-3", "p000_L5-S1", "p001_L2-3", "p001_L5-S1"]
    assert list(table.columns) == [
        *("case", "patient", "image", "label", "level", "view", "contrast", "spacing", "age", "sex", "height_m"),
        *("weight_kg", "fat_fraction", "fascia_contrast", "quadratus_lumborum", "snr"),
    ]
    assert table.spacing.isna().all()
    assert set(table.level) == {"L2/3", "L5/S1"}
    assert table.fat_fraction.between(0.02, 0.8).all()
    assert table.fascia_contrast.between(0, 1).all()
    assert not table.quadratus_lumborum[table.level == "L5/S1"].any()
    for row in table.itertuples():
        image, label = sitk.ReadImage(str(written / row.image)), sitk.ReadImage(str(written / row.label))
        assert image.GetSize() == label.GetSize() == (96, 96, 3)
        assert image.GetPixelID() == sitk.sitkUInt16
        assert label.GetPixelID() == sitk.sitkUInt8
        assert image.GetDirection() == label.GetDirection()


def test_header_places_left_on_the_patients_left_and_tilts_the_block(written):
    label = sitk.ReadImage(str(written / "labels/p000_L5-S1.nii.gz"))
    direction = np.array(label.GetDirection()).reshape(3, 3)
    np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(direction) == pytest.approx(1)
    array = sitk.GetArrayFromImage(label)

    def position(name):  # LPS: x grows toward the patient's left, y posterior, z up
        index = np.argwhere(array == LABELS[name]).mean(axis=0)[::-1]
        return np.array(label.TransformContinuousIndexToPhysicalPoint(index.tolist()))

    assert position("psoas_left")[0] > position("dural_sac")[0] > position("psoas_right")[0]
    assert position("multifidus_left")[1] > position("disc")[1]
    tilt = np.degrees(np.arctan2(direction[2, 1], direction[1, 1]))
    assert tilt == pytest.approx(draw_patient(0, 0).disc_tilt_deg[3], abs=6)
    assert 15 < tilt < 40


def test_blocks_of_a_patient_lie_on_one_spine():
    examination = Examination.of(0, 0)
    centres = []
    for level in range(4):
        geometry = block_geometry(examination, level, 1, 96, 2.0)
        axes = np.array(geometry.direction).reshape(3, 3)
        centres.append(np.array(geometry.origin_mm) + axes @ np.array([95, 95, 0.0]))  # 47.5 pixels of 2 mm
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    np.testing.assert_allclose(steps, examination.patient.disc_distance_mm, atol=8)
    assert (np.diff(np.array(centres)[:, 2]) < -20).all()


def test_same_seed_same_bytes_for_any_number_of_workers(written, tmp_path):
    again = write_cohort(SMALL, tmp_path, num_workers=1)
    assert again.name == written.name
    assert hashes(again) == hashes(written)
    assert len(hashes(again)) == 1 + 2 * 4


def test_written_cohort_is_left_alone(written):
    before = {file: file.stat().st_mtime_ns for file in written.rglob("*")}
    assert write_cohort(SMALL, written.parent) == written
    assert {file: file.stat().st_mtime_ns for file in written.rglob("*")} == before
    assert [folder.name for folder in written.parent.iterdir()] == [written.name]


def test_settings_name_the_folder():
    digests = {replace(SMALL, **change).digest for change in ({}, {"seed": 1}, {"size": 100}, {"num_patients": 3})}
    assert len(digests) == 4


def test_failing_worker_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("datamodules.phantom.writer.sys.executable", "false")
    with pytest.raises(RuntimeError, match="exit code 1"):
        write_cohort(SMALL, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_patients": 0}, "num_patients is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"slices_per_level": 0}, "slices_per_level is 0"),
        ({"size": -3}, "size is -3"),
        ({"spacing_mm": 0.0}, "spacing_mm is 0.0"),
        ({"spacing_mm": float("nan")}, "spacing_mm is nan"),
        ({"spacing_mm": 12.0}, "spacing_mm is 12.0"),
        ({"levels": ("L2/3", "L6/S1")}, "levels are .*L6/S1.*expected some of L2/3"),
        ({"levels": ()}, "levels are"),
        ({"levels": ("L2/3", "L2/3")}, "each once"),
        ({"size": 64, "spacing_mm": 0.6}, "size 64 at spacing_mm 0.6 .*raise size"),
    ],
)
def test_impossible_settings_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_no_workers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="num_workers is 0"):
        write_cohort(SMALL, tmp_path, num_workers=0)


# --- as the default cohort ---


def test_config_maps_every_label_to_the_nine_organs(anatomy):
    labels = yaml.safe_load((CONF / "cohort/phantom.yaml").read_text())["cohort"]["labels"]
    assert set(labels) == set(LABELS.values())
    assert {name for name in labels.values() if name} == set(anatomy.structures)
    for name, label in LABELS.items():
        assert labels[label] in (name, None) or name in ("dural_sac", "epidural_space")


def test_entry_opens_the_written_cohort(anatomy, tmp_path):
    labels = yaml.safe_load((CONF / "cohort/phantom.yaml").read_text())["cohort"]["labels"]
    cohort = phantom_cohort(
        anatomy=anatomy, root=tmp_path, labels=labels, num_patients=1, levels=["L3/4"], num_workers=1, **COARSE
    )
    assert [case.case for case in cohort.cases] == ["p000_L3-4"]
    assert cohort.cases[0].level == "L3/4"


def test_sagittal_anatomy_is_refused(tmp_path):
    sagittal = Anatomy(name="vertebrae", view="sagittal", structures=["L1"], colours={"L1": "#000000"})
    with pytest.raises(ValueError, match="anatomy vertebrae has sagittal"):
        phantom_cohort(anatomy=sagittal, root=tmp_path, labels={1: "L1"})


def test_levels_are_those_of_the_templates():
    assert all(len(areas) == len(LEVELS) for areas in AREA_MM2.values())
