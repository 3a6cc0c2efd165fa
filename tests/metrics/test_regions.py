"""Overlapping regions: which class they stand for, and their loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.losses.dice import DiceFocalLoss, DiceLoss
from torch.nn import functional as F

from lightning_modules.evaluation.evaluated import evaluate
from lightning_modules.evaluation.readouts import region_outputs
from lightning_modules.losses.regions import RegionDiceFocal
from lightning_modules.tasks.training import build_data
from metrics.regions import compose_regions, count_regions
from models.prediction import Prediction
from models.region_unet import RegionUNet, membership
from tests.conftest import TINY_PHANTOM, compose_line
from tests.made.batches import random_batch

STRUCTURES = ("muscle_left", "muscle_right", "fat_left", "fat_right")
REGIONS = {"overall_left": ("muscle_left", "fat_left"), "overall_right": ("muscle_right", "fat_right")}
OUTPUTS = ("overall_left", "muscle_left", "fat_left", "overall_right", "muscle_right", "fat_right")
MASK_FROM = ("overall_left", "fat_left", "overall_right", "fat_right")
NAMES = {"structures": STRUCTURES, "regions": REGIONS, "outputs": OUTPUTS}
EVEN = torch.ones(5)


def truth_of(mask):
    """Region masks by name, without the membership table."""
    drawn = {name: mask == index for index, name in enumerate(STRUCTURES, start=1)}
    regions = {name: torch.stack([drawn[part] for part in parts]).any(dim=0) for name, parts in REGIONS.items()}
    return torch.stack([{**drawn, **regions}[name] for name in OUTPUTS], dim=1).float()


def test_certain_regions_are_their_class():
    """Overall and lean muscle of a side, certain, are lean muscle of that side; none is background."""
    table = membership(STRUCTURES, REGIONS, OUTPUTS)
    mask = torch.arange(5)[None, None]
    scores = (truth_of(mask) - 0.5) * 20
    logits = torch.einsum("brhw,cr->bchw", scores, table)
    assert torch.equal(logits.argmax(dim=1), mask)


def test_class_probabilities_are_those_of_independent_regions():
    torch.manual_seed(0)
    network = RegionUNet(in_channels=1, num_classes=5, encoder="resnet18", mask_from=OUTPUTS, **NAMES).eval()
    with torch.no_grad():
        prediction = network(torch.randn(1, 1, 32, 32))
    inside = prediction.regions.sigmoid()[0]
    likelihood = torch.stack(
        [
            torch.where(members[:, None, None] > 0, inside, 1 - inside).prod(dim=0)
            for members in membership(STRUCTURES, REGIONS, OUTPUTS)
        ]
    )
    torch.testing.assert_close(prediction.logits.softmax(dim=1)[0], likelihood / likelihood.sum(dim=0))


def test_lean_muscle_is_what_of_the_whole_is_not_fat():
    network = RegionUNet(in_channels=1, num_classes=5, encoder="resnet18", mask_from=MASK_FROM, **NAMES).eval()
    cases = {
        (2.0, 9.0, 1.0, -3.0, 9.0, -3.0): 3,  # fat, however sure the output of lean muscle is
        (2.0, -9.0, -1.0, -3.0, -9.0, 1.0): 1,
        (-2.0, 9.0, 1.0, -3.0, 9.0, -3.0): 0,
        (-2.0, 9.0, 1.0, 3.0, 9.0, -3.0): 2,
    }
    with torch.no_grad():
        network.head.weight.zero_()
        for scores, mask in cases.items():
            network.head.bias.copy_(torch.tensor(scores))
            prediction = network(torch.zeros(1, 1, 32, 32))
            assert set(prediction.logits.argmax(dim=1).unique().tolist()) == {mask}
            assert prediction.regions[0, :, 0, 0].tolist() == list(scores)


def test_an_output_that_is_not_predicted_makes_no_mask():
    with pytest.raises(ValueError, match=r"model\.mask_from names lean, expected some of overall_left"):
        RegionUNet(in_channels=1, num_classes=5, mask_from=("overall_left", "lean"), **NAMES)


def test_the_sum_is_that_of_monai():
    batch = random_batch(num_classes=5)
    scores = torch.randn(2, 6, 32, 32)
    value = RegionDiceFocal(**NAMES)(Prediction(logits=torch.zeros(2, 5, 32, 32), regions=scores), batch, EVEN)
    torch.testing.assert_close(value, DiceFocalLoss(sigmoid=True, gamma=2.0)(scores, truth_of(batch.mask)))


def test_focal_dice_with_beta_one_is_dice():
    batch = random_batch(num_classes=5)
    prediction = Prediction(logits=torch.zeros(2, 5, 32, 32), regions=torch.randn(2, 6, 32, 32))
    dice = DiceLoss(sigmoid=True)(prediction.regions, truth_of(batch.mask))
    term = RegionDiceFocal(**NAMES, combination="focal_dice", beta=1)
    torch.testing.assert_close(term(prediction, batch, EVEN), dice)
    focal = RegionDiceFocal(**NAMES, combination="focal_dice", beta=3)
    assert focal(prediction, batch, EVEN) < dice


def test_regions_with_an_unlabelled_part_and_cases_without_a_mask_are_left_out():
    batch = random_batch(num_classes=5)
    labelled = torch.ones(2, 5, dtype=torch.bool)
    labelled[:, 3] = False  # fat of the left side: nothing is known of it, nor of all that the left fascia holds
    batch = replace(batch, labelled=labelled, has_mask=torch.tensor([True, False]))
    scores = torch.randn(2, 6, 32, 32)
    kept = [OUTPUTS.index(name) for name in ("muscle_left", "overall_right", "muscle_right", "fat_right")]
    expected = DiceFocalLoss(sigmoid=True, gamma=2.0)(scores[:1, kept], truth_of(batch.mask)[:1, kept])
    prediction = Prediction(logits=torch.zeros(2, 5, 32, 32), regions=scores)
    torch.testing.assert_close(RegionDiceFocal(**NAMES)(prediction, batch, EVEN), expected)
    nothing = replace(batch, has_mask=torch.zeros(2, dtype=torch.bool))
    assert RegionDiceFocal(**NAMES)(prediction, nothing, EVEN) == 0


def test_regions_that_cannot_tell_classes_apart_are_refused():
    with pytest.raises(ValueError, match="cannot tell all of background"):
        membership(STRUCTURES, REGIONS, ("overall_left", "overall_right"))
    with pytest.raises(ValueError, match="names overall, expected regions"):
        membership(STRUCTURES, REGIONS, ("overall",))


def test_a_network_without_regions_is_told_so():
    prediction = Prediction(logits=F.one_hot(torch.zeros(2, 32, 32).long(), 5).movedim(-1, 1).float())
    with pytest.raises(ValueError, match="predicts no regions"):
        RegionDiceFocal(**NAMES)(prediction, random_batch(num_classes=5), EVEN)


@pytest.mark.parametrize("settings", [{"combination": "product"}, {"beta": 0.5}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        RegionDiceFocal(**NAMES, **settings)


WIDE = REGIONS | {
    "overall": STRUCTURES,
    "muscle": ("muscle_left", "muscle_right"),
    "fat": ("fat_left", "fat_right"),
}


def test_a_region_is_made_of_the_widest_outputs_inside_it():
    assert compose_regions(WIDE, OUTPUTS) == {
        "overall_left": ("overall_left",),
        "overall_right": ("overall_right",),
        "overall": ("overall_left", "overall_right"),
        "muscle": ("muscle_left", "muscle_right"),
        "fat": ("fat_left", "fat_right"),
    }
    assert compose_regions(WIDE, ("fat_left", "muscle_left")) == {"overall_left": ("fat_left", "muscle_left")}


def test_pixels_of_overlapping_outputs_are_counted_each_on_its_own():
    truth = np.array([[1, 1, 3, 0, 2, 4]])  # lean left, lean left, fat left, background, lean right, fat right
    called = {
        "overall_left": [1, 1, 1, 1, 0, 0],
        "muscle_left": [1, 0, 1, 0, 0, 0],
        "fat_left": [1, 0, 1, 0, 0, 0],  # of one pixel with lean muscle at once
        "overall_right": [0, 0, 0, 0, 1, 0],
        "muscle_right": [0, 0, 0, 0, 1, 1],
        "fat_right": [0, 0, 0, 0, 0, 0],
    }
    judged = {name: np.array([pixels], dtype=bool) for name, pixels in called.items()}
    known = {"structures": STRUCTURES, "regions": WIDE}
    rows = count_regions(truth, judged, **known, labelled=np.ones(5, dtype=bool))
    assert {row["region"]: (row["tp"], row["fp"], row["fn"]) for row in rows} == {
        "overall_left": (3, 1, 0),
        "overall_right": (1, 0, 1),
        "overall": (4, 1, 1),
        "muscle": (2, 2, 1),
        "fat": (1, 1, 1),
    }
    without_fat = count_regions(truth, judged, **known, labelled=np.array([True, True, True, False, True]))
    assert [row["region"] for row in without_fat] == ["overall_right", "muscle"]


def test_a_test_writes_what_each_output_says_on_the_pixels_of_the_scan(tmp_path, generated):
    """Outputs that say what the truth is count all its pixels; the one mask made of other scores is not asked."""
    line = (*TINY_PHANTOM, "trainer=smoke", "experiment=baur_unet", "split.num_folds=4")
    config = compose_line(tmp_path, generated, *line)
    data = build_data(config)
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    names, known = tuple(config.model.outputs), {name: list(parts) for name, parts in data.anatomy.regions.items()}
    members = membership(data.anatomy.structures, known, names)
    scores = 40 * members[batch.mask].movedim(-1, 1) - 20
    prediction = Prediction(logits=torch.zeros(len(batch), 5, *batch.mask.shape[1:]), regions=scores)
    items = evaluate(prediction, batch, data.store, mechanism=True)
    table = region_outputs(data, names)
    rows = [row for item in items for row in table.of_slice(item, data)]
    assert len(rows) == 5 * len(batch)
    assert {row["region"] for row in rows} == set(known)
    for item in items:
        overall = next(row for row in rows if row["region"] == "overall" and row["case"] == item.case)
        assert overall["tp"] + overall["fn"] == (item.true_mask > 0).sum() > 100
        assert overall["tp"] > 5 * (overall["fp"] + overall["fn"])
    assert all(item.regions is None for item in evaluate(prediction, batch, data.store))
    assert all(item.regions is None for item in evaluate(prediction._replace(regions=None), batch, data.store))
