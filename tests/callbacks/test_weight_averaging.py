"""Averaged weights: in every checkpoint, and the same whether a training was interrupted or not."""

import numpy as np
import pytest
import torch

from callbacks.weight_averaging import moving_average
from lightning_modules.tasks import training
from records.folder import RunFolder
from tests.conftest import TINY_PHANTOM, compose_line
from tests.made.stopped_runs import stop_at

LINE = (*TINY_PHANTOM, "experiment=unet", "callbacks=averaged", "callbacks.averaged_weights.decay=0.5", "trainer=smoke")
SHORT = ("scale.epochs=2", "trainer.limit_val_batches=0", "trainer.limit_test_batches=0")


def saved(folder, name):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def differing(one, other):
    return [key for key, value in one.items() if not torch.equal(value, other[key])]


@pytest.mark.slow
def test_checkpoints_hold_the_average_and_an_interrupted_training_ends_at_the_same(tmp_path, generated, monkeypatch):
    monkeypatch.setattr(RunFolder, "forget_resumption", lambda folder: None)
    training.train(compose_line(tmp_path / "whole", generated, *LINE, *SHORT))
    stop_at(2, compose_line(tmp_path / "parts", generated, *LINE, *SHORT))
    training.train(compose_line(tmp_path / "parts", generated, *LINE, *SHORT))
    whole, parts = saved(tmp_path / "whole", "last"), saved(tmp_path / "parts", "last")
    assert not differing(whole["state_dict"], parts["state_dict"])
    assert not differing(whole["current_model_state"], parts["current_model_state"])
    best = saved(tmp_path / "whole", "best")["state_dict"]
    assert not differing(best, whole["state_dict"]), "the best is the average"
    assert differing(best, whole["current_model_state"]), "which the last step's weights are not"


@pytest.mark.parametrize("num_steps", [1, 30, 400])
def test_what_is_averaged_early_is_forgotten_soon(num_steps):
    """The weights that a network starts from have next to no share in the average, however short the training."""
    updated, share = moving_average(0.998), torch.ones(3)
    for step in range(1, num_steps + 1):
        share = updated(share, torch.zeros(3), torch.tensor(step))
    expected = np.prod([(1 + step) / (10 + step) for step in range(1, num_steps + 1)])
    np.testing.assert_allclose(share.numpy(), expected, rtol=1e-4)
    assert num_steps < 30 or share.max() < 1e-3
    torch.testing.assert_close(updated(torch.ones(3), torch.zeros(3), torch.tensor(100_000)), torch.full((3,), 0.998))
    assert updated(torch.tensor(4), torch.tensor(4), 10) == 4, "counters of batches are no decimals"
