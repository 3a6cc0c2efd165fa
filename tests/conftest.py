"""Fixtures that several test files share."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import run  # noqa: F401  registers the resolver of cell names

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
TINY_PHANTOM = ("phantom.num_patients=8", "phantom.size=64", "phantom.spacing_mm=3.0", "cohort.num_workers=1")

torch.set_num_threads(1)  # the tests run in two processes on two cores


def compose_line(output: Path, generated: Path, *overrides: str) -> DictConfig:
    """Composes the configuration of a command line."""
    base = [f"output={output}", f"paths.data={generated}", f"paths.cache={generated}/cache", "logger=csv"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", overrides=[*base, *overrides])


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tests keep generated cohorts and preprocessed arrays, shared by all of a worker's tests."""
    return tmp_path_factory.mktemp("generated")


@pytest.fixture
def composed(generated: Path, tmp_path: Path):
    """`compose_line` into the run folder `tmp_path / "run"`, unless another `output` is given."""
    return lambda *overrides: compose_line(tmp_path / "run", generated, *overrides)
