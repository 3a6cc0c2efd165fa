"""DGMSNet and SCAR-Net: which loss trains what, and each block against its definition."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn import functional as F

from lightning_modules.learning_rate import step_at
from models.dgmsnet.adapters import DirectAdapter, filter_by_slice
from models.dgmsnet.deeplab import ImagePooling
from models.dgmsnet.fusion import SumFusion
from models.dgmsnet.network import TwoPathNetwork, cells_of_peaks
from models.dgmsnet.xception import ResidualBlock
from models.scarnet.attention import ChannelAttention, PositionAttention
from models.scarnet.mcca import MultiChannelCrossAttention
from tests.batches import random_batch

ROWS = ("scarnet_baseline", "scarnet_mcca", "scarnet_at", "scarnet", "dgmsnet")


def parts_with_gradient(network: nn.Module, loss: torch.Tensor) -> set[str]:
    network.zero_grad()
    loss.backward(retain_graph=True)
    return {
        name
        for name, part in network.named_children()
        if any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in part.parameters())
    }


@pytest.mark.parametrize("row", ROWS)
def test_each_loss_trains_the_paths_that_the_design_lets_it(composed, row):
    """Key points train the recognition path alone; masks train everything but its decoder."""
    torch.manual_seed(0)
    config = composed(f"experiment={row}", "trainer=smoke")
    network = instantiate(config.model)(in_channels=1, num_classes=4)
    nn.init.normal_(network.recognition_decoder.head.weight)  # that it starts at zero holds its encoder up for a step
    terms = instantiate(config.objective)(num_classes=4).terms
    batch = random_batch(num_keypoints=10)
    prediction = network(batch.image)
    losses = {name: terms[name](prediction, batch, torch.ones(4)) for name in ("segmentation", "keypoints")}
    recognition = {"recognition_encoder", "recognition_decoder"}
    assert parts_with_gradient(network, losses["keypoints"]) == recognition
    learning = {name for name, part in network.named_children() if any(True for _ in part.parameters())}
    assert parts_with_gradient(network, losses["segmentation"]) == learning - {"recognition_decoder"}
    untouched = [
        name
        for name, parameter in network.recognition_encoder.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert not untouched, "masks reach the whole recognition encoder through what it delivers"


@pytest.mark.parametrize("row", ROWS)
def test_the_recognition_path_may_learn_from_key_points_alone(composed, row):
    torch.manual_seed(0)
    config = composed(f"experiment={row}", "trainer=smoke", "model.masks_train_recognition=false")
    network = instantiate(config.model)(in_channels=1, num_classes=4).eval()
    twin = instantiate(config.model)(in_channels=1, num_classes=4, masks_train_recognition=True).eval()
    twin.load_state_dict(network.state_dict())
    batch = random_batch(num_keypoints=10)
    logits = network(batch.image).logits
    assert torch.equal(logits, twin(batch.image).logits)
    assert not parts_with_gradient(network, logits.square().sum()) & {"recognition_encoder", "recognition_decoder"}


def test_weak_cases_change_the_masks_only_through_the_recognition_encoder(composed):
    """A step on key points alone leaves every weight of the segmentation path where it was."""
    torch.manual_seed(0)
    config = composed("experiment=scarnet", "trainer=smoke")
    network = instantiate(config.model)(in_channels=1, num_classes=4)
    objective = instantiate(config.objective)(num_classes=4)
    batch = random_batch(num_keypoints=10)
    batch.has_mask[:] = False
    before = {name: value.clone() for name, value in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(2):  # the first moves the head away from zero
        total, _ = objective(network(batch.image), batch)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    moved = {name.split(".")[0] for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {"recognition_encoder", "recognition_decoder"}


def test_batch_norms_and_scales_train(composed):
    torch.manual_seed(0)
    config = composed("experiment=scarnet", "trainer=smoke")
    network = instantiate(config.model)(in_channels=1, num_classes=4)
    objective = instantiate(config.objective)(num_classes=4)
    batch = random_batch(num_slices=4, num_keypoints=10)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(3):
        total, _ = objective(network(batch.image), batch)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    scales = {name: value.item() for name, value in network.named_parameters() if name.startswith("fusion.scale")}
    assert len(scales) == 3
    assert all(abs(value) > 1e-3 for value in scales.values()), scales
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(bool((norm.running_mean != 0).any()) for norm in norms)
    assert all(bool((norm.weight != 1).any()) for norm in norms)


def test_heat_maps_start_at_zero_and_their_head_can_learn():
    network = TwoPathNetwork(
        in_channels=1, num_classes=3, keypoints=["L1", "L2"], adapter=DirectAdapter, fusion=SumFusion, width=4
    )
    prediction = network(torch.randn(2, 1, 32, 32))
    assert not prediction.heatmaps.any()
    assert prediction.attention is None
    (prediction.heatmaps - 1).square().sum().backward()
    assert network.recognition_decoder.head.weight.grad.any()


@pytest.mark.parametrize("size", [(33, 47), (50, 32), (64, 17)])
def test_any_image_size_will_do(size):
    network = TwoPathNetwork(
        in_channels=1, num_classes=3, keypoints=["L1"], adapter=DirectAdapter, fusion=SumFusion, width=4
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
    block, features = ResidualBlock((3, 4, 4, 5), stride=2), torch.randn(2, 3, 7, 8)
    subsample, convolution, _ = block.shortcut
    expected = F.conv2d(features, convolution.weight, stride=2)
    torch.testing.assert_close(convolution(subsample(features)), expected)


def test_the_dynamic_kernel_equals_a_loop_over_slices():
    features, kernels = torch.randn(3, 4, 6, 5), torch.randn(3, 4, 7, 7)
    expected = [
        F.conv2d(one[None], kernel[:, None], padding=3, groups=4) for one, kernel in zip(features, kernels, strict=True)
    ]
    torch.testing.assert_close(filter_by_slice(features, kernels), torch.cat(expected))


def softmax(values: np.ndarray) -> np.ndarray:
    exponent = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponent / exponent.sum(axis=-1, keepdims=True)


def projected(module: nn.Module, name: str, features: torch.Tensor) -> np.ndarray:
    return getattr(module, name)(features).flatten(2)[0].detach().numpy().astype(float)


def test_position_attention_is_its_formula():
    """softmax(a^T b) over positions, then c: positions as rows."""
    torch.manual_seed(0)
    block, features = PositionAttention(16), torch.randn(1, 16, 3, 4)
    a, b, c = (projected(block, name, features) for name in ("query", "key", "value"))
    weights = softmax(a.T @ b)
    np.testing.assert_allclose(block(features)[0].detach().flatten(1).numpy(), c @ weights.T, rtol=1e-4, atol=1e-5)
    positions = torch.tensor([[5, 0, 11]])
    looked = block.weights(features, positions)[0].detach().flatten(1).numpy()
    np.testing.assert_allclose(looked, weights[[5, 0, 11]], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("energy", "factor"), [("sum", 1), ("mean", 1 / 12), ("inverted", -1)])
def test_channel_attention_is_its_formula(energy, factor):
    torch.manual_seed(0)
    block, features = ChannelAttention(6, energy=energy), torch.randn(1, 6, 3, 4)
    a, b, c = (projected(block, name, features) for name in ("query", "key", "value"))
    expected = softmax(factor * a @ b.T) @ c
    np.testing.assert_allclose(block(features)[0].detach().flatten(1).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reading", ["residual", "cross_sum", "cross_residual"])
def test_the_readings_of_cross_attention(reading):
    """F1 and F2 of each reading, written out, then joined by a sum and without channel attention."""
    torch.manual_seed(0)
    block = MultiChannelCrossAttention(channels=8, reading=reading, combine="add")
    x, y = torch.randn(2, 1, 8, 3, 3)
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
    assert attention.shape == (2, 10, 2, 3)


def test_the_rate_falls_at_each_third():
    parameter = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.Adam([parameter], lr=1.0)
    scheduler = step_at(optimizer, 9, at=(1 / 3, 2 / 3), factor=0.2)
    rates = []
    for _ in range(9):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1.0] * 3 + [0.2] * 3 + [0.04] * 3)
