"""How the module validates: what is scored, what is logged, and what a run that goes on remembers."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn import functional as F

from lightning_modules.segmentation import SegmentationModule
from models.prediction import Prediction
from models.strides import Strides
from tests.made.batches import random_batch

NAMES = ("a", "b", "c")


class Fixed(nn.Module):
    """Answers with what it was given."""

    def __init__(self, prediction: Prediction) -> None:
        super().__init__()
        self.prediction, self.strides = prediction, Strides(low=1, bottleneck=1)

    def forward(self, image, boxes=None) -> Prediction:
        assert boxes is None, "validation shows no annotated boxes"
        return self.prediction


def perfect(batch, **more) -> Prediction:
    return Prediction(logits=F.one_hot(batch.mask, 4).movedim(-1, 1).float(), **more)


@pytest.fixture
def validated(composed, monkeypatch):
    """Validates batches by a network that answers so: the module, and what it logs."""

    def validate(prediction: Prediction, *batches, nominal=False, weights=None, metrics="default"):
        config = composed("experiment=unet", f"metrics={metrics}", f"anatomy.structures=[{','.join(NAMES)}]")
        objective = instantiate(config.objective)(num_classes=4)
        if weights is not None:
            objective.class_weights.copy_(torch.tensor(weights))
        module = instantiate(config.module)(
            network=Fixed(prediction), objective=objective, metrics=instantiate(config.metrics)
        ).eval()
        logged: dict[str, float] = {}
        monkeypatch.setattr(module, "log", lambda name, value, **_: logged.__setitem__(name, value))
        grid, numbers = SimpleNamespace(spacing_mm=1.5), torch.tensor([7, 7, 3, 3])
        data = SimpleNamespace(
            patient_numbers=numbers, store=SimpleNamespace(grid=grid), nominal_spacing=nominal, identity={}
        )
        monkeypatch.setattr(SegmentationModule, "data", data)
        for index, batch in enumerate(batches):
            assert module.validation_step(batch, index) is None, "nothing is brought to the pixels of the scans"
        module.on_validation_epoch_end()
        return module, logged

    return validate


def test_what_is_logged_has_the_names_that_tables_and_dashboards_know(validated):
    batch = random_batch()
    _, logged = validated(perfect(batch), batch)
    assert logged == dict.fromkeys((*(f"val/dice/{name}" for name in NAMES), "val/dice", "val/box_iou", "val/score"), 1)


def test_patients_count_once_and_the_score_is_made_of_what_is_chosen(validated):
    batch = random_batch()  # both slices of patient 7
    other = replace(random_batch(seed=1), mask=batch.mask, boxes=batch.boxes, index=torch.tensor([2, 3]))
    prediction = perfect(batch, boxes=torch.zeros(2, 3, 4))
    missed = replace(other, mask=batch.mask.roll(16, 1), boxes=batch.boxes)
    module, logged = validated(prediction, batch, missed, metrics="boxes")
    assert logged["val/box_iou"] == 0, "the network's own boxes"
    assert 0.5 <= logged["val/dice"] < 1
    assert logged["val/score"] == pytest.approx(logged["val/dice"] / 2)
    assert module.metrics.smoothed == logged["val/score"]


def test_the_prior_of_class_weights_is_undone_before_it_is_decided(validated):
    batch = random_batch()
    scores = perfect(batch).logits
    weighted = Prediction(logits=scores + torch.tensor([0.0, 3.0, 0.0, 0.0])[:, None, None])
    assert validated(weighted, batch)[1]["val/dice/a"] < 0.5
    assert validated(weighted, batch, weights=[1.0, 20.0, 1.0, 1.0])[1]["val/dice"] == 1


def test_undrawn_structures_are_merged_with_the_background(validated):
    batch = random_batch()
    partial = replace(
        batch, labelled=torch.tensor([[True, True, False, True]] * 2), mask=batch.mask * (batch.mask != 2)
    )
    _, logged = validated(perfect(batch), partial)
    assert logged["val/dice"] == 1
    assert torch.tensor(logged["val/dice/b"]).isnan()


def test_key_points_are_scored_in_millimetres_where_there_are_any(validated):
    batch = random_batch(num_keypoints=2)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    x, y = (batch.keypoints[..., axis, None, None] for axis in (0, 1))
    maps = torch.exp(-((columns - x - 1) ** 2 + (rows - y) ** 2) / 8)
    _, logged = validated(perfect(batch, heatmaps=maps), batch)
    assert logged["val/keypoint_error_mm"] == pytest.approx(1.5, abs=0.7), "a pixel to the right"
    assert "val/keypoint_error_mm" not in validated(perfect(batch, heatmaps=maps), batch, nominal=True)[1]


def test_a_run_that_goes_on_smooths_on(validated, caplog):
    batch = random_batch()
    module, _ = validated(perfect(batch), batch)
    checkpoint = {"state_dict": module.state_dict(), "optimizer_states": []}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["smoothed_score"] == 1
    assert not [name for name in checkpoint["state_dict"] if name.startswith("metrics")], "weights as ever"
    module.metrics.smoothed = None
    with caplog.at_level(logging.WARNING):
        module.on_load_checkpoint(checkpoint)
    assert module.metrics.smoothed == 1
    assert not caplog.text
    del checkpoint["smoothed_score"]
    module.on_load_checkpoint(checkpoint)
    assert module.metrics.smoothed is None
    assert "validated on the pixels of the scans" in caplog.text
