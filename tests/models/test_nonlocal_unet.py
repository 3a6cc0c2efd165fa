"""The non-local block against its definition."""

import numpy as np
import pytest
import torch

from models.nonlocal_unet import NonLocalBlock, NonLocalUNet


def pooled(values: np.ndarray, side: int) -> np.ndarray:
    channels, height, width = values.shape
    return values.reshape(channels, height // side, side, width // side, side).max(axis=(2, 4))


def naive(block: NonLocalBlock, x: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Output and saliency, position by position."""
    layers = {name: value.detach().numpy().astype(float) for name, value in block.state_dict().items()}

    def project(name: str, values: np.ndarray) -> np.ndarray:
        weight, bias = layers[f"{name}.weight"][:, :, 0, 0], layers[f"{name}.bias"]
        return np.einsum("dc,chw->dhw", weight, values) + bias[:, None, None]

    theta, phi, g = project("theta", x), pooled(project("phi", x), side), pooled(project("g", x), side)
    gathered, attended = np.zeros_like(theta), np.zeros(phi.shape[1:])
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            likeness = np.exp((theta[:, row, column, None, None] * phi).sum(axis=0))
            weights = likeness / likeness.sum()
            gathered[:, row, column] = (weights * g).sum(axis=(1, 2))
            attended += weights
    scale, shift = layers["output.1.weight"] / np.sqrt(1 + 1e-5), layers["output.1.bias"]
    return x + project("output.0", gathered) * scale[:, None, None] + shift[:, None, None], attended / attended.max()


@pytest.mark.parametrize("side", [1, 2])
@pytest.mark.parametrize("training", [False, True])
def test_the_block_equals_a_loop_over_positions(side, training):
    torch.manual_seed(0)
    block = NonLocalBlock(6, inner_channels=3, subsample=side)
    for parameter in block.output[1].parameters():
        torch.nn.init.normal_(parameter)
    block.train(training)
    block.output.eval()  # the loop has no batch to normalise by
    x = torch.randn(1, 6, 4, 6)
    with torch.no_grad():
        ours = block(x)
    expected, attended = naive(block, x[0].numpy().astype(float), side)
    np.testing.assert_allclose(ours[0], expected, rtol=1e-4, atol=1e-5)
    if training:
        assert block.saliency is None
    else:
        np.testing.assert_allclose(block.saliency[0, 0], attended, rtol=1e-4)


def test_a_new_block_changes_nothing_and_can_learn():
    torch.manual_seed(0)
    block = NonLocalBlock(4, inner_channels=2)
    x = torch.randn(2, 4, 4, 4)
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    assert block.output[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("placement", "channels", "grid"),
    [
        ("bottleneck", [(64, 32)], 2),
        ("bottleneck_and_eighth", [(32, 16), (64, 32)], 2),
        ("pooled", [(4, 1), (8, 2)], 2),
    ],
)
def test_where_the_blocks_are(placement, channels, grid):
    network = NonLocalUNet(in_channels=1, num_classes=3, width=4, placement=placement).eval()
    blocks = [module for module in network.modules() if isinstance(module, NonLocalBlock)]
    assert [(block.theta.in_channels, block.theta.out_channels) for block in blocks] == channels
    saliency = network(torch.randn(2, 1, 32, 32)).saliency
    assert saliency.shape == (2, 1, grid, grid)
    torch.testing.assert_close(saliency.amax(dim=(2, 3)), torch.ones(2, 1))


def test_an_unknown_placement_is_refused():
    with pytest.raises(ValueError, match=r"model\.placement is 'x', expected bottleneck"):
        NonLocalUNet(in_channels=1, num_classes=2, width=2, placement="x")
