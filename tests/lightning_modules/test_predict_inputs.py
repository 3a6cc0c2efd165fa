"""What a prediction takes, checkpoints and scans, and what it refuses: never a guess, never a silent gap."""

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
from omegaconf import OmegaConf

from datamodules.reading.scan_list import find_scans
from lightning_modules.prediction.members import load_members
from lightning_modules.prediction.task import predict, predict_scans
from lightning_modules.tasks.named_checkpoints import checkpoint_files
from tests.conftest import compose_line
from tests.made.predicted_scans import block_of, picture, run_config, write_run, write_scan, write_series

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path, generated):
    return write_run(tmp_path / "run", run_config(tmp_path / "run", generated))


def test_a_refused_scan_does_not_stop_the_others(tmp_path, generated, checkpoint):
    given = tmp_path / "in"
    write_scan(given / "anna.nii.gz", picture())
    write_scan(given / "bert" / "sagittal.nii.gz", picture(), view="sagittal")
    for view in ("axial", "sagittal"):
        write_scan(given / "dora" / f"{view}.nii.gz", picture(), view=view)
    (given / "carl").mkdir()
    (given / "carl" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM")
    line = ("task=predict", f"checkpoint={checkpoint}", f"input={given}")
    with pytest.raises(ValueError, match=r"2 scan\(s\) could not be predicted") as caught:
        predict(compose_line(tmp_path / "out", generated, *line))
    assert "slices are not axial" in str(caught.value)
    assert "broken.dcm: cannot be read" in str(caught.value)
    assert "dora" not in str(caught.value), "the other view of a patient is set aside"
    assert set(pd.read_csv(tmp_path / "out" / "morphometry.csv")["case"]) == {"anna", "dora_axial"}
    assert "Not measured" in (tmp_path / "out" / "bert" / "summary.html").read_text()
    refused = pd.read_csv(tmp_path / "out" / "scans.csv", keep_default_na=False).set_index("case")["refused"]
    assert set(refused[refused != ""].index) == {"bert_sagittal", "carl", "dora_sagittal"}


def test_listed_scans_of_another_view_are_left_to_its_network(tmp_path, generated, checkpoint):
    given, rows = tmp_path / "in", ["case,patient,view,image"]
    for view in ("axial", "sagittal"):
        write_scan(given / f"{view}.nii.gz", picture(), view=view)
        rows.append(f"{view},dora,{view},{view}.nii.gz")
    (given / "cohort.csv").write_text("\n".join(rows) + "\n")
    config, members = compose_line(tmp_path / "out", generated), load_members([checkpoint], CPU)
    found = find_scans(given, "axial")
    ended = predict_scans(config, members, found, tmp_path / "both", is_only_view=False)
    assert (list(ended.other_view), ended.refused) == (["sagittal"], [])
    assert list(pd.read_csv(tmp_path / "both" / "scans.csv")["case"]) == ["axial"]
    ended = predict_scans(config, members, found, tmp_path / "alone")
    assert "view is 'sagittal', the anatomy needs 'axial'" in ended.refused[0]
    (given / "cohort.csv").write_text("\n".join([rows[0], rows[2]]) + "\n")
    predict_scans(config, members, find_scans(given, "axial"), tmp_path / "none", is_only_view=False)
    assert not (tmp_path / "none").exists()


def test_unknown_orientation_and_missing_channels_are_refused(tmp_path, generated, checkpoint):
    flat = sitk.GetImageFromArray(picture()[0])
    sitk.WriteImage(flat, str(tmp_path / "flat.mha"))
    with pytest.raises(ValueError, match=r"does not say where the patient's left is; add the column orientation"):
        block_of(tmp_path / "flat.mha", load_members([checkpoint], CPU))
    config = run_config(tmp_path / "dixon", generated, "cohort.channels=[water,fat]")
    two = load_members([write_run(tmp_path / "dixon", config)], CPU)
    with pytest.raises(ValueError, match=r"1 image\(s\), but the network needs 2 \(water, fat\).*cohort\.csv"):
        block_of(write_scan(tmp_path / "scan.nii.gz", picture()), two)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda run: (run / "config.yaml").unlink(), r"config\.yaml is missing; network, anatomy, grid and channels"),
        (lambda run: (run / "config.yaml").write_text("anatomy: 1"), r"is no configuration of a run \(it lacks model"),
        (
            lambda run: OmegaConf.save(
                OmegaConf.merge(OmegaConf.load(run / "config.yaml"), {"model": {"width": 8}}), run / "config.yaml"
            ),
            r"holds another network than config\.yaml.*model\.width: 1 -> 8",
        ),
    ],
)
def test_a_run_folder_that_does_not_fit_is_refused(checkpoint, break_it, message):
    break_it(checkpoint.parent.parent)
    with pytest.raises(ValueError, match=message):
        load_members([checkpoint], CPU)


def test_members_that_disagree_are_refused(tmp_path, generated, checkpoint):
    config = run_config(tmp_path / "other", generated, "+cohort.slices=3")
    other = write_run(tmp_path / "other", config)
    with pytest.raises(ValueError, match=r"cannot be averaged; they differ in slices: all -> 3"):
        load_members([checkpoint, other], CPU)
    config.cohort.slices = "all"
    config.anatomy.structures = config.anatomy.structures[::-1]
    with pytest.raises(ValueError, match=r"they differ in structures: multifidus_left, .* -> erector_spinae_right"):
        load_members([checkpoint, write_run(tmp_path / "third", config)], CPU)


def test_checkpoints_are_named_in_several_ways(tmp_path, checkpoint):
    second = tmp_path / "second.ckpt"
    second.touch()
    both = [checkpoint, second]
    assert checkpoint_files(OmegaConf.create([str(path) for path in both]), "") == both
    assert checkpoint_files(f"{checkpoint}, {second}", "") == both
    assert checkpoint_files(str(tmp_path / "*" / "checkpoints" / "*.ckpt"), "") == [checkpoint]
    for given, message in [
        (None, "needs checkpoint=FILE"),
        ("nowhere.ckpt", "there is no such file"),
        (f"{second},{second}", "twice"),
    ]:
        with pytest.raises(ValueError, match=message):
            checkpoint_files(given, "needs checkpoint=FILE")


@pytest.mark.parametrize(
    ("given", "message"),
    [("", "needs input=FILE-or-FOLDER"), ("nowhere", "no such file or folder"), (".", "no scan in")],
)
def test_an_input_without_scans_is_refused(tmp_path, generated, checkpoint, given, message):
    (tmp_path / "empty").mkdir()
    path = tmp_path / "empty" / given if given else ""
    with pytest.raises(ValueError, match=message):
        predict(compose_line(tmp_path / "out", generated, "task=predict", f"checkpoint={checkpoint}", f"input={path}"))


def test_patients_of_a_folder(tmp_path):
    """Files, folders of files, a study over two folders, two studies of one folder, an export of two series."""
    write_scan(tmp_path / "in" / "anna.nii.gz", picture())
    write_scan(tmp_path / "in" / "bert" / "bert_L4-5.mha", picture())
    still = np.eye(3)
    for study, name, series in [
        ("1", "carl/a", "1.1"),
        ("1", "carl/b", "1.2"),
        ("2", "dora/x", "2.1"),
        ("3", "dora/y", "3.1"),
        ("4", "emil", "4.1"),
        ("4", "emil", "4.2"),
    ]:
        write_series(
            tmp_path / "in" / name, picture()[:1], tilt=still, height_mm=0, first=1, study=study, series=series
        )
    found = find_scans(tmp_path / "in", "axial")
    assert found.refused == {}
    assert {case.case: case.patient for case in found.cases} == {
        "anna": "anna",
        "bert_L4-5": "bert",
        "carl_a": "carl",
        "carl_b": "carl",
        "dora_x": "dora_x",
        "dora_y": "dora_y",
        "emil_4.1": "emil",
        "emil_4.2": "emil",
    }
    (alone,) = find_scans(tmp_path / "in" / "carl" / "a", "axial").cases
    assert (alone.case, alone.patient) == ("a", "a")
    write_series(tmp_path / "in" / "emil", picture()[:1], tilt=still, height_mm=0, first=9, study="5", series="5.9")
    later = find_scans(tmp_path / "in", "axial")
    assert list(later.refused) == ["emil"]
    assert "holds the series of several studies side by side" in later.refused["emil"]
    assert [case.case for case in later.cases] == [each.case for each in found.cases if each.patient != "emil"]
