"""Trainings of two: networks that teach each other, and a network against a discriminator."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from lightning_modules.adversarial import AdversarialModule
from lightning_modules.cross_pseudo import CrossPseudoModule, box_mask, cut_mix, mix
from lightning_modules.losses.prior import without_class_weights
from tests.made.batches import random_batch

HALF = torch.tensor([True, True, False, False])


def build(composed, experiment, *overrides):
    config = composed(f"experiment={experiment}", "trainer=smoke", "anatomy=sagittal10", *overrides)
    torch.manual_seed(0)
    network = instantiate(config.model)(in_channels=1, num_classes=4)
    objective = instantiate(config.objective)(num_classes=4)
    return instantiate(config.module)(network=network, objective=objective, metrics=instantiate(config.metrics))


@pytest.fixture
def pseudo(composed) -> CrossPseudoModule:
    return build(composed, "sshs")


@pytest.fixture
def game(composed) -> AdversarialModule:
    return build(composed, "cdan")


def gradients(loss, network) -> float:
    found = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True, allow_unused=True)
    return sum(float(gradient.abs().sum()) for gradient in found if gradient is not None)


# ------------------------------------------------------------------------------------- networks that teach each other


def test_a_pseudo_label_teaches_the_other_network_alone(pseudo):
    batch = replace(random_batch(4), has_mask=torch.zeros(4, dtype=torch.bool))
    losses = pseudo.pseudo_losses(batch)
    first, second = pseudo.network.first, pseudo.network.second
    assert gradients(losses["first_pseudo"], first) > 0
    assert gradients(losses["first_pseudo"], second) == 0
    assert gradients(losses["second_pseudo"], second) > 0
    assert gradients(losses["second_pseudo"], first) == 0


def test_equal_networks_without_a_mixture_learn_from_themselves(pseudo, monkeypatch):
    """Cross-entropy with the network's own decision."""
    pseudo.network.second.load_state_dict(pseudo.network.first.state_dict())
    batch = random_batch(4)
    monkeypatch.setattr("lightning_modules.cross_pseudo.cut_mix", lambda batch: torch.zeros_like(batch.mask) > 0)
    losses = pseudo.pseudo_losses(batch)
    scores = pseudo.network(batch.image).logits
    expected = torch.nn.functional.cross_entropy(scores, scores.argmax(dim=1))
    torch.testing.assert_close(losses["first_pseudo"], expected)
    torch.testing.assert_close(losses["first_pseudo"], losses["second_pseudo"])


def test_pseudo_labels_are_decided_without_the_prior_and_learned_with_it(pseudo, monkeypatch):
    batch = random_batch(2)
    weights = torch.tensor([0.2, 1.5, 1.0, 1.3])
    pseudo.objective.class_weights.copy_(weights)
    monkeypatch.setattr("lightning_modules.cross_pseudo.cut_mix", lambda batch: torch.zeros_like(batch.mask) > 0)
    said = pseudo(batch)
    label = without_class_weights(said, weights).second.argmax(dim=1)
    expected = torch.nn.functional.cross_entropy(said.logits, label, weights)
    torch.testing.assert_close(pseudo.pseudo_losses(batch)["first_pseudo"], expected)


def test_what_nobody_draws_is_no_pseudo_label(pseudo, monkeypatch):
    batch = replace(random_batch(2), labelled=torch.tensor([[True, True, False, False]] * 2))
    seen = []
    monkeypatch.setattr(
        "lightning_modules.cross_pseudo.mask_cross_entropy",
        lambda scores, batch, *rest: seen.append(batch.mask) or scores.sum(),
    )
    pseudo.pseudo_losses(batch)
    assert {int(label) for mask in seen for label in mask.unique()} <= {0, 1}


@pytest.mark.parametrize("drawn", [HALF, ~HALF, HALF | True, HALF & False])
def test_any_share_of_a_batch_may_have_masks(pseudo, drawn):
    total, terms = pseudo.losses(replace(random_batch(4), has_mask=drawn))
    assert total.isfinite()
    total.backward()
    assert (terms["first_pseudo"] == 0) == bool(drawn.all())
    assert (terms["segmentation"] == 0) == (not bool(drawn.any()))


def test_together_they_predict_their_mean(pseudo):
    image = torch.randn(1, 1, 32, 32)
    network = pseudo.network.eval()
    with torch.no_grad():
        mean = (network.first(image).logits.softmax(1) + network.second(image).logits.softmax(1)) / 2
        torch.testing.assert_close(network(image).logits.softmax(dim=1), mean)
    assert not torch.equal(next(network.first.parameters()), next(network.second.parameters()))


def test_each_network_is_clipped_by_its_own_norm(pseudo):
    for part, size in zip(pseudo.parts().values(), (100.0, 0.001), strict=True):
        for parameter in part.parameters():
            parameter.grad = torch.full_like(parameter, size)
    before = [parameter.grad.clone() for parameter in pseudo.network.second.parameters()]
    pseudo.configure_gradient_clipping(torch.optim.SGD(pseudo.parameters()), 10.0)
    norms = [
        torch.stack([parameter.grad.norm() for parameter in part.parameters()]).norm()
        for part in pseudo.parts().values()
    ]
    assert float(norms[0]) == pytest.approx(10, rel=1e-3)
    assert all(
        torch.equal(one, other.grad) for one, other in zip(before, pseudo.network.second.parameters(), strict=True)
    )


def test_boxes_are_drawn_by_the_seed_of_the_slice():
    batch = random_batch(3, size=(40, 24))
    found = cut_mix(batch)
    assert torch.equal(found, cut_mix(batch))
    assert not torch.equal(found, cut_mix(replace(batch, seed=batch.seed + 1)))
    assert torch.equal(found[1:], cut_mix(batch.where(torch.tensor([False, True, True]))))
    values = torch.arange(3.0)[:, None, None, None].expand(3, 1, 40, 24)
    assert mix(values, found)[2, 0].unique().tolist() == [0, 2], "the first follows the last"


def test_boxes_cover_what_they_should():
    """A quarter to a half of the image, less where two boxes meet."""
    shares = [box_mask(np.random.default_rng(seed), (96, 64)).mean() for seed in range(400)]
    assert 0.2 < np.mean(shares) < 0.375
    assert max(shares) <= 0.55
    assert min(shares) > 0


# ----------------------------------------------------------------------------------------- network and discriminator


def test_neither_loss_reaches_the_weights_of_the_other(game):
    batch = random_batch(4)
    losses = game.game(game(batch), batch)
    assert gradients(losses["adversarial"], game.network) > 0
    assert gradients(losses["adversarial"], game.discriminator) == 0
    assert gradients(losses["discriminator"], game.discriminator) > 0
    assert gradients(losses["discriminator"], game.network) == 0


def test_the_network_is_told_of_the_discriminator_after_a_while(game):
    """Before, the discriminator learns alone."""
    batch = random_batch(4)
    game._first_epoch = 1
    losses = game.game(game(batch), batch)
    assert losses["adversarial"] == 0
    assert losses["discriminator"] > 0
    game._first_epoch = 0
    assert game.game(game(batch), batch)["adversarial"] > 0


def test_a_step_of_one_leaves_the_other_bit_for_bit(game):
    batch = random_batch(4)
    for name, stays in (("discriminator", game.network), ("adversarial", game.discriminator)):
        optimizer = torch.optim.Adam(game.parameters(), lr=0.01)
        before = [parameter.clone() for parameter in stays.parameters()]
        optimizer.zero_grad()
        game.game(game(batch), batch)[name].backward()
        optimizer.step()
        assert all(torch.equal(one, other) for one, other in zip(before, stays.parameters(), strict=True))


def test_a_game_that_counts_nothing_is_a_training_without(composed):
    silent = [f"++objective.terms.{name}.weight=0.0" for name in ("adversarial", "discriminator", "contrast")]
    alone = [f"objective.terms.{name}=null" for name in ("adversarial", "discriminator", "contrast")]
    batch, found = random_batch(4), []
    for overrides in (silent, [*alone, "module=segmentation"]):
        module = build(composed, "cdan", *overrides)
        torch.manual_seed(1)
        module.losses(batch)[0].backward()
        found.append([parameter.grad for parameter in module.network.decoder.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_what_nobody_draws_is_merged_before_the_discriminator_sees_it(game, monkeypatch):
    batch = random_batch(2)
    drawn = torch.tensor([[True, True, False, False]] * 2)
    batch = replace(batch, labelled=drawn, mask=batch.mask.where(batch.mask < 2, 0))
    seen = []
    monkeypatch.setattr(game.discriminator, "forward", lambda image: seen.append(image) or [image[:, :1]])
    game.game(game(batch), batch)
    assert len(seen) == 3, "predicted for the network, annotated, predicted for the discriminator"
    for image in seen:
        assert image[:, 3:].abs().max() < 1e-6
        torch.testing.assert_close(image[:, 1:3].sum(dim=1), torch.ones_like(image[:, 0]))


def test_slices_without_masks_are_no_part_of_the_game(game):
    batch = random_batch(4)
    nobody = replace(batch, has_mask=HALF & False)
    assert all(float(loss.detach()) == 0 for loss in game.game(game(nobody), nobody).values())


def test_a_network_that_does_not_state_its_channels_is_refused(composed):
    with pytest.raises(Exception, match="does not state its in_channels"):
        build(composed, "cdan", "model=unet")
