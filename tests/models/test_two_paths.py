"""DGMSNet and SCAR-Net: which loss trains what, and each block against its definition."""

import re
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn import functional as F

from lightning_modules.learning_rate import steps
from models.dgmsnet.adapters import DirectAdapter, filter_by_slice
from models.dgmsnet.deeplab import ImagePooling
from models.dgmsnet.fusion import SumFusion
from models.dgmsnet.network import TwoPathNetwork, cells_of_peaks
from models.dgmsnet.xception import ResidualBlock
from models.scarnet.attention import ChannelAttention, PositionAttention
from models.scarnet.mcca import MultiChannelCrossAttention
from tests.made.batches import random_batch

GAUSSIAN = "model/adapter=gaussian_attention"
ROWS = [
    *[(row,) for row in ("scarnet_baseline", "scarnet_mcca", "scarnet_at", "scarnet", "dgmsnet")],
    ("scarnet", GAUSSIAN),
    ("dgmsnet", GAUSSIAN),
]
WHOLE = (("scarnet",), ("scarnet", GAUSSIAN))
of_each_row = pytest.mark.parametrize("row", ROWS, ids=" ".join)
# In one draw a channel of a narrow network may be silent, or the steps of a weight cancel; which one, processors differ
# in. What a loss reaches, it reaches in one of these draws; what it does not, in none.
DRAWS = range(4)


def network_of(config, seed: int = 0) -> TwoPathNetwork:
    torch.manual_seed(seed)
    return instantiate(config.model)(in_channels=1, num_classes=4)


def reached(network: nn.Module, loss: torch.Tensor) -> set[str]:
    """Names of the parameters at which the loss has a gradient that is not zero."""
    network.zero_grad()
    loss.backward(retain_graph=True)
    return {name for name, value in network.named_parameters() if value.grad is not None and bool(value.grad.any())}


def parts_of(names: Iterable[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def moved_by_training(config, num_steps: int, seed: int, has_mask: bool = True) -> tuple[TwoPathNetwork, set[str]]:
    """A network after steps of Adam on a batch, and names of the parameters that moved in any of them."""
    network = network_of(config, seed)
    objective = instantiate(config.objective)(num_classes=4)
    batch = random_batch(num_slices=4, num_keypoints=10, seed=seed)
    batch.has_mask[:] = has_mask
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    moved: set[str] = set()
    for _ in range(num_steps):
        before = {name: value.detach().clone() for name, value in network.named_parameters()}
        total, _ = objective(network(batch.image), batch)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        moved |= {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    return network, moved


@of_each_row
def test_each_loss_trains_the_paths_that_the_design_lets_it(composed, row):
    """Key points train the recognition path alone; masks train everything but its decoder."""
    config = composed(f"experiment={row[0]}", "trainer=smoke", *row[1:])
    terms = instantiate(config.objective)(num_classes=4).terms
    by_masks: set[str] = set()
    by_keypoints: set[str] = set()
    for seed in DRAWS:
        network, batch = network_of(config, seed), random_batch(num_keypoints=10, seed=seed)
        nn.init.normal_(network.recognition_decoder.head.weight)  # zero, as at the start, it lets no gradient through
        prediction = network(batch.image)
        by_masks |= reached(network, terms["segmentation"](prediction, batch, torch.ones(4)))
        by_keypoints |= reached(network, terms["keypoints"](prediction, batch, torch.ones(4)))
    every = {name for name, _ in network.named_parameters()}
    assert parts_of(by_keypoints) == {"recognition_encoder", "recognition_decoder"}
    assert parts_of(by_masks) == parts_of(every) - {"recognition_decoder"}
    # Weights alone: the next batch normalisation takes off what a bias adds, and rounding is all of its gradient.
    untouched = {name for name in every - by_masks if re.fullmatch(r"recognition_encoder\..*weight", name)}
    assert not untouched, "masks reach the whole recognition encoder through what it delivers"


@of_each_row
def test_the_recognition_path_may_learn_from_key_points_alone(composed, row):
    config = composed(f"experiment={row[0]}", "trainer=smoke", "model.masks_train_recognition=false", *row[1:])
    network = network_of(config).eval()
    twin = instantiate(config.model)(in_channels=1, num_classes=4, masks_train_recognition=True).eval()
    twin.load_state_dict(network.state_dict())
    batch = random_batch(num_keypoints=10)
    logits = network(batch.image).logits
    assert torch.equal(logits, twin(batch.image).logits)
    assert not parts_of(reached(network, logits.square().sum())) & {"recognition_encoder", "recognition_decoder"}


@pytest.mark.parametrize("row", WHOLE, ids=" ".join)
def test_weak_cases_change_the_masks_only_through_the_recognition_encoder(composed, row):
    """Steps on key points alone leave every weight of the segmentation path where it was."""
    config = composed(f"experiment={row[0]}", "trainer=smoke", *row[1:])
    _, moved = moved_by_training(config, num_steps=2, seed=0, has_mask=False)  # the first moves the head off zero
    assert parts_of(moved) == {"recognition_encoder", "recognition_decoder"}


@pytest.mark.slow
@pytest.mark.parametrize(("row", "num_scales"), [(WHOLE[0], 3), (WHOLE[1], 4)], ids=["scarnet", "gaussian"])
def test_batch_norms_and_scales_train(composed, row, num_scales):
    config = composed(f"experiment={row[0]}", "trainer=smoke", *row[1:])
    moved: set[str] = set()
    for seed in DRAWS:
        network, names = moved_by_training(config, num_steps=3, seed=seed)
        moved |= names
        norms = {name: module for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
        assert all(bool((norm.running_mean != 0).any()) for norm in norms.values())
    scales = {name for name, value in network.named_parameters() if value.dim() == 0}
    assert len(scales) == num_scales
    assert {*scales, *(f"{name}.weight" for name in norms)} - moved == set()


def test_heat_maps_start_at_zero_and_their_head_can_learn():
    network = TwoPathNetwork(
        in_channels=1, num_classes=3, keypoints=["L1", "L2"], adapter=DirectAdapter, fusion=SumFusion, width=4
    )
    prediction = network(torch.randn(2, 1, 32, 32))
    assert not prediction.heatmaps.any()
    assert prediction.attention is None
    (prediction.heatmaps - 1).square().sum().backward()
    assert network.recognition_decoder.head.weight.grad.any()


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("size", [(33, 47), (50, 32), (64, 17)])
def test_any_image_size_will_do(size, stem_stride):
    network = TwoPathNetwork(
        in_channels=1,
        num_classes=3,
        keypoints=["L1"],
        adapter=DirectAdapter,
        fusion=SumFusion,
        width=4,
        stem_stride=stem_stride,
    ).eval()
    prediction = network(torch.randn(1, 1, *size))
    assert prediction.logits.shape == (1, 3, *size)
    assert prediction.heatmaps.shape == (1, 1, *size)


def test_a_batch_of_one_slice_trains_and_normalises_by_the_running_statistics():
    torch.manual_seed(0)
    pooling = ImagePooling(3, 2)
    pooling(torch.randn(4, 3, 5, 5))
    mean = pooling.norm.running_mean.clone()
    single = torch.randn(1, 3, 5, 5)
    trained = pooling.train()(single)
    assert torch.equal(pooling.norm.running_mean, mean)
    torch.testing.assert_close(trained, pooling.eval()(single))


def test_image_pooling_of_a_batch_is_its_layers_in_a_row():
    torch.manual_seed(0)
    ours, features = ImagePooling(3, 2), torch.randn(4, 3, 5, 6)
    norm = nn.BatchNorm2d(2)
    expected = F.relu(norm(F.conv2d(F.adaptive_avg_pool2d(features, 1), ours.convolution.weight))).expand(4, 2, 5, 6)
    torch.testing.assert_close(ours(features), expected)
    torch.testing.assert_close(ours.norm.running_var, norm.running_var)


def test_a_shortcut_in_two_steps_is_a_strided_convolution():
    torch.manual_seed(0)
    block, features = ResidualBlock((3, 4, 4, 5), stride=2).double(), torch.randn(2, 3, 7, 8).double()
    subsample, convolution, _ = block.shortcut
    expected = F.conv2d(features, convolution.weight, stride=2)
    torch.testing.assert_close(convolution(subsample(features)), expected)


def test_the_dynamic_kernel_equals_a_loop_over_slices():
    torch.manual_seed(0)
    features, kernels = torch.randn(3, 4, 6, 5).double(), torch.randn(3, 4, 7, 7).double()
    expected = [
        F.conv2d(one[None], kernel[:, None], padding=3, groups=4) for one, kernel in zip(features, kernels, strict=True)
    ]
    torch.testing.assert_close(filter_by_slice(features, kernels), torch.cat(expected))


def softmax(values: np.ndarray) -> np.ndarray:
    exponent = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponent / exponent.sum(axis=-1, keepdims=True)


def projected(module: nn.Module, name: str, features: torch.Tensor) -> np.ndarray:
    return getattr(module, name)(features).flatten(2)[0].detach().numpy()


def test_position_attention_is_its_formula():
    """softmax(a^T b) over positions, then c: positions as rows."""
    torch.manual_seed(0)
    block, features = PositionAttention(16).double(), torch.randn(1, 16, 3, 4).double()
    a, b, c = (projected(block, name, features) for name in ("query", "key", "value"))
    weights = softmax(a.T @ b)
    np.testing.assert_allclose(block(features)[0].detach().flatten(1).numpy(), c @ weights.T, rtol=1e-9)
    positions = torch.tensor([[5, 0, 11]])
    looked = block.weights(features, positions)[0].detach().flatten(1).numpy()
    np.testing.assert_allclose(looked, weights[[5, 0, 11]], rtol=1e-5)


@pytest.mark.parametrize(("energy", "factor"), [("sum", 1), ("mean", 1 / 12), ("inverted", -1)])
def test_channel_attention_is_its_formula(energy, factor):
    torch.manual_seed(0)
    block, features = ChannelAttention(6, energy=energy).double(), torch.randn(1, 6, 3, 4).double()
    a, b, c = (projected(block, name, features) for name in ("query", "key", "value"))
    expected = softmax(factor * a @ b.T) @ c
    np.testing.assert_allclose(block(features)[0].detach().flatten(1).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("reading", ["residual", "cross_sum", "cross_residual"])
def test_the_readings_of_cross_attention(reading):
    """F1 and F2 of each reading, written out, then joined by a sum and without channel attention."""
    torch.manual_seed(0)
    block = MultiChannelCrossAttention(channels=8, reading=reading, combine="add").double()
    x, y = torch.randn(2, 1, 8, 3, 3).double()
    with torch.no_grad():
        block.scale_inter.fill_(0.5)
        block.scale_intra.fill_(2.0)
        attended_x, attended_y = block.inter_class(x), block.intra_class(y)
        first, second = {
            "residual": (0.5 * attended_x + x, 2 * attended_y + y),
            "cross_sum": (0.5 * attended_x + attended_y, 2 * attended_y + attended_x),
            "cross_residual": (0.5 * attended_x + y, 2 * attended_y + x),
        }[reading]
        torch.testing.assert_close(block(x, y), first + second)
        block.scale_channel.fill_(1.0)
        fused = first + second
        torch.testing.assert_close(block(x, y), fused + block.channel(fused))


def test_new_cross_attention_attends_to_nothing():
    block = MultiChannelCrossAttention(channels=8, combine="add")
    x, y = torch.randn(2, 2, 8, 3, 3)
    torch.testing.assert_close(block(x, y), x + y)


def test_the_cell_of_a_peak():
    heatmaps = torch.zeros(1, 3, 32, 48)
    for index, (row, column) in enumerate([(0, 0), (17, 47), (31, 20)]):
        heatmaps[0, index, row, column] = 1
    assert cells_of_peaks(heatmaps, (2, 3)).tolist() == [[0, 5, 4]]


def test_attention_is_for_looking_and_not_for_training(composed):
    network = instantiate(composed("experiment=scarnet", "trainer=smoke").model)(in_channels=1, num_classes=4)
    assert network(torch.randn(2, 1, 32, 32)).attention is None
    attention = network.eval()(torch.randn(2, 1, 32, 48)).attention
    assert attention.shape == (2, 10, 4, 6)


def test_the_rate_falls_at_each_third():
    rates = [steps(epoch, 9, at=(1 / 3, 2 / 3), factor=0.2) for epoch in range(9)]
    assert rates == pytest.approx([1.0] * 3 + [0.2] * 3 + [0.04] * 3)
