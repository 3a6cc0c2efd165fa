"""The adaptive transformer as attention around key points (SCAR-Net, section 3.2)."""

import numpy as np
import pytest
import torch
from torch import nn

from models.scarnet.attention import PositionAttention
from models.scarnet.gaussian_attention import FLOOR, GaussianAttentionAdapter, nearness_to_peaks
from tests.models.test_two_paths import softmax

GRID = (5, 4)  # cells of 16 x 16 pixels
CELLS = GRID[0] * GRID[1]


def peaks_at(*places: tuple[float, float], height: float = 1.0) -> torch.Tensor:
    """Heat maps of 80 x 64 pixels, each with a narrow peak of 1 in (row, column)."""
    rows, columns = torch.arange(80.0)[:, None], torch.arange(64.0)
    maps = [torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18) for row, column in places]
    return height * torch.stack(maps)[None]


def attention_of(heatmaps: torch.Tensor, sigma_mm: float = 15.0) -> torch.Tensor:
    """Weights "q h w" of every position, read off features of which each channel marks one position.

    With queries and keys of zero the attention itself has no preference.
    """
    adapter = GaussianAttentionAdapter(channels=CELLS, spacing_mm=1.0, sigma_mm=sigma_mm)
    for projection in (adapter.attention.query, adapter.attention.key, adapter.attention.value):
        nn.init.zeros_(projection.weight)
        nn.init.zeros_(projection.bias)
    with torch.no_grad():
        adapter.attention.value.weight.copy_(torch.eye(CELLS)[..., None, None])
        adapter.scale.fill_(1.0)
        marks = torch.eye(CELLS).reshape(1, CELLS, *GRID)
        gathered = adapter(marks, torch.zeros(1, CELLS, *GRID), heatmaps)
    return gathered[0].flatten(1).T.unflatten(1, GRID)


def distances(row: float, column: float) -> torch.Tensor:
    """Of the centres of the cells from a point, in pixels."""
    centre = [(torch.arange(number) + 0.5) * 16 - 0.5 for number in GRID]
    return torch.hypot((centre[0] - row)[:, None], centre[1] - column)


@pytest.mark.parametrize("place", [(7, 8), (40, 30), (72, 55), (39, 63)])
def test_a_lone_key_point_attracts_the_attention_of_every_position(place):
    """Weights sum to 1 and fall with the distance of what is looked at, wherever it is looked from."""
    weights = attention_of(peaks_at(place))
    torch.testing.assert_close(weights.sum(dim=(1, 2)), torch.ones(CELLS))
    torch.testing.assert_close(weights, weights[:1].expand_as(weights))
    away = distances(*place)
    expected = torch.exp(-away.square() / (2 * 15.0**2)).clamp(min=FLOOR)
    torch.testing.assert_close(weights[0], expected / expected.sum(), rtol=0.01, atol=1e-4)  # the map's mean is not 0
    assert (weights[0].flatten()[away.flatten().argsort()].diff() <= 1e-6).all()


def test_moving_the_key_point_moves_the_attention():
    before, after = (attention_of(peaks_at((8 + 16 * row, 24)))[0] for row in (1, 3))
    torch.testing.assert_close(before[:3], after[2:], rtol=0.2, atol=0.005)
    assert (before.argmax() // GRID[1], after.argmax() // GRID[1]) == (1, 3)


def test_the_nearest_of_several_key_points_counts():
    near = nearness_to_peaks(peaks_at((8, 8), (72, 56)), GRID, spacing_mm=1.0, sigma_mm=15.0)
    each = [nearness_to_peaks(peaks_at(place), GRID, spacing_mm=1.0, sigma_mm=15.0) for place in ((8, 8), (72, 56))]
    torch.testing.assert_close(near, torch.maximum(*each))


@pytest.mark.parametrize("level", [-0.3, 0.0, 0.7])
def test_without_key_points_it_is_plain_attention(level):
    torch.manual_seed(0)
    adapter = GaussianAttentionAdapter(channels=16, spacing_mm=1.0).double()
    nn.init.ones_(adapter.scale)
    segmentation, recognition = torch.randn(2, 2, 16, *GRID).double()
    delivered = adapter(segmentation, recognition, torch.full((2, 3, 80, 64), level))
    torch.testing.assert_close(delivered, recognition + adapter.attention(segmentation), rtol=1e-5, atol=1e-6)


def test_a_low_peak_pulls_less_than_a_high_one():
    shares = [nearness_to_peaks(peaks_at((40, 30), height=h), GRID, spacing_mm=1.0, sigma_mm=15.0) for h in (0.2, 0.8)]
    assert shares[0].min() > FLOOR
    torch.testing.assert_close(4 * shares[0], shares[1])


def test_distances_are_in_millimetres():
    """Twice the pixel size is half the standard deviation."""
    maps = peaks_at((40, 30))
    coarse = nearness_to_peaks(maps, GRID, spacing_mm=2.0, sigma_mm=15.0)
    torch.testing.assert_close(coarse, nearness_to_peaks(maps, GRID, spacing_mm=1.0, sigma_mm=7.5))


def test_a_prior_multiplies_the_weights_of_position_attention():
    torch.manual_seed(0)
    block, features = PositionAttention(16).double(), torch.randn(1, 16, 3, 4).double()
    prior = torch.rand(1, 3, 4).double() + FLOOR
    query, key, value = (
        getattr(block, name)(features).flatten(2)[0].detach().numpy() for name in ("query", "key", "value")
    )
    weights = softmax(query.T @ key) * prior.flatten().numpy()
    expected = value @ (weights / weights.sum(axis=1, keepdims=True)).T
    np.testing.assert_allclose(block(features, prior)[0].detach().flatten(1).numpy(), expected, rtol=1e-9)


def test_at_first_the_recognition_feature_is_delivered_as_it_is():
    adapter = GaussianAttentionAdapter(channels=16, spacing_mm=1.0)
    segmentation, recognition = torch.randn(2, 2, 16, *GRID)
    heatmaps = peaks_at((8, 8)).expand(2, 1, 80, 64).clone().requires_grad_()
    delivered = adapter(segmentation, recognition, heatmaps)
    assert torch.equal(delivered, recognition)
    delivered.sum().backward()
    assert adapter.scale.grad != 0


def test_a_gaussian_without_a_width_is_refused():
    with pytest.raises(ValueError, match=r"model\.adapter\.sigma_mm is 0"):
        GaussianAttentionAdapter(channels=4, spacing_mm=1.0, sigma_mm=0)
