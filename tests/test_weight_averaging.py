"""Averaged weights: in every checkpoint, and the same whether a training was interrupted or not."""

import pytest
import torch

from lightning_modules import tasks
from lightning_modules.run_folder import RunFolder
from tests.conftest import TINY_PHANTOM, compose_line
from tests.test_run import StopAt

LINE = (*TINY_PHANTOM, "experiment=unet", "callbacks=averaged", "callbacks.averaged_weights.decay=0.5", "trainer=smoke")
SHORT = ("scale.epochs=2", "trainer.limit_val_batches=0", "trainer.limit_test_batches=0")


def saved(folder, name):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def differing(one, other):
    return [key for key, value in one.items() if not torch.equal(value, other[key])]


@pytest.mark.slow
def test_checkpoints_hold_the_average_and_an_interrupted_training_ends_at_the_same(tmp_path, generated, monkeypatch):
    monkeypatch.setattr(RunFolder, "forget_resumption", lambda folder: None)
    tasks.train(compose_line(tmp_path / "whole", generated, *LINE, *SHORT))
    config = compose_line(tmp_path / "parts", generated, *LINE, *SHORT)
    with RunFolder(config.output, config).locked():
        RunFolder(config.output, config).claim()
    data, module, trainer = tasks.build(config)
    trainer.callbacks.append(StopAt(2))
    with pytest.raises(RuntimeError, match="killed"):
        trainer.fit(module, data)
    tasks.train(compose_line(tmp_path / "parts", generated, *LINE, *SHORT))
    whole, parts = saved(tmp_path / "whole", "last"), saved(tmp_path / "parts", "last")
    assert not differing(whole["state_dict"], parts["state_dict"])
    assert not differing(whole["current_model_state"], parts["current_model_state"])
    best = saved(tmp_path / "whole", "best")["state_dict"]
    assert not differing(best, whole["state_dict"]), "the best is the average"
    assert differing(best, whole["current_model_state"]), "which the last step's weights are not"
