"""Mask R-CNN: its targets, its assembly of detections into one mask, its losses in partially labelled slices."""

from dataclasses import replace

import pytest
import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet50

from datamodules.batch import boxes_of_masks
from lightning_modules.detection import DetectionModule, detection_target
from lightning_modules.losses.marginal import merge_unlabelled
from models.assembly import assemble, best_of_each_class
from models.mask_rcnn import LOSSES, MarginalPredictor, MaskRCNN
from tests.made.batches import random_batch


class Detections(nn.Module):
    """Stands in for the detector: returns what it was given, one result a slice."""

    def __init__(self, *results: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.results = results

    def forward(self, images):
        assert len(images) == len(self.results)
        return list(self.results)


@pytest.fixture(scope="module")
def network() -> MaskRCNN:
    torch.manual_seed(0)
    return MaskRCNN(in_channels=1, num_classes=4, rois_per_image=16)


def predict(*results: dict[str, torch.Tensor], num_classes: int = 4, size: tuple[int, int] = (8, 8)):
    with torch.device("meta"):
        network = MaskRCNN(in_channels=1, num_classes=num_classes).eval()
    network.detector = Detections(*results)
    return network(torch.zeros(len(results), 1, *size))


def detections(*found: tuple[int, float, tuple[int, int, int, int]], size: tuple[int, int] = (8, 8)):
    """(label, score, (x, y, x, y)) of each detection, its mask 0.9 in its box."""
    masks = torch.zeros(len(found), 1, *size)
    for index, (_, _, (left, top, right, bottom)) in enumerate(found):
        masks[index, :, top:bottom, left:right] = 0.9
    return {
        "labels": torch.tensor([label for label, _, _ in found], dtype=torch.long),
        "scores": torch.tensor([score for _, score, _ in found]),
        "boxes": torch.tensor([box for _, _, box in found], dtype=torch.float).reshape(-1, 4),
        "masks": masks,
    }


def test_overlaps_go_to_the_better_score_and_a_missing_class_has_no_box():
    left, right, worse = (3, 0.7, (0, 0, 5, 8)), (1, 0.9, (4, 0, 8, 8)), (1, 0.8, (0, 0, 8, 8))
    prediction = predict(detections(left, right, worse), detections())
    mask = prediction.logits.argmax(dim=1)
    expected = torch.zeros(2, 8, 8, dtype=torch.long)
    expected[0, :, :4], expected[0, :, 4:] = 3, 1
    assert torch.equal(mask, expected)
    torch.testing.assert_close(prediction.boxes[0, 0], torch.tensor([0.75, 0.5, 0.5, 1.0]))
    torch.testing.assert_close(prediction.boxes[0, 2], torch.tensor([0.3125, 0.5, 0.625, 1.0]))
    assert prediction.boxes[0, 1].isnan().all()
    assert prediction.boxes[1].isnan().all()


def test_the_likeliest_class_is_the_hard_assembly():
    """Against a loop over pixels, on soft masks that overlap everywhere."""
    generator = torch.Generator().manual_seed(0)
    masks, classes = torch.rand(3, 12, 12, generator=generator), torch.tensor([2, 4, 1])
    probabilities = assemble(masks, classes, 5)
    torch.testing.assert_close(probabilities.sum(dim=0), torch.ones(12, 12))
    expected = torch.zeros(12, 12, dtype=torch.long)
    for row in range(12):
        for column in range(12):
            owners = [int(label) for mask, label in zip(masks, classes, strict=True) if mask[row, column] > 0.5]
            expected[row, column] = owners[0] if owners else 0
    assert len(expected.unique()) == 4
    assert torch.equal(probabilities.argmax(dim=0), expected)


def test_a_single_mask_keeps_its_outline_between_pixels():
    mask = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    fine = F.interpolate(assemble(mask, torch.tensor([1]), 2)[None], scale_factor=4, mode="bilinear")[0]
    assert torch.equal(fine.argmax(dim=0) == 1, F.interpolate(mask[None], scale_factor=4, mode="bilinear")[0, 0] > 0.5)


def test_no_seam_opens_between_organs_that_touch():
    falling = torch.tensor([0.9, 0.8, 0.6, 0.4, 0.2, 0.1]).expand(1, 4, 6)
    probabilities = assemble(torch.cat([falling, 1 - falling]), torch.tensor([1, 2]), 3)
    fine = F.interpolate(probabilities[None], scale_factor=8, mode="bilinear")[0]
    assert (fine.argmax(dim=0) > 0).all()


@pytest.mark.parametrize("training", [True, False])
def test_slices_keep_size_and_intensities(network, training):
    images = [torch.randn(1, 32, 64), torch.randn(1, 32, 64)]
    seen, _ = network.detector.transform.train(training)(images)
    assert torch.equal(seen.tensors, torch.stack(images))


def test_targets_assembled_again_are_the_mask():
    """Boxes, labels and masks of a slice belong together: nothing changes sides or names."""
    batch = random_batch(num_classes=5)
    results = []
    for index in range(len(batch)):
        target = detection_target(batch, index)
        scores = torch.linspace(0.9, 0.5, len(target["labels"]))
        results.append({**target, "scores": scores, "masks": target["masks"][:, None].float()})
    prediction = predict(*results, num_classes=5, size=(32, 32))
    assert torch.equal(prediction.logits.argmax(dim=1), batch.mask)
    present = batch.boxes.isfinite()
    assert torch.equal(prediction.boxes.isfinite(), present)
    torch.testing.assert_close(prediction.boxes[present], boxes_of_masks(batch.mask, 4)[present])


def test_the_left_muscle_stays_left():
    mask = torch.zeros(2, 32, 32, dtype=torch.long)
    mask[:, 8:16, 20:30], mask[:, 8:16, 2:12] = 1, 2  # the patient's left is on the image's right
    batch = replace(random_batch(num_classes=3), mask=mask, boxes=boxes_of_masks(mask, 2))
    target = detection_target(batch, 0)
    assert target["labels"].tolist() == [1, 2]
    assert target["boxes"].tolist() == [[20, 8, 30, 16], [2, 8, 12, 16]]
    assert target["masks"][0, 8, 25] == 1
    assert target["masks"][1, 8, 5] == 1


def test_structures_that_are_absent_or_not_drawn_are_no_targets():
    batch = random_batch()
    absent = batch.mask.masked_fill(batch.mask == 1, 0)
    labelled = batch.labelled.clone()
    labelled[0, 3] = False
    batch = replace(batch, mask=absent, boxes=boxes_of_masks(absent, 3), labelled=labelled)
    assert detection_target(batch, 0)["labels"].tolist() == [2]
    assert detection_target(batch, 1)["labels"].tolist() == [2, 3]


def test_best_of_each_class():
    labels, scores = torch.tensor([2, 1, 2, 3, 1]), torch.tensor([0.3, 0.9, 0.8, 0.5, 0.95])
    assert best_of_each_class(labels, scores).tolist() == [4, 2, 3]
    assert best_of_each_class(labels[:0], scores[:0]).tolist() == []


@pytest.mark.parametrize("labelled", [[True, True, False, True], [True, False, False, True], [True] * 4])
def test_the_classifier_learns_by_marginal_probability(labelled):
    torch.manual_seed(0)
    predictor = MarginalPredictor(8, 4)
    features, drawn = torch.randn(6, 8), torch.tensor(labelled)
    plain, _ = predictor(features)
    predictor.labelled = drawn
    scores, _ = predictor(features)
    expected = merge_unlabelled(plain, drawn.expand(6, 4))
    torch.testing.assert_close(scores.softmax(dim=1), expected.softmax(dim=1))
    predictor.eval()
    assert torch.equal(predictor(features)[0], plain), "in prediction nothing is merged: the evaluation does it"


def test_detecting_what_was_not_drawn_costs_nothing(network):
    """A class that was not drawn gains as background does: no gradient parts them."""
    network.zero_grad()
    batch = random_batch()
    drawn = torch.tensor([True, True, True, False]).expand(2, 4)
    batch = replace(batch, labelled=drawn)
    losses = network.losses(batch.image, [detection_target(batch, index) for index in range(2)], drawn)
    losses["classifier"].backward()
    gradient = network.detector.roi_heads.box_predictor.cls_score.bias.grad
    assert gradient[0] < 0, "background is learned"
    assert gradient[3] < 0, "and the class that was not drawn is not pushed down"
    assert gradient[1:3].min() > -1


def test_slices_labelled_differently_share_a_batch(network):
    batch = random_batch()
    labelled = batch.labelled.clone()
    labelled[0, 2] = False
    batch = replace(batch, labelled=labelled)
    losses = network.losses(batch.image, [detection_target(batch, index) for index in range(2)], labelled)
    assert set(losses) == set(LOSSES)
    assert all(torch.isfinite(value) for value in losses.values())


def module_of(composed, network: MaskRCNN, *overrides: str) -> DetectionModule:
    config = composed("experiment=mask_rcnn", "trainer=smoke", *overrides)
    objective = instantiate(config.objective)(num_classes=4)
    return instantiate(config.module)(network=network, objective=objective, metrics=instantiate(config.metrics))


def test_slices_without_a_mask_are_left_out(composed, network):
    module = module_of(composed, network.train())
    batch = random_batch()
    alone = replace(batch, has_mask=torch.tensor([False, False]))
    total, terms = module.losses(alone)
    total.backward()
    assert float(total.detach()) == 0
    assert set(terms) == set(LOSSES)


@pytest.mark.parametrize("wrong", ["objective=cross_entropy", "module=segmentation"])
def test_a_module_and_an_objective_that_do_not_go_together_are_refused(composed, network, wrong):
    with pytest.raises((ValueError, AssertionError), match=r"objective=mask_rcnn|MaskRCNN\.losses"):
        module_of(composed, network.train(), wrong).losses(random_batch())


def test_pretrained_weights_are_taken_over(tmp_path):
    torch.manual_seed(0)
    state = resnet50(weights=None).state_dict()
    torch.save(state, tmp_path / "resnet50.pth")
    network = MaskRCNN(in_channels=2, num_classes=4, normalisation="frozen", weights=str(tmp_path / "resnet50.pth"))
    body = network.detector.backbone.body
    assert torch.equal(body["layer4"][2].conv3.weight, state["layer4.2.conv3.weight"])
    assert torch.equal(body["bn1"].running_var, state["bn1.running_var"])
    grey = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        ours = body["conv1"](grey.expand(1, 2, 32, 32))
        theirs = F.conv2d(grey.expand(1, 3, 32, 32), state["conv1.weight"], stride=2, padding=3)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalisation": "layer"}, r"model\.normalisation is 'layer', expected one of batch"),
        ({"normalisation": "frozen"}, "frozen needs the statistics of pretrained weights"),
        ({"normalisation": "group", "weights": "x.pth"}, "come from batch normalisation"),
        ({"normalisation": "batch", "weights": "x.pth"}, r"model\.weights=x\.pth does not exist"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MaskRCNN(in_channels=1, num_classes=4, **options)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"encoder.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="holds no ResNet-50 backbone"):
        MaskRCNN(in_channels=1, num_classes=4, normalisation="batch", weights=str(tmp_path / "other.pth"))
