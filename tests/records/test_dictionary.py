"""docs/records.md is the data dictionary: of every table exactly the columns that are written, in both directions."""

import json
import re

import pandas as pd
import pytest

from datamodules.splits.split import IMAGE
from lightning_modules.evaluation.prediction_files import PredictionFolder
from lightning_modules.grid.grid_status import COLUMNS as GRID
from lightning_modules.tasks import training
from lightning_modules.tasks.initial_weights import Taken
from metrics.cases import CASE_COLUMNS, STATUSES
from metrics.keypoints import KEYPOINT_COLUMNS
from metrics.levels import CONFUSION_COLUMNS, SLICE
from metrics.morphometry import MORPHOMETRY_COLUMNS
from metrics.regions import REGION_COLUMNS
from metrics.spine_shape import SPINE_MEASURES
from records.predictions import Predictions
from tests.callbacks.test_prediction_writer import small_slice
from tests.conftest import ROOT, TINY_PHANTOM, UNDRAWN
from tests.made.pages import sections
from tests.made.run_folders import write_run

PAGE = sections(ROOT / "docs" / "records.md")
TAKEN = Taken(path=ROOT, classes={}, weights=(), fresh=()).table()
RUN = {
    "cases.csv": CASE_COLUMNS,
    "morphometry.csv": (*MORPHOMETRY_COLUMNS, *SPINE_MEASURES),
    "keypoints.csv": ("case", "patient", "level", "slice", "domain", *KEYPOINT_COLUMNS),
    "confusion.csv": (*SLICE, *CONFUSION_COLUMNS),
    "region_outputs.csv": (*SLICE, *REGION_COLUMNS),
    "split.csv": ("fold", "part", *IMAGE),
    "initial_weights.csv": TAKEN.columns,
    "grid_NAME.csv": GRID,
}


def columns_of(section):
    """Names in the first column of the tables of a section; "`a` and `b`, each with `_low`" are four."""
    found = []
    for cell in re.findall(r"^\| (`[^|]+) \|", PAGE[section], re.MULTILINE):
        names, _, ends = cell.partition(", each with ")
        own = re.findall(r"`([^`]+)`", names)
        found += [name + end for name in own for end in ("", *re.findall(r"`([^`]+)`", ends))]
    return found


@pytest.mark.parametrize("file", RUN)
def test_a_table_of_a_run_has_the_columns_that_are_said(file):
    said = set(columns_of(file)) - (set(STATUSES) if file == "cases.csv" else set())
    assert said == set(RUN[file])


def test_predictions_hold_what_is_said(tmp_path):
    folder = PredictionFolder(tmp_path)
    folder.add(small_slice(0, "a"))
    folder.finish()
    predictions = Predictions(tmp_path)
    assert set(columns_of("predictions/")) == set(predictions[0])
    assert all(f"`{name}`" in PAGE["predictions/"] for name in predictions.index.columns)


@pytest.mark.parametrize(
    "file",
    sorted((ROOT / "tests" / "reports" / "golden").rglob("*.csv")),
    ids=lambda file: f"{file.parent.name}-{file.stem}",
)
def test_a_table_of_a_report_has_the_columns_that_are_said(file):
    """Of the golden reports, which have every table."""
    section = f"{file.name} of a report" if f"{file.name} of a report" in PAGE else file.name
    if file.stem == "region_outputs":
        assert "columns of `regions.csv`" in PAGE[section]
        section = "regions.csv"
    table = pd.read_csv(file)
    # Of a long table a hash is kept for each of its columns.
    assert set(columns_of(section)) == set(table["column"] if "sha256" in table else table.columns)


def test_epochs_and_summary_are_those_that_are_said(tmp_path):
    """Of a run as the tests make it; those of a training itself are looked at below."""
    folder = write_run(tmp_path / "run", num_patients=4)
    names = set(pd.read_csv(folder / "metrics.csv").columns)
    assert {name for name in names if not said_of_epochs(name)} == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [["experiment=bs_esnet"], ["experiment=scarnet", "phantom.masked_patients=6", "phantom.spacing_mm=4.4"]],
    ids=str,
)
def test_a_training_leaves_what_is_said(line, composed, tmp_path):
    training.train(composed(*TINY_PHANTOM, *UNDRAWN, "trainer=smoke", "trainer.limit_test_batches=1.0", *line))
    folder = tmp_path / "run"
    listed = re.findall(r"`([\w./]+)`", "".join(re.findall(r"^\| (`[^|]+) \|", PAGE["The run folder"], re.MULTILINE)))
    left = {path.name + "/" * path.is_dir() for path in folder.iterdir()}
    assert left <= {*listed, "arms/"}, "docs/records.md lists every file"
    assert {name for name in pd.read_csv(folder / "metrics.csv").columns if not said_of_epochs(name)} == set()
    summary = json.loads((folder / "summary.json").read_text())
    assert all(f"`{name}`" in PAGE["summary.json"] for name in summary["model"])
    card = json.loads((folder / "run_card.json").read_text())
    assert all(f"`{name}`" in PAGE["run_card.json"] for name in card)


def said_of_epochs(name):
    patterns = [re.sub(r"<\w+>", ".+", column) for column in columns_of("metrics.csv")]
    return any(re.fullmatch(pattern, name) for pattern in patterns)
