"""One run on two processes: the same weights on both, every case counted once, the metrics of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from lightning_modules.tasks import training
from tests.conftest import ROOT, TINY_PHANTOM, compose_line

pytestmark = pytest.mark.slow
SCHEDULE = ("callbacks.asynchronous_training.cycle={esnet: 1, bsn: 1}", "scale.epochs=4", "scale.joint_epochs=1")
COHORT = (*TINY_PHANTOM, "phantom.num_patients=5", "phantom.levels=[L2/3,L4/5,L5/S1]")
LINE = (
    *(*COHORT, "trainer=smoke", *SCHEDULE, "trainer.limit_test_batches=1.0", "trainer.limit_val_batches=1.0"),
    "objective.undo_class_weights=false",  # with them a network of so few steps predicts something
)
TWO = ("machine.devices=2", "trainer.strategy=ddp_find_unused_parameters_true")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, generated) -> Path:
    """A run of BS-ESNet on two processes."""
    folder = tmp_path_factory.mktemp("two") / "run"
    places = (f"hydra.run.dir={folder}", f"paths.data={generated}", f"paths.cache={generated}/cache", "logger=csv")
    hashes = ("+callbacks.ranks._target_=tests.made.ranks.RankHashes", f"+callbacks.ranks.folder={folder}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    command = [sys.executable, "run.py", *LINE, *TWO, *places, *hashes]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_ranks_stay_equal_and_resting_parts_rest(trained):
    epochs = json.loads((trained / "ranks.json").read_text())
    assert len(epochs) == 4
    assert all(len(ranks) == 2 for ranks in epochs)
    for ranks in epochs:
        assert ranks[0] == ranks[1]
    joint, esnet, bsn, tail = (ranks[0] for ranks in epochs)
    assert joint["bsn"] == esnet["bsn"] != bsn["bsn"]
    assert joint["esnet"] != esnet["esnet"] == bsn["esnet"] == tail["esnet"]
    assert joint["encoder"] != esnet["encoder"] == bsn["encoder"]


def test_every_case_is_counted_once_and_one_process_scores_the_same(trained, generated, tmp_path):
    cases = pd.read_csv(trained / "cases.csv")
    assert not cases.duplicated(["case", "slice", "structure"]).any()
    best = trained / "checkpoints" / "best.ckpt"
    training.test(compose_line(tmp_path / "test", generated, *LINE, "task=test", f"checkpoint={best}"))
    alone = pd.read_csv(tmp_path / "test" / "cases.csv")
    assert len(alone["case"].unique()) == 3, "an odd number, which two processes cannot share evenly"
    pd.testing.assert_frame_equal(cases, alone, rtol=1e-4)
    measures = [pd.read_csv(folder / "morphometry.csv") for folder in (trained, tmp_path / "test")]
    pd.testing.assert_frame_equal(*measures, rtol=1e-4)
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (trained, tmp_path / "test")]
    assert summaries[0]["test"]["num_slices"] == summaries[1]["test"]["num_slices"]
    train = summaries[0]["train"]
    assert train["num_images"] == train["num_masked"] == 4 * 8
    assert train["steps"] == 8, "a batch of four is shared by both processes"


def test_two_processes_validate_as_one(trained, generated, tmp_path):
    best = trained / "checkpoints" / "best.ckpt"
    epoch = torch.load(best, weights_only=True)["epoch"]
    by_two = pd.read_csv(trained / "metrics.csv").set_index("epoch").loc[epoch]
    config = compose_line(tmp_path / "one", generated, *LINE)
    config.callbacks = {}  # nothing is recorded of it
    data, module, trainer = training.build(config)
    trainer.validate(module, data, ckpt_path=best, weights_only=True, verbose=False)
    by_one = {name: float(value) for name, value in trainer.callback_metrics.items()}
    names = [name for name in by_one if name.startswith("val/") and name != "val/score"]  # which is smoothed
    assert {"val/dice", "val/box_iou", "val/dice/disc"} <= set(names)
    assert by_one["val/dice"] > 0
    assert by_two[names].tolist() == pytest.approx([by_one[name] for name in names], rel=1e-4, nan_ok=True)
