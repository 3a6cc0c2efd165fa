from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from lightning_modules.tasks.untrained import learns
from models.blocks.width import in_proportion
from models.bs_esnet.bsn import OrganDetectors
from models.bs_esnet.sag import CASCADES, SpatialAttentionGate, rasterise
from models.scarnet.mcca import SUMS
from models.unet import UNet
from tests.made.batches import random_batch
from tests.made.networks import network_experiments, on_meta

ROOT = Path(__file__).parents[2]
EXPERIMENTS = network_experiments()
READINGS = [
    *[f"model.sag.cascade={cascade}" for cascade in CASCADES],
    *[f"model.sag.location={location}" for location in ("every_scale", "quarter")],
    "model.sag.action=boost",
    *[f"model.bsn.mask_mode={mode}" for mode in ("hard", "straight_through")],
    "model.bsn.generator=light",
    *[f"model.query_source={source}" for source in ("annotated", "annotated_jittered")],
    "objective.terms.deep_supervision.weighting=same",
    "objective.terms.deep_supervision.resize=upsample",
    "objective.terms.key.resize=nearest",
]


def build(config, num_classes: int, in_channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return instantiate(config.model)(in_channels=in_channels, num_classes=num_classes)


def check_trains(config, in_channels: int = 1) -> None:
    """Forward, backward: right shape, finite loss, gradient at every parameter."""
    knows_structures = "structures" in config.model or "weak" in config.objective.terms
    num_classes = len(config.anatomy.structures) + 1 if knows_structures else 4
    network = build(config, num_classes=num_classes, in_channels=in_channels)
    objective = instantiate(config.objective)(num_classes=num_classes)
    module = instantiate(config.module)(network=network, objective=objective, metrics=instantiate(config.metrics))
    keypoints = len(config.anatomy.get("keypoints", ()))
    side = int(max(32, 2 * network.strides.bottleneck))  # a single cell has no variance to normalise by
    batch = random_batch(3, num_classes, (side, side), in_channels, num_keypoints=keypoints)
    objective.see_masks(batch.mask, batch.keypoints, batch.spacing_mm[0])
    if config.supervision.keypoints or config.supervision.get("unlabelled"):
        batch = replace(batch, has_mask=torch.tensor([True, True, False]))
    total, terms = module.losses(batch)
    total.backward()
    assert torch.isfinite(total)
    assert terms
    assert set(terms) == set(objective.terms)
    dead = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not dead, f"no gradient reaches {dead}"
    with torch.no_grad():
        prediction = network.eval()(batch.image)
    assert prediction.logits.shape == (3, num_classes, side, side)
    for field in (prediction.saliency, prediction.gated_features):
        assert field is None or (field.shape[:2] == (3, 1) and bool((field >= 0).all()))
    if prediction.saliency is not None:
        assert prediction.saliency.max() <= 1
    if prediction.heatmaps is not None:
        assert prediction.heatmaps.shape == (3, len(config.anatomy.keypoints), side, side)
    if prediction.attention is not None:
        assert prediction.attention.shape[:2] == prediction.heatmaps.shape[:2]
        torch.testing.assert_close(prediction.attention.sum(dim=(2, 3)), torch.ones(prediction.attention.shape[:2]))


@pytest.mark.parametrize("channels", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "experiment", [pytest.param(name, marks=pytest.mark.slow) if name == "mask_rcnn" else name for name in EXPERIMENTS]
)
def test_every_experiment_trains_all_its_parameters(composed, experiment, channels):
    config = composed(f"experiment={experiment}", "trainer=smoke")
    if not learns(config):
        pytest.skip("nothing of it is trained")
    check_trains(config, channels)


@pytest.mark.parametrize(
    "override", [*READINGS, "ablation=no_sag", "ablation=no_deep_supervision", "ablation=no_async"]
)
def test_every_reading_of_bs_esnet_is_reachable_and_trains(composed, override):
    check_trains(composed("experiment=bs_esnet", "trainer=smoke", override))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "override"),
    [
        ("attention_unet", "model=attention_unet_monai"),
        ("nonlocal_unet", "model.placement=bottleneck_and_eighth"),
        ("nonlocal_unet", "model.placement=pooled"),
        ("nonlocal_unet", "model.subsample=2"),
        ("mask_rcnn", "model.normalisation=batch"),
        *[("scarnet", f"model.fusion.reading={reading}") for reading in SUMS],
        ("scarnet", "model.fusion.combine=add"),
        *[("scarnet", f"model.fusion.channel_energy={energy}") for energy in ("sum", "inverted")],
        ("scarnet", "cohort=sagittal_vertebrae cohort.root=here"),
        *[("msff", f"model.bottleneck.{reading}") for reading in ("pooling=adaptive", "reduced_channels=1")],
        *[("msff", f"objective.terms.segmentation.size={size}") for size in ("batch", "foreground")],
        *[("lumnet", f"model.attention={attention}") for attention in ("spatial", "channel_and_spatial", "none")],
        ("baur_unet", "objective.terms.regions.combination=focal_dice"),
    ],
)
def test_every_reading_of_the_other_rows_is_reachable_and_trains(composed, experiment, override):
    check_trains(composed(f"experiment={experiment}", "trainer=smoke", *override.split()))


@pytest.mark.parametrize(
    ("experiment", "overrides", "millions"),
    [
        ("unet", ["model.width=64"], 31.04),
        ("unet", ["model.width=32"], 7.76),
        ("bs_esnet", [], 44.94),
        ("bs_esnet", ["model.bsn.generator=light"], 34.0),
        ("attention_unet", [], 34.50),  # no published count: the U-Net, its gates and the gating signal
        ("attention_unet", ["model=attention_unet_monai"], 31.74),
        ("nonlocal_unet", [], 33.1),
        ("nonlocal_unet", ["model.placement=bottleneck_and_eighth"], 33.7),
        ("mask_rcnn", [], 44.0),
        ("fcn8s", [], 134.3),
        ("fcn8s", ["model.head_channels=1024"], 41.5),
        ("segnet", [], 29.5),
        ("ce_net", [], 29.0),
        ("lumnet", [], 23.1),  # our reading; a stand-in from a library has 18.5
        ("msff", [], 13.06),
        ("msff_no_msff", [], 11.80),
        ("msff", ["model.bottleneck.pooled_channels=1"], 12.13),
        ("baur_unet", [], 24.4),
        ("dynunet", [], 31.04),  # of MONAI's, no count is published for these widths
        ("dynunet_residual", [], 31.74),
        ("segresnet", [], 25.18),
        ("basic_unet_plus_plus", [], 36.45),
        ("swin_unetr", [], 25.1),
        ("dgmsnet", [], 10.35),
        ("scarnet_at", [], 10.35),
        ("scarnet", [], 10.47),
        ("deeplab", [], 5.149111),
        ("gcsn", [], 5.249207),
        ("swdn", [], 5.412730),
        ("sshs", [], 10.298222),
        ("mrln", [], 57.6),  # this and the next: our reading of an abstract
        ("cdan", [], 41.5),
    ],
)
def test_parameter_counts_at_paper_width(composed, experiment, overrides, millions):
    config = composed(f"experiment={experiment}", "trainer=paper", *overrides)
    with on_meta():
        network = build(config, num_classes=len(config.anatomy.structures) + 1)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.02)


def test_an_input_too_small_for_the_depth_is_refused_with_the_size_that_fits():
    network = UNet(in_channels=1, num_classes=2, width=2)
    with pytest.raises(ValueError, match=r"60 x 64 pixels.*data\.size=\[64,64\]"):
        network(torch.zeros(1, 1, 60, 64))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_all_layers_are_in_proportion_to_the_width(composed, experiment):
    """Four times the parameters at twice the width, but for the layers that classes alone decide on."""
    config = composed(f"experiment={experiment}", "trainer=paper")
    if "width" not in config.model:
        pytest.skip("a library's network of one width")
    counts = []
    for config.model.width in (64, 128):
        with on_meta():
            network = build(config, num_classes=len(config.anatomy.structures) + 1)
        counts.append(sum(parameter.numel() for parameter in network.parameters()))
    assert counts[1] / counts[0] == pytest.approx(4, rel=0.06)


@pytest.mark.parametrize(
    ("channels", "width", "found"), [(16, 64, 16), (16, 16, 16), (16, 4, 4), (24, 16, 16), (256, 16, 64), (1, 16, 1)]
)
def test_no_layer_ends_narrower_than_the_first_stage_and_sixteen_channels(channels, width, found):
    """Published channels, width, channels at that width: a decoder that ends at 16 keeps them at a quarter."""
    assert in_proportion(channels, width) == found


@pytest.mark.parametrize(("side", "cells"), [(16, 4), (32, 8), (40, 10), (56, 14), (64, 8), (128, 16)])
def test_detectors_keep_the_cells_that_their_dense_layers_take(side, cells):
    """A mask is halved three times where 8 x 8 cells are left, otherwise twice."""
    detectors = OrganDetectors(1, channels=(2, 2), hidden=4)
    (pooling,) = (layer for layer in detectors.layers if isinstance(layer, nn.AdaptiveAvgPool2d))
    seen = []
    pooling.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    detectors(torch.rand(1, 1, side, side))
    assert seen == [(cells, cells)]


def test_detectors_are_independent():
    """The box of an organ depends on its own mask alone, as nine separate networks would have it."""
    torch.manual_seed(0)
    detectors = OrganDetectors(3, channels=(4, 8), hidden=16)
    masks = torch.rand(1, 3, 16, 16)
    before = detectors(masks)
    masks[:, 1] = 0
    after = detectors(masks)
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    assert not torch.equal(before[:, 1], after[:, 1])


def test_detectors_equal_separate_ones():
    """Grouped layers compute what a loop over organs with a fully connected layer each would."""
    torch.manual_seed(0)
    grouped = OrganDetectors(2, channels=(4, 8), hidden=16)
    masks = torch.rand(3, 2, 16, 16)
    expected = []
    for organ in range(2):
        single = OrganDetectors(1, channels=(4, 8), hidden=16)
        for ours, theirs in zip(single.parameters(), grouped.parameters(), strict=True):
            ours.data = theirs.data.chunk(2)[organ]
        expected.append(single(masks[:, [organ]]))
    torch.testing.assert_close(grouped(masks), torch.cat(expected, dim=1))


def test_rasterised_boxes():
    boxes = torch.tensor([[[0.5, 0.5, 0.5, 0.25], [0.05, 0.95, 0.001, 0.001], [1.4, 0.5, 0.1, 2.0], [torch.nan] * 4]])
    wide, tiny, outside, absent = rasterise(boxes, (8, 8))[0]
    expected = torch.zeros(8, 8)
    expected[3:5, 2:6] = 1
    assert torch.equal(wide, expected)
    assert tiny.sum() == 1
    assert tiny[7, 0] == 1
    assert outside.sum() == 8, "a box beyond the edge keeps the edge cells at its height"
    assert absent.sum() == 0


def test_the_gate_gives_boxes_no_gradient_and_opens_inside_them():
    torch.manual_seed(0)
    gate = SpatialAttentionGate(encoder_channels=(2, 4, 8), num_classes=3)
    boxes = torch.tensor([[[0.25, 0.5, 0.5, 1.0]] * 2], requires_grad=True)
    features = tuple(torch.rand(1, channels, 4, 4, requires_grad=True) for channels in (2, 4, 8))
    gated = gate(features, boxes)
    gated.features[-1].sum().backward()
    assert boxes.grad is None
    assert gated.features[0] is features[0]
    assert gated.saliency[..., :2].mean() > gated.saliency[..., 2:].mean()


def test_teacher_forcing_is_for_training_alone(composed):
    config = composed("experiment=bs_esnet", "trainer=smoke", "model.query_source=annotated")
    network = build(config, num_classes=4).eval()
    batch = random_batch()
    shifted = replace(batch, boxes=batch.boxes * 0.5)
    with torch.no_grad():
        assert torch.equal(network(batch.image, batch.boxes).logits, network(batch.image, shifted.boxes).logits)
    network.train()
    with pytest.raises(ValueError, match="query_source=annotated needs annotated boxes"):
        network(batch.image)


@pytest.mark.parametrize(
    ("experiment", "override"),
    [
        *[("bs_esnet", f"model.{key}=x") for key in ("sag.cascade", "sag.action", "sag.location")],
        *[("bs_esnet", f"model.{key}=x") for key in ("bsn.mask_mode", "bsn.generator")],
        *[("scarnet", f"model.{key}=x") for key in ("fusion.reading", "fusion.combine", "fusion.channel_energy")],
        ("scarnet", "model.adapter.kernel_size=6"),
    ],
)
def test_unknown_readings_are_refused_by_name(composed, experiment, override):
    with pytest.raises((ValueError, InstantiationException), match=override.split("=")[0].replace(".", r"\.")):
        build(composed(f"experiment={experiment}", override), num_classes=4)


def test_a_network_of_key_points_refuses_an_anatomy_without(composed):
    with pytest.raises((ValueError, InstantiationException), match=r"anatomy has none.*anatomy=sagittal10"):
        build(composed("experiment=bs_esnet", "model=scarnet"), num_classes=4)
