"""Encoders with an ImageNet past, and what FCN-8s, SegNet and the fusion do with them."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from models.blocks.imagenet import RESNETS, VGGS, ResNetEncoder, VGGEncoder
from models.blocks.initialisation import keep_variance
from models.fcn import FCN8s, bilinear_upsampling
from models.lumnet import LumNet
from models.msff import MultiScaleFeatureFusion
from models.segnet import SegNet


@pytest.mark.parametrize("name", [*RESNETS, *(pytest.param(name, marks=pytest.mark.slow) for name in VGGS)])
def test_weights_of_a_file_give_the_features_of_the_classifier(tmp_path, name):
    torch.manual_seed(0)
    classifier = torchvision.models.get_model(name, weights=None).eval()
    torch.save(classifier.state_dict(), tmp_path / "weights.pt")
    kind = ResNetEncoder if name in RESNETS else VGGEncoder
    grey = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        deepest = kind(name, in_channels=1, weights=str(tmp_path / "weights.pt")).eval()(grey)[-1]
        colour = grey.expand(-1, 3, -1, -1)
        if name in RESNETS:
            children = dict(classifier.named_children())
            expected = colour
            for layer in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
                expected = children[layer](expected)
        else:
            expected = classifier.features[:-1](colour)
    torch.testing.assert_close(deepest, expected, rtol=1e-3, atol=1e-5)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="belongs to another network"):
        ResNetEncoder("resnet34", in_channels=1, weights=str(tmp_path / "weights.pt"))
    with pytest.raises(ValueError, match="belongs to another network"):
        VGGEncoder("vgg16", in_channels=1, weights=str(tmp_path / "weights.pt"))
    with pytest.raises(ValueError, match="does not exist"):
        ResNetEncoder("resnet18", in_channels=1, weights=str(tmp_path / "nothing.pt"))


def test_what_does_not_fit_is_refused_by_name():
    with pytest.raises(ValueError, match=r"model\.encoder is 'resnet50'"):
        ResNetEncoder("resnet50", in_channels=1)
    with pytest.raises(ValueError, match=r"60 x 64 pixels.*data\.size=\[64,64\]"):
        ResNetEncoder("resnet18", in_channels=1)(torch.zeros(1, 1, 60, 64))


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(64, 128, 3, padding=1), nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1)],
    ids=["convolution", "transposed"],
)
def test_features_keep_their_variance_through_a_layer(layer):
    torch.manual_seed(0)
    keep_variance(layer)
    with torch.no_grad():
        before = torch.randn(4, 64, 24, 24)
        after = layer(before.relu())[..., 2:-2, 2:-2]
    assert after.square().mean().item() == pytest.approx(1, rel=0.1)
    assert not layer.bias.any()


@pytest.mark.parametrize("network", [LumNet, FCN8s])
def test_networks_without_normalisation_start_with_features_that_differ(network):
    """Torchvision's own start leaves less than a tenth at the deepest stage."""
    torch.manual_seed(0)
    encoder = network(in_channels=1, num_classes=8, **({"head_channels": 8} if network is FCN8s else {})).encoder
    with torch.no_grad():
        spreads = [float(features.std()) for features in encoder(torch.randn(2, 1, 64, 64))]
    assert all(0.3 < spread < 3 for spread in spreads), spreads


@pytest.mark.parametrize("factor", [2, 8])
def test_upsampling_starts_as_bilinear_interpolation(factor):
    image = torch.rand(1, 2, 6, 7)
    with torch.no_grad():
        upsampled = bilinear_upsampling(2, factor)(image)
    expected = F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
    assert upsampled.shape == expected.shape
    inner = (..., slice(factor, -factor), slice(factor, -factor))  # beyond the border the two assume other pixels
    torch.testing.assert_close(upsampled[inner], expected[inner])


def test_segnet_unpools_to_where_the_maxima_were():
    """With convolutions that do nothing, each step hands on the maxima of its windows, in their places."""
    network = SegNet(in_channels=1, num_classes=2).eval()
    network.encoder = torch.nn.ModuleList(torch.nn.Identity() for _ in range(5))
    network.decoder = torch.nn.ModuleList(torch.nn.Identity() for _ in range(5))
    network.head = torch.nn.Identity()
    torch.manual_seed(0)
    image = torch.rand(1, 1, 32, 32)
    kept = network(image).logits
    assert (kept > 0).sum() == 1
    assert kept.max() == image.max()
    assert kept.argmax() == image.argmax()


@pytest.mark.parametrize("pooling", ["window", "adaptive"])
@pytest.mark.parametrize("side", [1, 4, 14])
def test_the_fusion_keeps_the_size_of_any_bottleneck(pooling, side):
    fusion = MultiScaleFeatureFusion(8, branch_channels=4, reduced_channels=1, pooled_channels=2, pooling=pooling)
    fused = fusion.eval()(torch.rand(1, 8, side, side))
    assert fused.shape == (1, fusion.channels, side, side)
    assert fusion.channels == 4 * 4 + 4 * 2


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match=r"model\.bottleneck\.pooling is 'global'"):
        MultiScaleFeatureFusion(8, pooling="global")
