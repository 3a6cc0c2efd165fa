"""What a network costs and is shown, counted by hand where that is possible."""

import json
from dataclasses import replace
from types import SimpleNamespace

import lightning
import pandas as pd
import pytest
import torch
from torch import nn

from callbacks.cost import Cost, count_flop
from callbacks.epoch_table import EpochTable
from callbacks.training_curves import draw_curves
from lightning_modules.segmentation import SegmentationModule
from lightning_modules.tasks import training
from models.bs_esnet.bsn import OrganDetectors
from tests.conftest import TINY_PHANTOM, UNDRAWN
from tests.made.batches import random_batch

SMOKE = (*TINY_PHANTOM, *UNDRAWN, "trainer=smoke", "scale.epochs=2", "experiment=unet")
MIXED = (*SMOKE[:-1], "experiment=scarnet", "phantom.masked_patients=6", "phantom.spacing_mm=4.4")
MEASURED = {"parameters", "flop_per_image", "ms_per_image", "timed_batch_size", "peak_memory_mb", "peak_memory_of"}
MEASURED |= {"cell_low_mm", "cell_bottleneck_mm"}


class OneLayer(lightning.LightningModule):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, batch):
        return self.layer(batch.image)


@pytest.mark.parametrize(
    ("layer", "multiply_adds"),
    [
        (nn.Conv2d(1, 5, 3, padding=1), 32 * 32 * 5 * 9),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 6, 1, groups=2)), 32 * 32 * (4 + 6 * 2)),
        (nn.ConvTranspose2d(1, 3, 2, stride=2), 32 * 32 * 3 * 4),
        (nn.Sequential(nn.Flatten(), nn.Linear(1024, 7)), 1024 * 7),
    ],
    ids=["convolution", "groups", "transposed", "dense"],
)
def test_a_multiply_add_counts_as_two(layer, multiply_adds):
    assert count_flop(OneLayer(layer), random_batch(num_slices=1)) == 2 * multiply_adds


def test_a_compiled_network_costs_what_it_costs_uncompiled():
    layer = nn.Conv2d(1, 5, 3, padding=1)
    expected = count_flop(OneLayer(layer), random_batch(num_slices=1))
    layer.compile(backend="eager")
    assert count_flop(OneLayer(layer), random_batch(num_slices=1)) == expected


def test_detectors_run_as_one_cost_as_many_as_they_are():
    masks = torch.rand(1, 2, 16, 16)

    class Detectors(OneLayer):
        def forward(self, batch):
            return self.layer(masks[:, : self.layer.num_organs])

    one, two = (OrganDetectors(number, channels=(4, 8), hidden=16) for number in (1, 2))
    batch = random_batch()
    assert count_flop(Detectors(two), batch) == 2 * count_flop(Detectors(one), batch)


@pytest.mark.slow
def test_a_run_says_what_its_network_costs(composed, tmp_path):
    config = composed(*SMOKE, "trainer.limit_test_batches=1.0")
    training.train(config)
    model = json.loads((tmp_path / "run" / "summary.json").read_text())["model"]
    assert set(model) == MEASURED
    assert model["flop_per_image"] > 1e6
    assert 0 < model["ms_per_image"] < 1000
    assert model["timed_batch_size"] == 4
    assert model["peak_memory_of"] == "process"
    assert 50 < model["peak_memory_mb"] < 1e5
    # A U-Net joins features of every resolution, and pools four times.
    assert model["cell_low_mm"] == config.data.spacing_mm
    assert model["cell_bottleneck_mm"] == 16 * config.data.spacing_mm


@pytest.mark.slow
def test_a_test_alone_knows_nothing_of_the_memory_of_training(composed, tmp_path):
    training.train(composed(*SMOKE))
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    training.test(composed(*SMOKE, "task=test", f"checkpoint={best}", f"output={tmp_path / 'test'}"))
    trained, tested = (json.loads((tmp_path / name / "summary.json").read_text())["model"] for name in ("run", "test"))
    assert (tested["peak_memory_mb"], tested["peak_memory_of"]) == (None, None)
    assert tested["flop_per_image"] == trained["flop_per_image"]


@pytest.mark.slow
def test_a_run_says_how_many_steps_it_took_and_how_many_masks_it_saw(composed, tmp_path):
    """Two slices of a batch of four have a mask."""
    training.train(composed(*MIXED, "trainer.limit_test_batches=1"))
    train = json.loads((tmp_path / "run" / "summary.json").read_text())["train"]
    epochs = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert train["steps"] == epochs["num_steps"].sum() > 0
    assert train["num_images"] == epochs["num_images"].sum() == 4 * train["steps"]
    assert train["num_masked"] == epochs["num_masked"].sum() == 2 * train["steps"]


@pytest.mark.parametrize("world_size", [1, 2])
def test_masks_are_counted_over_batches_epochs_and_devices(tmp_path, world_size):
    """Other devices have as many masks as this one; no batch is read before the epoch ends."""
    table, module = EpochTable(str(tmp_path)), SimpleNamespace(device="cpu")
    summed = SimpleNamespace(reduce=lambda tensor, reduce_op: tensor * world_size if reduce_op == "sum" else None)
    trainer = SimpleNamespace(world_size=world_size, global_step=5, strategy=summed)
    for has_mask in ([True, True, False], [False, False, False], [True, False, True]):
        table.on_train_epoch_start(trainer, module)
        for _ in range(2):
            batch = replace(random_batch(num_slices=3), has_mask=torch.tensor(has_mask))
            trainer.global_step += 1
            table.on_train_batch_end(trainer, module, None, batch, 0)
        counts = {"num_steps": 2, "num_images": 6 * world_size, "num_masked": 2 * sum(has_mask) * world_size}
        assert table.counts(trainer) == counts


def test_an_epoch_that_was_not_validated_has_no_score_and_a_resumed_table_is_whole(tmp_path):
    """Lightning remembers the last value of everything."""
    module = SegmentationModule.__new__(SegmentationModule)
    module.objective, module._device = SimpleNamespace(terms={}, active_terms={}), torch.device("cpu")
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}])
    one_device = SimpleNamespace(reduce=lambda tensor, reduce_op: tensor)
    trainer = SimpleNamespace(
        **{"world_size": 1, "global_step": 1, "strategy": one_device, "optimizers": [optimizer]},
        **{"is_global_zero": True, "callback_metrics": {"loss/total": 1.0, "val/dice": 0.9}},
    )
    table = EpochTable(str(tmp_path))
    for epoch in range(4):
        trainer.current_epoch = epoch
        table.on_train_epoch_start(trainer, module)
        if epoch % 2:
            table.on_validation_end(trainer, module)
        table.on_train_epoch_end(trainer, module)
    whole = (tmp_path / "metrics.csv").read_text()
    epochs = pd.read_csv(tmp_path / "metrics.csv")
    assert epochs["val/dice"].isna().tolist() == [True, False, True, False]
    assert epochs["loss/total"].notna().all()
    (tmp_path / "metrics.csv").write_text("")
    resumed = EpochTable(str(tmp_path))
    resumed.load_state_dict(table.state_dict())
    resumed.on_fit_start(trainer, module)
    assert (tmp_path / "metrics.csv").read_text() == whole
    (tmp_path / "metrics.csv").write_text("")
    with pytest.raises(ValueError, match=r"metrics\.csv is empty or cut off.*retrain=true"):
        EpochTable(str(tmp_path)).on_train_start(trainer, module)


def test_the_peak_outlives_an_interruption():
    before, after = Cost(), Cost()
    before.load_state_dict({"peak_mb": 123.0, "peak_of": "device"})
    after.load_state_dict(before.state_dict())
    summary = after.summary()
    assert (summary["peak_memory_mb"], summary["peak_memory_of"]) == (123.0, "device")
    assert summary["ms_per_image"] is None


@pytest.mark.slow
def test_every_structure_is_logged_and_the_curves_show_the_means_alone(composed, tmp_path):
    training.train(composed(*SMOKE, "trainer.limit_val_batches=1.0"))
    epochs = pd.read_csv(tmp_path / "run" / "metrics.csv")
    structures = [name for name in epochs.columns if name.startswith("val/dice/")]
    assert len(structures) == 9
    assert epochs[structures].mean(axis=1).tolist() == pytest.approx(epochs["val/dice"].tolist(), abs=1e-6)
    losses, scores = draw_curves(epochs).axes
    shown = {line.get_label(): line.get_ydata() for line in scores.get_lines()}
    assert set(shown) == {"dice", "box_iou", "score"}
    assert list(shown["dice"]) == pytest.approx(list(100 * epochs["val/dice"])), "percent where people read"
    assert {line.get_label() for line in losses.get_lines()} == {"total", "segmentation"}
