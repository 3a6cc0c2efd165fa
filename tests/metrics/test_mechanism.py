"""What BS-ESNet can be asked about its own working: scale of its mask, features before its gate, boxes at test time."""

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException

from tests.made.batches import random_batch
from tests.models.test_networks import build, check_trains


def network_of(composed, *overrides):
    return build(composed("experiment=bs_esnet", "trainer=smoke", *overrides), num_classes=4)


@pytest.mark.parametrize("generator", ["unet", "light"])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_preliminary_mask_has_the_scale_that_is_asked_for_and_all_its_parameters_learn(composed, scale, generator):
    overrides = (f"model.bsn.scale={scale}", f"model.bsn.generator={generator}")
    check_trains(composed("experiment=bs_esnet", "trainer=smoke", *overrides))
    prediction = network_of(composed, *overrides).eval()(random_batch().image)
    assert prediction.preliminary.shape == (2, 4, 32 // scale, 32 // scale)
    assert prediction.boxes.shape == (2, 3, 4)


def test_a_scale_that_no_stage_has_is_refused_by_name(composed):
    with pytest.raises((ValueError, InstantiationException), match=r"model\.bsn\.scale is 3, expected 2, 4 or 8"):
        network_of(composed, "model.bsn.scale=3")


@pytest.mark.parametrize("location", ["bottleneck", "quarter", "every_scale"])
def test_the_features_before_the_gate_are_those_that_it_scales(composed, location):
    network = network_of(composed, f"model.sag.location={location}").eval()
    image = random_batch().image
    with torch.no_grad():
        prediction = network(image)
        features = network.encoder(image)[2 if location == "quarter" else 4]
    torch.testing.assert_close(prediction.gated_features, features.abs().mean(dim=1, keepdim=True))
    assert prediction.gated_features.shape == prediction.saliency.shape


def test_training_does_not_pay_for_them(composed):
    batch = random_batch()
    assert network_of(composed).train()(batch.image, batch.boxes).gated_features is None
    assert network_of(composed, "ablation=no_sag").eval()(batch.image).gated_features is None


def queries(network, *, offered=None):
    """The boxes that the gate is given for an image, and those that BSN has found."""
    seen = []
    handle = network.esnet.gate.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    with torch.no_grad():
        found = network(random_batch().image, offered).boxes
    handle.remove()
    return seen[0], found


def test_the_gate_is_shown_the_boxes_that_a_test_asks_for(composed):
    network = network_of(composed).eval()
    offered = torch.rand(2, 3, 4)
    shown, found = queries(network, offered=offered)
    assert torch.equal(shown, found), "predicted, whatever is offered"
    network.ask_at_test("offered")
    assert torch.equal(queries(network, offered=offered)[0], offered)
    network.ask_at_test("dealt", [1, 2, 0])
    shown, found = queries(network)
    assert torch.equal(shown, found[:, [1, 2, 0]])
    network.ask_at_test("none")
    assert queries(network)[0].isnan().all()
    network.ask_at_test()
    shown, found = queries(network)
    assert torch.equal(shown, found)


def test_what_a_test_asks_for_is_not_asked_in_training(composed):
    network = network_of(composed).train()
    network.ask_at_test("none")
    shown, found = queries(network)
    assert torch.equal(shown, found)


def test_without_boxes_the_saliency_is_that_of_the_key_alone(composed):
    network = network_of(composed).eval()
    image = random_batch().image
    network.ask_at_test("none")
    with torch.no_grad():
        prediction = network(image)
        expected = network.esnet.gate.compress(prediction.key.softmax(dim=1)[:, 1:]).sigmoid()
    np.testing.assert_allclose(prediction.saliency, expected, rtol=1e-6)
