"""Real processes, really killed: the same command goes on, and Ctrl-C is not success."""

import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.conftest import TINY_PHANTOM
from tests.made.processes import started, wait_for

LINE = (
    *TINY_PHANTOM,
    "experiment=unet",
    "trainer=smoke",
    "scale.epochs=6",
    "data.samples_per_epoch=24",
    "model.width=8",
)


NO_REPORT = "hydra.callbacks.grid.report=null"


def start(folder: Path, generated: Path, *overrides: str) -> subprocess.Popen:
    words = [f"hydra.run.dir={folder}", f"paths.data={generated}", f"paths.cache={generated}/cache", *LINE, *overrides]
    return started(folder.parent, *words, OMP_NUM_THREADS="1")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGKILL", -9), ("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_an_interrupted_process_goes_on_by_the_same_command(tmp_path, generated, name, code):
    folder = tmp_path / "run"
    process = start(folder, generated, "logger=csv")
    wait_for(process, folder, "checkpoints/last.ckpt")
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in output
    said = [line for line in output.splitlines() if line.startswith("paraspine: ")]
    assert len(said) == (name != "SIGKILL")
    assert all(name in line for line in said)
    assert not (folder / "summary.json").exists(), "it was meant to be stopped in the middle"
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert 0 <= saved["epoch"] < 6
    again = start(folder, generated, "logger=csv")
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert "Traceback" not in output
    assert pd.read_csv(folder / "metrics.csv")["epoch"].tolist() == list(range(6))
    assert (folder / "summary.json").exists()


@pytest.mark.slow
def test_wandb_keeps_its_run_offline_in_the_run_folder(tmp_path, generated):
    """The default logger, from a folder that is not the checkout; nothing is written beside the run folder."""
    process = start(tmp_path / "run", generated, "scale.epochs=3", "data.samples_per_epoch=8", "experiment=bs_esnet")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    (kept,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    pictures = sorted(path.name for path in kept.rglob("*.png"))
    assert any("overlays" in name for name in pictures)
    assert any("curves" in name for name in pictures)
    assert any("augmentations" in name for name in pictures)


@pytest.mark.slow
def test_a_multirun_gives_every_fold_a_folder_of_its_own(tmp_path, generated):
    process = start(
        tmp_path / "run", generated, "logger=csv", "scale.epochs=2", "fold=0,1", "split=as_published", NO_REPORT, "-m"
    )
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "test patients are in training or validation, too" in output, (
        "the image-level split says how many patients are in training and test"
    )
    assert len(list((tmp_path / "grids").glob("none/unet-*/summary.json"))) == 2


@pytest.mark.slow
def test_a_mistake_ends_in_one_line_and_a_non_zero_exit_code(tmp_path, generated):
    process = start(tmp_path / "run", generated, "logger=csv", "fold=9")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in output
    (line,) = [line for line in output.splitlines() if line.startswith("paraspine: ")]
    assert "fold" in line
