"""Fixtures that several test files share."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import run  # noqa: F401  registers the resolver of cell names
from tests.made.compositions import composed_once
from tests.made.processes import end_all

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
TINY_PHANTOM = ("phantom.num_patients=8", "phantom.size=64", "phantom.spacing_mm=3.0", "cohort.num_workers=1")

# What only draws takes more than half of a short run; the tests of other things do without.
DRAWS = ("augmentation_sheet", "overlays", "training_curves", "keypoint_sheet", "wandb_review")
UNDRAWN = tuple(f"~callbacks.{name}" for name in DRAWS)

gc.disable()  # while everything is imported, of which nothing is garbage
torch.set_num_threads(1)  # the tests run in two processes on two cores


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def conf_is_composed_once() -> Iterator[None]:
    with composed_once():
        yield


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    end_all()


def compose_line(output: Path, generated: Path, *overrides: str) -> DictConfig:
    """Composes the configuration of a command line."""
    base = [f"output={output}", f"paths.data={generated}", f"paths.cache={generated}/cache", "logger=csv"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", overrides=[*base, *overrides])


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, which is closed: one left open is reported by whichever test comes next."""
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tests keep generated cohorts and preprocessed arrays, shared by all tests of all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "generated"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def composed(generated: Path, tmp_path: Path):
    """`compose_line` into the run folder `tmp_path / "run"`, unless another `output` is given."""
    return lambda *overrides: compose_line(tmp_path / "run", generated, *overrides)
