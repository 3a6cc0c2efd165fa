"""`records.load_run`: a finished run in one line, for a notebook."""

import sys
from subprocess import run

import numpy as np
import pandas as pd
import pytest

import records
from records.predictions import Predictions
from tests.conftest import ROOT
from tests.made.run_folders import write_grid, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("runs") / "bs_esnet"
    return write_run(made, num_patients=8, predictions=True, arms={"annotated": 0.1})


def test_everything_that_a_run_left(folder):
    run = records.load_run(str(folder))
    assert (run.row, run.fold, run.arm) == ("bs_esnet", 0, "")
    assert set(run.cases["structure"]) == set(run.config["anatomy"]["structures"])
    assert run.epochs is not None
    assert len(run.epochs) == run.config["scale"]["epochs"]
    assert run.card["choices"]["experiment"] == "bs_esnet"
    assert run.summary["test"]["num_slices"] == len(run.predictions)
    assert run.parts is not None
    assert {"train", "test"} <= set(run.parts["part"])


def test_slices_are_read_when_they_are_asked_for(folder):
    predictions = records.load_run(folder).predictions
    (case, number), path = predictions.index.loc[1, ["case", "slice"]], predictions.paths[1]
    with np.load(path) as stored:
        expected = dict(stored)
    for found in (predictions[1], predictions.of(case, number), list(predictions)[1]):
        assert set(found) == set(expected)
        assert np.array_equal(found["predicted_mask"], expected["predicted_mask"])
    with pytest.raises(ValueError, match=r"no predictions of case nobody, slice 0"):
        predictions.of("nobody", 0)


def test_a_damaged_slice_is_named(folder, tmp_path):
    (tmp_path / "predictions").mkdir()
    index = pd.read_csv(folder / "predictions" / "index.csv")
    index.to_csv(tmp_path / "predictions" / "index.csv", index=False)
    with pytest.raises(ValueError, match=rf"{index['file'][0]} cannot be read"):
        Predictions(tmp_path)[0]


def test_an_arm(folder):
    run, arm = records.load_run(folder), records.load_run(folder, arm="annotated")
    assert arm.cases["dice"].mean() < run.cases["dice"].mean()
    assert len(arm.predictions) == 0
    with pytest.raises(ValueError, match=r"has no arm 'shuffled'; it has annotated"):
        records.load_run(folder, arm="shuffled")


def test_what_is_no_finished_run_is_said(folder, tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        records.load_run(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"it has no config\.yaml"):
        records.load_run(tmp_path)
    (grid,) = {path.parent for path in write_grid(tmp_path / "grid", ("unet",), num_patients=4)}
    with pytest.raises(ValueError, match="it holds the runs unet-f0-s0, unet-f1-s0"):
        records.load_run(grid)
    (grid / "unet-f0-s0" / "summary.json").unlink()
    with pytest.raises(ValueError, match=r"unet-f0-s0: not finished"):
        records.load_run(grid / "unet-f0-s0")


def test_a_table_that_was_cut_off_is_said_in_the_log(tmp_path, caplog):
    folder = write_run(tmp_path / "run", num_patients=4)
    (folder / "confusion.csv").write_text("case,patient")
    assert records.load_run(folder).readouts.confusion is None
    assert "confusion.csv is empty" in caplog.text


def test_the_room_itself_waits_for_nothing():
    """run.py asks it for the name of a folder before anything heavy is imported."""
    told = run(
        [sys.executable, "-c", "import sys, records, records.registry; print('pandas' in sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "False"
    with pytest.raises(AttributeError, match="no attribute 'load_runs'"):
        _ = records.load_runs
