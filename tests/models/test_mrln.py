"""MRLN: the order of rows is seen, and two decoders attend to each other."""

import pytest
import torch

from models.mrln import MRLN, CoAttention, OrderOfRows


def network(**settings) -> MRLN:
    torch.manual_seed(0)
    return MRLN(in_channels=1, num_classes=11, width=8, depth=3, rates_mm=(3, 6, 9, 12), **settings)


def test_what_a_row_is_told_depends_on_rows_far_away_and_on_their_order():
    torch.manual_seed(0)
    layer = OrderOfRows(8)
    features = torch.randn(1, 8, 12, 3)
    changed = features.clone()
    changed[:, :, 0] += 1
    assert not torch.allclose(layer(features)[:, :, -1], layer(changed)[:, :, -1])
    said, turned = layer(features) - features, layer(features.flip(2)).flip(2) - features
    assert not torch.allclose(said, turned, atol=1e-3)
    torch.testing.assert_close(said, said[..., :1].expand_as(said), msg="every column of a row is told the same")


def test_attention_starts_at_one_and_a_half_both_ways():
    layer = CoAttention(4)
    for convolution in (layer.by_location, layer.by_segmentation):
        torch.nn.init.zeros_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    one, other = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(layer(one, other), (1.5 * one, 1.5 * other))


def test_each_decoder_learns_from_the_loss_of_the_other():
    net = network()
    prediction = net(torch.randn(2, 1, 32, 24))
    assert prediction.areas is not None
    assert prediction.areas.shape == (2, 10, 32, 24)
    for loss, decoder in ((prediction.logits, net.localization), (prediction.areas, net.segmentation)):
        (gradient,) = torch.autograd.grad(loss.square().mean(), decoder.upsample[0].weight, retain_graph=True)
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (32, 24)}, None),
        ({"size": (8, 8)}, r"lie beyond the map everywhere"),
        ({"rates_mm": (3, 0)}, r"model\.rates_mm has 0"),
        ({"rates_mm": (3, 6, 9)}, r"32 channels cannot be shared by 3"),
    ],
)
def test_reaches_are_checked_against_the_map(settings, message):
    build = {"in_channels": 1, "num_classes": 3, "width": 8, "depth": 3, "spacing_mm": 1.0, "rates_mm": (3, 6, 9, 12)}
    if message is None:
        MRLN(**{**build, **settings})
        return
    with pytest.raises(ValueError, match=message):
        MRLN(**{**build, **settings})
