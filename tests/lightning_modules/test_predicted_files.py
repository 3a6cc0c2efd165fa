"""What task=predict leaves: every scan is listed, and every label map has a place of its own."""

import json
import os
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
import SimpleITK as sitk
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datamodules.reading.scan_list import find_scans
from lightning_modules.prediction import writing
from lightning_modules.prediction.output_folder import OutputFolder
from lightning_modules.prediction.sheet import draw_sheet
from lightning_modules.prediction.task import predict
from tests.conftest import compose_line
from tests.made.predicted_scans import picture, run_config, write_run, write_scan


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, generated):
    folder = tmp_path_factory.mktemp("trained") / "run"
    return write_run(folder, run_config(folder, generated))


@pytest.fixture
def predicted(tmp_path, generated, checkpoint):
    """Runs task=predict on an input; returns the folder that it wrote and what it refused."""

    def run(given, output="predicted"):
        refused = ""
        try:
            line = ("task=predict", f"checkpoint={checkpoint}", f"input='{given}'")
            predict(compose_line(tmp_path / output, generated, *line))
        except ValueError as error:
            refused = str(error)
        return tmp_path / output, refused

    return run


def test_an_earlier_prediction_is_no_patient(tmp_path, predicted):
    write_scan(tmp_path / "in" / "anna.nii.gz", picture())
    for _ in range(2):
        folder, refused = predicted(tmp_path / "in", output="in/predictions")
        assert refused == ""
        assert pd.read_csv(folder / "scans.csv")["case"].tolist() == ["anna"]
    left_aside = pd.read_csv(folder / "left_aside.csv")
    assert left_aside["reason"].tolist() == ["holds what an earlier prediction wrote"]
    # Also one that was killed in its midst.
    (folder / "anna" / "extra").mkdir()
    left = OutputFolder(tmp_path / "in" / "killed").file("anna", "anna", ".nii.gz")
    left.write_bytes(b"x")
    assert {case.case for case in find_scans(tmp_path / "in", "axial").cases} == {"anna"}
    OutputFolder(tmp_path / "in" / "killed")
    assert not left.exists(), "it is replaced like a finished one"


def test_what_was_read_left_aside_and_refused_is_listed_at_the_end(tmp_path, predicted, caplog, monkeypatch):
    for name in ("anna", "dora"):
        write_scan(tmp_path / "in" / f"{name}.nii.gz", picture())
    read_bytes = Path.read_bytes

    def locked(path):
        if path.name == "dora.nii.gz":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", locked)
    (tmp_path / "in" / "bert.png").write_bytes(b"x")
    (tmp_path / "in" / "carl.nii.gz").write_bytes(b"x")
    folder, refused = predicted(tmp_path / "in")
    assert "2 scan(s) could not be predicted" in refused
    assert "carl" in refused
    assert "dora: [Errno 13] Permission denied" in refused
    assert "left aside, is not read: a picture" in caplog.text
    scans = pd.read_csv(folder / "scans.csv", keep_default_na=False).set_index("case")
    assert scans.loc["anna", "refused"] == ""
    assert "truncated or corrupt" in scans.loc["carl", "refused"]
    assert scans.loc["anna", "source"].endswith("in/anna.nii.gz")


TWINS = ["scan $1", "scan_1", "患者一", "患者二", ".."]


def test_label_maps_are_unique_whole_visible_and_inside(tmp_path, predicted, monkeypatch):
    """Every case of cohort.csv gets a file of its own, and morphometry.csv names it."""

    def draw_few(blocks, anatomy, path, *, title, notice):
        if title in ("scan $1", "患者一"):  # no formula; letters that the font lacks
            return draw_sheet(blocks, anatomy, path, title=title, notice=notice)
        return path.write_bytes(b"")

    monkeypatch.setattr(writing, "draw_sheet", draw_few)
    write_scan(tmp_path / "in" / "scan.nii.gz", picture())
    rows = [f'"{name}","{name}",scan.nii.gz' for name in TWINS]
    (tmp_path / "in" / "cohort.csv").write_text("case,patient,image\n" + "\n".join(rows) + "\n", encoding="utf-8")
    folder, refused = predicted(tmp_path / "in", output="deep/er/predicted")
    assert refused == ""
    table = pd.read_csv(folder / "morphometry.csv", keep_default_na=False)
    files = table.groupby("case", sort=False)["label_map"].unique()
    assert len(files) == len(TWINS)
    assert all(len(paths) == 1 for paths in files)
    paths = [folder / each[0] for each in files]
    assert len({os.path.realpath(path).lower() for path in paths}) == len(TWINS)
    for path in paths:
        assert path.resolve().is_relative_to(folder.resolve())
        assert not any(part.startswith(".") for part in path.relative_to(folder).parts)
        assert sitk.ReadImage(str(path)).GetSize() == (48, 40, 3)
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"er"}
    assert {"患者一.nii.gz", "患者二.nii.gz"} <= {path.name for path in paths}


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1, max_size=8, unique=True))
@example([("x" * 250, "x" * 250), ("x" * 251, "x" * 251), ("е" * 200, "е" * 200), ("е" * 201, "е" * 199)])
@example([("..", ".."), ("../..", "/"), (".", "💀"), ("A b", "A b"), ("a_b", "a_b"), ("a_B", "á"), ("a_B", "a\u0301")])
def test_any_names_make_files_of_their_own(tmp_path_factory, pairs):
    folder = OutputFolder(tmp_path_factory.mktemp("out") / "predicted")
    paths = [folder.file(patient, name, ".nii.gz") for patient, name in pairs]
    known = {unicodedata.normalize("NFKC", str(path)).casefold() for path in paths}
    assert len(known) == len(pairs)
    for path in paths:
        path.write_bytes(b"")
        assert path.parent.parent == folder.path
        assert path.name.endswith(".nii.gz")
        assert not path.name.startswith(".")
    assert json.loads((folder.path / "run_card.json").read_text())["files"] == [
        *(path.relative_to(folder.path).as_posix() for path in paths),
        "run_card.json",
    ]
