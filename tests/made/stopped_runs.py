"""Trainings that are stopped as a kill would, and whether those that went on ended as undisturbed ones."""

from collections.abc import Sequence
from pathlib import Path

import lightning
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from lightning_modules.tasks import training
from records.folder import RunFolder


class StopAt(lightning.Callback):
    """Ends the process's work as a kill would, at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise RuntimeError("killed")


def stop_at(step: int, config: DictConfig) -> None:
    """Begins a training in its run folder, and stops it at a step."""
    folder = RunFolder(config.output, config)
    with folder.locked():
        folder.claim()
    data, module, trainer = training.build(config)
    trainer.callbacks.append(StopAt(step))
    with pytest.raises(RuntimeError, match="killed"):
        trainer.fit(module, data)


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def assert_same_run(one: Path, other: Path, names: Sequence[str] = ("last", "best")) -> None:
    """Two runs have the same weights, scores and epochs, bit for bit."""
    for name in names:
        before, after = weights(one, name), weights(other, name)
        assert before.keys() == after.keys()
        different = [key for key, value in before.items() if not torch.equal(value, after[key])]
        assert not different, f"{name}.ckpt differs in {different}"
    pd.testing.assert_frame_equal(pd.read_csv(one / "cases.csv"), pd.read_csv(other / "cases.csv"))
    clocks = ["training_s", "images_per_s"]
    tables = [pd.read_csv(folder / "metrics.csv").drop(columns=clocks) for folder in (one, other)]
    pd.testing.assert_frame_equal(*tables)
