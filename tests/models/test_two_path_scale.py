"""DGMSNet and SCAR-Net at other pixel sizes: strides, and a pyramid that reaches as far in millimetres."""

import pytest
import torch
from hydra.utils import instantiate

from models.blocks.atrous import atrous_rates
from models.dgmsnet.adapters import DirectAdapter
from models.dgmsnet.fusion import SumFusion
from models.dgmsnet.network import TwoPathNetwork
from models.strides import Strides


def small_network(**settings) -> TwoPathNetwork:
    parts = {"keypoints": ["L1"], "adapter": DirectAdapter, "fusion": SumFusion}
    return TwoPathNetwork(in_channels=1, num_classes=3, width=4, **parts, **settings)


@pytest.mark.parametrize(("stem_stride", "strides"), [(1, Strides(2, 8)), (2, Strides(4, 16))])
def test_strides_are_the_sizes_of_the_features(stem_stride, strides):
    network = small_network(stem_stride=stem_stride)
    features = network.segmentation_encoder(torch.randn(2, 1, 75, 40))
    assert network.strides == strides
    for found, stride in zip(features, strides, strict=True):
        assert found.shape[2:] == (-(-75 // stride), -(-40 // stride))


def test_both_strides_of_the_stem_have_the_same_weights():
    fine, published = small_network(stem_stride=1), small_network()
    layouts = [{name: value.shape for name, value in network.state_dict().items()} for network in (fine, published)]
    assert layouts[0] == layouts[1]
    published.load_state_dict(fine.state_dict())


@pytest.mark.parametrize("stem_stride", [0, 3, 4])
def test_another_stride_of_the_stem_is_refused(stem_stride):
    with pytest.raises(ValueError, match=rf"model\.stem_stride is {stem_stride}, expected 2 .*or 1"):
        small_network(stem_stride=stem_stride)


def dilations_of(network: TwoPathNetwork) -> list[list[int]]:
    """Of the separable convolutions of each encoder's pyramid."""
    encoders = (network.segmentation_encoder, network.recognition_encoder)
    return [[branch[0].dilation[0] for branch in encoder.pyramid.branches[1:-1]] for encoder in encoders]


@pytest.mark.parametrize(("trainer", "rates"), [("paper", [6, 12, 18]), ("small", [5, 10, 14])])
def test_the_pyramid_reaches_as_far_as_in_the_paper(composed, trainer, rates):
    """6, 12 and 18 cells of 11.2 mm; on cells of 14 mm the nearest."""
    config = composed("experiment=scarnet", f"trainer={trainer}", "model.width=4")
    network = instantiate(config.model)(in_channels=1, num_classes=4)
    assert dilations_of(network) == [rates, rates]


@pytest.mark.parametrize(("cell_mm", "rates"), [(11.2, [6, 12, 18]), (14.0, [5, 10, 14]), (500.0, [1, 1, 1])])
def test_rates_are_counted_in_cells(cell_mm, rates):
    reaches_mm = (67.2, 134.4, 201.6)
    assert atrous_rates(reaches_mm, spacing_mm=cell_mm, stride=1, size=(19, 3)) == rates
    assert dilations_of(small_network(spacing_mm=cell_mm / 16, rates_mm=reaches_mm)) == [rates, rates]


@pytest.mark.parametrize("rates_mm", [[40.0, 0.0], [-10.0]])
def test_a_reach_that_is_none_is_refused(rates_mm):
    with pytest.raises(ValueError, match=rf"model\.rates_mm has {rates_mm[-1]}, expected positive"):
        small_network(rates_mm=rates_mm)


def test_a_reach_beyond_the_map_is_refused():
    """304 pixels are 19 cells: the outer taps of a rate of 18 meet the map where it begins and ends alone."""
    small_network(size=(304, 100))
    for size, cells in (((288, 100), "18 x 7"), ((100, 288), "7 x 18"), ([160, 96], "10 x 6")):
        with pytest.raises(ValueError, match=rf"model\.rates_mm has .* on a map of {cells} cells.*data\.size") as error:
            small_network(size=size)
        assert "\n" not in str(error.value)
