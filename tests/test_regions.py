"""Overlapping regions: which class they stand for, and their loss."""

from dataclasses import replace

import pytest
import torch
from monai.losses.dice import DiceFocalLoss, DiceLoss
from torch.nn import functional as F

from lightning_modules.losses.regions import RegionDiceFocal
from models.prediction import Prediction
from models.region_unet import RegionUNet, membership
from tests.batches import random_batch

STRUCTURES = ("muscle_left", "muscle_right", "fat_left", "fat_right")
REGIONS = {"overall_left": ("muscle_left", "fat_left"), "overall_right": ("muscle_right", "fat_right")}
OUTPUTS = ("overall_left", "muscle_left", "fat_left", "overall_right", "muscle_right", "fat_right")
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
    network = RegionUNet(in_channels=1, num_classes=5, encoder="resnet18", **NAMES).eval()
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
