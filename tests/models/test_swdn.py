"""SWDN: two kinds of labels meet in the encoder and the neck, and nowhere else."""

import pytest
import torch

from models.swdn import SWDN


@pytest.fixture
def network() -> SWDN:
    torch.manual_seed(0)
    return SWDN(in_channels=1, num_classes=4, width=16, stem_stride=1)


def learns(loss: torch.Tensor, part: torch.nn.Module) -> bool:
    """Whether a loss has a gradient in a part."""
    found = torch.autograd.grad(loss, list(part.parameters()), retain_graph=True, allow_unused=True)
    return any(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in found)


def test_each_kind_of_label_teaches_its_decoder_and_what_is_shared(network):
    prediction = network(torch.randn(2, 1, 32, 32))
    assert prediction.second is not None
    for loss, own, other in (
        (prediction.logits.square().mean(), network.strong, network.weak),
        (prediction.second.square().mean(), network.weak, network.strong),
    ):
        assert learns(loss, own)
        assert learns(loss, network.encoder)
        assert learns(loss, network.neck)
        assert not learns(loss, other)


def test_the_weak_decoder_rests_when_it_is_tested(network):
    ran = []
    network.weak.register_forward_hook(lambda *_: ran.append(True))
    with torch.no_grad():
        assert network.eval()(torch.randn(1, 1, 32, 32)).second is None
    assert not ran
