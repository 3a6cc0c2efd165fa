"""Fixtures that several test files share."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import run  # noqa: F401  registers the resolver of cell names

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

torch.set_num_threads(1)  # the tests run in two processes on two cores


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tests keep generated cohorts and preprocessed arrays, shared by all of a worker's tests."""
    return tmp_path_factory.mktemp("generated")


@pytest.fixture
def composed(generated: Path, tmp_path: Path):
    """Composes the configuration of a command line; the run folder is `tmp_path / "run"` unless `output` is given."""

    def compose_line(*overrides: str) -> DictConfig:
        base = [f"output={tmp_path / 'run'}", f"paths.data={generated}", f"paths.cache={generated}/cache", "logger=csv"]
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose("config", overrides=[*base, *overrides])

    return compose_line
