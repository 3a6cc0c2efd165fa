"""The gates of the Attention U-Net, and MONAI's variant."""

import numpy as np
import pytest
import torch

from models.attention_unet import AttentionUNet, GridGate
from models.attention_unet_monai import MonaiAttentionUNet


def doubled(values: np.ndarray) -> np.ndarray:
    """A row brought to twice its length: each new centre lies a quarter between two old ones."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    even, odd = 0.25 * padded[:-2] + 0.75 * values, 0.75 * values + 0.25 * padded[2:]
    return np.stack([even, odd], axis=1).ravel()


def test_a_gate_equals_its_formula_written_out():
    torch.manual_seed(0)
    gate = GridGate(skip_channels=3, gating_channels=5).eval()
    skip, gating = torch.randn(1, 3, 8, 6), torch.randn(1, 5, 4, 3)
    with torch.no_grad():
        result = gate(skip, gating)
    x, g = skip[0].numpy().astype(float), gating[0].numpy().astype(float)
    layers = {name: value.detach().numpy().astype(float) for name, value in gate.state_dict().items()}
    coefficients = np.zeros((4, 3))
    for row in range(4):
        for column in range(3):
            cell = x[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            theta = (layers["theta.weight"] * cell).sum(axis=(1, 2, 3))
            phi = layers["phi.weight"][:, :, 0, 0] @ g[:, row, column] + layers["phi.bias"]
            psi = layers["psi.weight"][0, :, 0, 0] @ np.maximum(theta + phi, 0) + layers["psi.bias"][0]
            coefficients[row, column] = 1 / (1 + np.exp(-psi))
    saliency = np.apply_along_axis(doubled, 1, np.apply_along_axis(doubled, 0, coefficients))
    np.testing.assert_allclose(result.saliency[0, 0], saliency, rtol=1e-4)
    gated = np.einsum("dc,chw->dhw", layers["output.0.weight"][:, :, 0, 0], saliency * x)
    gated = (gated + layers["output.0.bias"][:, None, None]) / np.sqrt(1 + 1e-5)  # untrained batch normalisation
    np.testing.assert_allclose(result.features[0], gated, rtol=1e-3, atol=1e-5)


def test_gates_are_on_stages_two_to_four_and_the_skip_at_full_resolution_passes_as_it_is():
    network = AttentionUNet(in_channels=1, num_classes=3, width=4)
    channels = [(gate.theta.in_channels, gate.phi.in_channels) for gate in network.decoder.gates]
    assert channels == [(32, 64), (16, 32), (8, 16)]


@pytest.mark.parametrize(("network", "stride"), [(AttentionUNet, 2), (MonaiAttentionUNet, 1)])
def test_saliency_is_that_of_the_finest_gate(network, stride):
    torch.manual_seed(0)
    prediction = network(in_channels=1, num_classes=3, width=4).eval()(torch.randn(2, 1, 32, 48))
    assert prediction.saliency.shape == prediction.gated_features.shape == (2, 1, 32 // stride, 48 // stride)
    assert prediction.saliency.std() > 0


def test_monais_forward_walked_through_is_monais_forward():
    torch.manual_seed(0)
    network = MonaiAttentionUNet(in_channels=2, num_classes=3, width=4).eval()
    image = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(image).logits, network.network(image))


def test_monais_variant_refuses_a_size_that_does_not_fit():
    with pytest.raises(ValueError, match=r"60 x 64 pixels.*data\.size=\[64,64\]"):
        MonaiAttentionUNet(in_channels=1, num_classes=2, width=2)(torch.zeros(1, 1, 60, 64))
