"""The loss of the heat maps: what it is worth, and what contributes nothing to it."""

from dataclasses import replace

import pytest
import torch

from lightning_modules.losses.heatmaps import HeatmapRegression, gaussian_heatmaps, visible_keypoints
from models.prediction import Prediction
from models.strides import Strides
from tests.made.batches import random_batch

ONES = torch.ones(4)
NOWHERE = torch.tensor([torch.nan, torch.nan])


def predicted(heatmaps: torch.Tensor) -> Prediction:
    return Prediction(logits=torch.zeros(len(heatmaps), 4, *heatmaps.shape[2:]), heatmaps=heatmaps)


def batch_with(keypoints, size=(32, 32), spacing_mm=1.5):
    keypoints = torch.as_tensor(keypoints, dtype=torch.float32)
    batch = random_batch(num_slices=len(keypoints), size=size, num_keypoints=keypoints.shape[1])
    return replace(batch, keypoints=keypoints, spacing_mm=torch.full((len(keypoints), 2), spacing_mm))


def test_a_heat_map_is_a_gaussian_in_millimetres():
    keypoints = torch.tensor([[[7.25, 4.0], [torch.nan, torch.nan]]])
    maps = gaussian_heatmaps(keypoints, torch.tensor([[2.0, 1.0]]), (12, 16), torch.tensor([3.0]))
    assert maps.shape == (1, 2, 12, 16)
    assert maps[0, 0, 4, 7] == pytest.approx(torch.exp(torch.tensor(-(0.25**2) / 18)).item())
    distance = (2.0 * (9 - 4)) ** 2 + (1.0 * (2 - 7.25)) ** 2
    assert maps[0, 0, 9, 2] == pytest.approx(torch.exp(torch.tensor(-distance / 18)).item(), rel=1e-5)
    assert not maps[0, 1].any()


def test_every_slice_has_a_width_of_its_own():
    keypoints, spacing = torch.full((2, 1, 2), 8.0), torch.full((2, 2), 1.5)
    both = gaussian_heatmaps(keypoints, spacing, (17, 17), torch.tensor([3.0, 6.0]))
    alone = [gaussian_heatmaps(keypoints[:1], spacing[:1], (17, 17), torch.tensor([sigma])) for sigma in (3.0, 6.0)]
    assert torch.equal(both, torch.cat(alone))


@pytest.mark.parametrize(
    ("stride", "spacing_mm", "cells", "sigma_mm"),
    [
        (4, 0.7, 1.0, 3.0),  # the paper: cells of 2.8 mm
        (2, 1.75, 1.0, 3.5),
        (4, 1.75, 1.0, 7.0),
        (2, 1.75, 0.5, 3.0),
    ],
)
def test_a_gaussian_is_never_narrower_than_the_decoder_can_draw(stride, spacing_mm, cells, sigma_mm):
    """The target, found where nothing is left of the loss, is a cell of the decoder wide, or 3 mm."""
    term, batch = HeatmapRegression(min_sigma_cells=cells), batch_with([[[16.0, 16.0]]], spacing_mm=spacing_mm)
    term.see_network(Strides(low=stride, bottleneck=4 * stride))
    target = gaussian_heatmaps(batch.keypoints, batch.spacing_mm, (32, 32), torch.tensor([sigma_mm]))
    assert term(predicted(target), batch, ONES) == 0
    assert term.sigmas_mm(torch.tensor([[0.5, spacing_mm], [0.5, 0.5]])).tolist() == pytest.approx([sigma_mm, 3.0])


def test_the_loss_is_the_mean_over_the_reference_field():
    """A slice of just that field, all key points visible: the plain mean squared error."""
    batch = batch_with([[[10.0, 12.0], [20.0, 5.0]]] * 2)
    heatmaps = torch.randn(2, 2, 32, 32)
    target = gaussian_heatmaps(batch.keypoints, batch.spacing_mm, (32, 32), torch.full((2,), 3.0))
    ours = HeatmapRegression(field_mm=32 * 1.5)(predicted(heatmaps), batch, ONES)
    torch.testing.assert_close(ours, (heatmaps - target).square().mean())


@pytest.mark.parametrize(("size", "spacing_mm"), [((96, 64), 1.5), ((64, 64), 0.75)])
def test_a_missed_peak_costs_the_same_on_any_field_and_grid(size, spacing_mm):
    reference = batch_with([[[32.0, 32.0]]], size=(64, 64), spacing_mm=1.5)
    other = batch_with([[[32.0, 32.0]]], size=size, spacing_mm=spacing_mm)
    losses = [
        HeatmapRegression()(predicted(torch.zeros(1, 1, *s)), b, ONES)
        for s, b in (((64, 64), reference), (size, other))
    ]
    torch.testing.assert_close(*losses, rtol=1e-3, atol=0)


def test_the_weight_of_a_missed_peak_is_what_the_paper_has():
    """At 512 pixels of 0.7 mm a peak of 3 mm is pi sigma^2 of 358 mm squared: some 0.02 % of the mean."""
    loss = HeatmapRegression()(
        predicted(torch.zeros(1, 1, 128, 128)), batch_with([[[64.0, 64.0]]], (128, 128), 0.7), ONES
    )
    assert loss.item() == pytest.approx(torch.pi * 9 / 358**2, rel=1e-3)


@pytest.mark.parametrize("place", [NOWHERE, torch.tensor([-0.6, 5.0]), torch.tensor([5.0, 31.6])])
def test_a_key_point_that_is_not_on_the_image_contributes_nothing(place):
    batch = batch_with([[[10.0, 12.0], [20.0, 5.0]]])
    batch.keypoints[0, 1] = place
    heatmaps = torch.randn(1, 2, 32, 32, requires_grad=True)
    loss = HeatmapRegression()(predicted(heatmaps), batch, ONES)
    loss.backward()
    assert torch.isfinite(heatmaps.grad).all()
    assert heatmaps.grad[0, 0].any()
    assert not heatmaps.grad[0, 1].any()
    alone = batch_with([[[10.0, 12.0]]])
    torch.testing.assert_close(loss, HeatmapRegression()(predicted(heatmaps[:, :1]), alone, ONES))


def test_cases_without_key_points_are_left_out_and_a_batch_of_them_is_zero():
    batch = batch_with([[[10.0, 12.0]], [[20.0, 5.0]]])
    batch.has_keypoints[1] = False
    heatmaps = torch.randn(2, 1, 32, 32, requires_grad=True)
    HeatmapRegression()(predicted(heatmaps), batch, ONES).backward()
    assert heatmaps.grad[0].any()
    assert not heatmaps.grad[1].any()
    batch.has_keypoints[0] = False
    assert HeatmapRegression()(predicted(heatmaps), batch, ONES) == 0


def test_edges_of_the_image_belong_to_it():
    keypoints = torch.tensor([[[-0.5, 0.0], [15.5, 11.5], [15.6, 3.0], [3.0, -0.6]]])
    assert visible_keypoints(keypoints, (12, 16)).tolist() == [[True, True, False, False]]


def test_a_network_without_the_right_heat_maps_is_refused():
    batch = batch_with([[[10.0, 12.0]]])
    with pytest.raises(ValueError, match=r"predicts no heat maps.*objective\.terms\.keypoints=null"):
        HeatmapRegression()(Prediction(logits=torch.zeros(1, 4, 32, 32)), batch, ONES)
    with pytest.raises(ValueError, match="predicts 2 heat maps, the cohort has 1 key points"):
        HeatmapRegression()(predicted(torch.zeros(1, 2, 32, 32)), batch, ONES)
    with pytest.raises(ValueError, match=r"sigma_mm is 0\.0"):
        HeatmapRegression(sigma_mm=0.0)
    with pytest.raises(ValueError, match="min_sigma_cells is 0, expected a positive number of cells"):
        HeatmapRegression(min_sigma_cells=0)
