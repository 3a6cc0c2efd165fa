"""Encoders with an ImageNet past, and what FCN-8s, SegNet and the fusion do with them."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from models.blocks.imagenet import RESNETS, VGGS, ResNetEncoder, VGGEncoder
from models.blocks.initialisation import keep_variance
from models.ce_net import ResidualMultiKernelPooling
from models.fcn import FCN8s, bilinear_upsampling
from models.lumnet import LumNet
from models.msff import MultiScaleFeatureFusion
from models.segnet import SegNet


@pytest.fixture
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    "name",
    ["resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in (*RESNETS, *VGGS) if name != "resnet18")],
)
def test_weights_of_a_file_give_the_features_of_the_classifier(tmp_path, name):
    """In single precision, 34 layers that sum in another order differ by ten thousand times its rounding, 6e-8."""
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
    torch.testing.assert_close(deepest, expected, rtol=1e-10, atol=1e-10)  # a million times the rounding, 1e-16


@pytest.mark.parametrize("name", [*RESNETS, *VGGS])
def test_all_layers_are_in_proportion_to_the_width(name):
    kind = ResNetEncoder if name in RESNETS else VGGEncoder
    published, narrow = (kind(name, in_channels=1, width=width).eval() for width in (64, 16))
    assert narrow.channels == tuple(channels // 4 for channels in published.channels)
    with torch.no_grad():
        assert tuple(features.shape[1] for features in narrow(torch.zeros(1, 1, 32, 32))) == narrow.channels
    shapes = zip(published.parameters(), narrow.parameters(), strict=True)
    assert all(4 * few.shape[0] == many.shape[0] for many, few in shapes)


@pytest.mark.parametrize("name", RESNETS)
def test_the_stride_of_the_stem_decides_over_the_cells(name):
    image = torch.zeros(1, 1, 64, 96)
    with torch.no_grad():
        for stem_stride in (1, 2):
            features = ResNetEncoder(name, in_channels=1, width=4, stem_stride=stem_stride).eval()(image)
            sides = [(64 // stem_stride // 2**stage, 96 // stem_stride // 2**stage) for stage in range(5)]
            assert [tuple(stage.shape[2:]) for stage in features] == sides


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="belongs to another network"):
        ResNetEncoder("resnet34", in_channels=1, weights=str(tmp_path / "weights.pt"))
    with pytest.raises(ValueError, match="belongs to another network"):
        VGGEncoder("vgg16", in_channels=1, weights=str(tmp_path / "weights.pt"))
    with pytest.raises(ValueError, match="does not exist"):
        ResNetEncoder("resnet18", in_channels=1, weights=str(tmp_path / "nothing.pt"))
    for kind, name in ((ResNetEncoder, "resnet18"), (VGGEncoder, "vgg16")):
        with pytest.raises(
            ValueError, match=r"width 64, but model\.width is 16: set model\.width=64 or model\.weights=null"
        ):
            kind(name, in_channels=1, width=16, weights=str(tmp_path / "weights.pt"))


def test_what_does_not_fit_is_refused_by_name():
    with pytest.raises(ValueError, match=r"model\.encoder is 'resnet50'"):
        ResNetEncoder("resnet50", in_channels=1)
    with pytest.raises(ValueError, match=r"60 x 64 pixels.*data\.size=\[64,64\]"):
        ResNetEncoder("resnet18", in_channels=1)(torch.zeros(1, 1, 60, 64))
    with pytest.raises(ValueError, match=r"64 x 72 pixels.*multiples of 16: set data\.size=\[64,80\]"):
        ResNetEncoder("resnet18", in_channels=1, stem_stride=1)(torch.zeros(1, 1, 64, 72))
    with pytest.raises(ValueError, match=r"model\.stem_stride is 4, expected 1 or 2"):
        ResNetEncoder("resnet18", in_channels=1, stem_stride=4)


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
    fusion = MultiScaleFeatureFusion(16, branch_channels=128, reduced_channels=1, pooled_channels=64, pooling=pooling)
    fused = fusion.eval()(torch.rand(1, 16, side, side))
    assert fused.shape == (1, fusion.channels, side, side)
    assert fusion.channels == 4 * 4 + 4 * 2, "in proportion to a bottleneck of 16 instead of 512"


def summaries(kind: str, features: torch.Tensor) -> list[torch.Tensor]:
    """The pooled channels that CE-Net and the fusion make of one-channel features, without their 1 x 1 convolutions."""
    if kind == "ce_net":
        pooling = ResidualMultiKernelPooling(1)
        nn.init.ones_(pooling.point.weight)
        nn.init.zeros_(pooling.point.bias)
        return list(pooling(features)[0, :4])
    fusion = MultiScaleFeatureFusion(1, branch_channels=1, reduced_channels=1, pooled_channels=1).eval()
    for convolution in fusion.pooled:
        nn.init.ones_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    return list(fusion(features)[0, 4:])


@pytest.mark.parametrize("kind", ["ce_net", "msff"])
def test_windows_are_clamped_to_the_map_and_take_no_rest(kind):
    """On 4 x 4 cells the windows of 4 and more see all, that of 3 all but the last row and column."""
    bright = torch.zeros(1, 1, 4, 4)
    bright[..., 3, 3] = 1
    with torch.no_grad():
        two, three, *whole = summaries(kind, bright)
    assert two[3, 3] == (1 if kind == "ce_net" else 1 / 4)
    assert two[0, 0] == 0
    assert not three.any()
    for pooled in whole:
        torch.testing.assert_close(pooled, torch.full((4, 4), 1.0 if kind == "ce_net" else 1 / 16))


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match=r"model\.bottleneck\.pooling is 'global'"):
        MultiScaleFeatureFusion(8, pooling="global")
