"""What every network here does and MONAI's do not by themselves."""

import copy

import pytest
import torch
from hydra.utils import instantiate

from models.monai_network import MonaiNetwork
from tests.conftest import ROOT
from tests.made.networks import on_meta

NAMES = sorted(path.stem for path in (ROOT / "conf" / "model" / "monai").glob("*.yaml"))
DEEP = {"dynunet": 2, "dynunet_residual": 2, "basic_unet_plus_plus": 3}


@pytest.fixture
def network(composed):
    """Builds a network as narrow as it can be."""

    def build(name: str) -> MonaiNetwork:
        torch.manual_seed(0)
        return instantiate(composed(f"model=monai/{name}", "trainer=smoke").model)(in_channels=1, num_classes=3)

    return build


@pytest.mark.parametrize("name", NAMES)
def test_heads_speak_in_training_alone(network, name):
    built, image = network(name), torch.randn(2, 1, 64, 64)
    assert [head.shape for head in built(image).deep] == [(2, 3, 64, 64)] * DEEP.get(name, 0)
    with torch.no_grad():
        assert built.eval()(image).deep == ()


@pytest.mark.parametrize("name", DEEP)
def test_the_logits_are_those_that_stay_when_training_is_over(network, name):
    """The order in which MONAI returns its outputs: with norms that know no training, both modes agree."""
    built, image = network(name), torch.randn(2, 1, 64, 64)
    trained = built(image).logits
    torch.testing.assert_close(trained, built.eval()(image).logits)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_has_seen_a_batch_can_be_copied(network, name):
    built = network(name)
    built(torch.randn(2, 1, 64, 64)).logits.sum().backward()
    copied = copy.deepcopy(built)
    assert all(torch.equal(*pair) for pair in zip(built.parameters(), copied.parameters(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_size_that_cannot_be_halved_is_refused_with_one_that_can(network, name):
    built = network(name)
    fitting = built.strides.bottleneck * 2
    with pytest.raises(ValueError, match=rf"{fitting + 4} x {fitting} pixels.*data\.size=\[\d+,{fitting}\]$"):
        built(torch.zeros(1, 1, fitting + 4, fitting))


@pytest.mark.parametrize(("width", "channels"), [(4, 12), (16, 12), (17, 24), (64, 48)])
def test_channels_are_rounded_up_to_what_heads_share_out(width, channels):
    given = {}

    def build(**arguments):
        given.update(arguments)
        return torch.nn.Identity()

    MonaiNetwork(
        in_channels=1, num_classes=2, width=width, network=build, in_widths={"size": 0.75, "more": [1]}, multiple=12
    )
    assert given == {"in_channels": 1, "out_channels": 2, "size": channels, "more": [-(-width // 12) * 12]}


def test_parameters_are_counted_without_memory():
    with on_meta():
        assert torch.linspace(0, 1, 3).tolist() == [0, 0.5, 1]
        assert torch.nn.Linear(1, 1).weight.is_meta
