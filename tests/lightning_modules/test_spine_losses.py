"""Losses of SCAR-Net's comparators: exclusive or, contrast at borders, masks made of key points."""

from dataclasses import replace

import pytest
import torch

from datamodules.slice_batches import SliceBatches
from lightning_modules.losses.contrast import BorderContrast, supervised_contrast
from lightning_modules.losses.ellipses import column_of, frames_of, radii
from lightning_modules.losses.exclusive_or import ExclusiveOr, exclusive_or
from lightning_modules.losses.weak_masks import IGNORED, WeakMasks
from lightning_modules.tasks import training
from models.prediction import Prediction
from tests.conftest import compose_line
from tests.made.batches import random_batch

SPINE = {"structures": ["A", "B", "A/B"], "keypoints": ["A", "A/B", "B"]}
SERIES = {"vertebra": ["A", "B"], "disc": ["A/B"]}
SPACING = torch.tensor([2.0, 1.0])


def spine(tilt: float = 0.0, size: int = 64):
    """Two vertebrae of 16 x 12 mm, a disc of 6 x 12 mm between, on pixels of 2 x 1 mm, and their key points."""
    rows, columns = torch.meshgrid(torch.arange(size) * 2.0, torch.arange(size) * 1.0, indexing="ij")
    turn = torch.tensor([[torch.cos(torch.tensor(tilt)), torch.sin(torch.tensor(tilt))]])
    cos, sin = turn[0]
    down, right = rows - 62, columns - 32
    along, across = down * cos + right * sin, right * cos - down * sin
    mask = torch.zeros(size, size, dtype=torch.long)
    centres = {1: -12.0, 3: 0.0, 2: 12.0}
    for label, centre in centres.items():
        length = 6 if label == 3 else 16
        mask[((along - centre).abs() * 2 <= length) & (across.abs() * 2 <= 12)] = label
    points = [[32 + centre * sin.item(), (62 + centre * cos.item()) / 2] for centre in (-12.0, 0.0, 12.0)]
    return mask, torch.tensor(points)


def weak_batch(mask, points):
    batch = random_batch(num_slices=1, num_classes=4, size=tuple(mask.shape), num_keypoints=3)
    return replace(
        batch,
        mask=torch.zeros_like(mask)[None],
        keypoints=points[None],
        has_mask=torch.tensor([False]),
        has_keypoints=torch.tensor([True]),
        spacing_mm=SPACING[None],
    )


def weak_masks(**settings) -> WeakMasks:
    term = WeakMasks(**SPINE, series=SERIES, **settings)
    mask, points = spine()
    term.see_masks(mask[None], points[None], SPACING)
    return term


def test_the_exclusive_or_is_zero_where_both_are_sure_and_agree():
    p, q = torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0, 0.0])
    assert exclusive_or(p, q).tolist() == [0, 0, 1, 1]
    one, other = torch.rand(20), torch.rand(20)
    torch.testing.assert_close(exclusive_or(one, other), exclusive_or(other, one))


def test_the_exclusive_or_draws_areas_to_the_mask_and_leaves_what_is_not_drawn():
    batch = random_batch()
    areas = torch.zeros(2, 3, 32, 32, requires_grad=True)
    prediction = Prediction(logits=torch.zeros(2, 4, 32, 32), areas=areas)
    ExclusiveOr(target="mask")(prediction, batch, torch.ones(4)).backward()
    gradient = areas.grad
    assert gradient is not None
    for structure in range(3):
        inside = batch.mask == structure + 1
        assert (gradient[:, structure][inside] < 0).all()
        assert (gradient[:, structure][~inside] > 0).all()
    undrawn = replace(batch, labelled=batch.labelled & torch.tensor([True, True, True, False]))
    areas.grad = None
    ExclusiveOr(target="mask")(prediction, undrawn, torch.ones(4)).backward()
    assert areas.grad is not None
    assert (areas.grad[:, 2] == 0).all()
    with pytest.raises(ValueError, match="target is 'masks'"):
        ExclusiveOr(target="masks")


def test_contrast_is_least_for_classes_that_are_apart():
    classes = torch.tensor([0, 0, 1, 1, 2, 2])
    apart = torch.eye(3)[classes]
    least = supervised_contrast(apart, classes, 0.1)
    assert least < 1e-3
    mixed = supervised_contrast(torch.eye(3)[torch.tensor([0, 1, 2, 0, 1, 2])], classes, 0.1)
    assert mixed > 5
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(supervised_contrast(apart[order], classes[order], 0.1), least)
    alone = supervised_contrast(apart[:3], classes[:3], 0.1)
    assert alone.isfinite(), "a class with one vector has no other to be near"


def test_contrast_takes_pixels_at_borders_half_within():
    batch = random_batch(num_classes=3)
    term = BorderContrast(pixels=20, reach=2)
    torch.manual_seed(0)
    chosen = batch.mask.flatten()[term.draw(batch)]
    assert len(chosen) <= 40
    assert {1, 2} <= set(chosen.tolist())
    vectors = torch.randn(2, 8, 32, 32, requires_grad=True)
    term(Prediction(logits=torch.zeros(2, 3, 32, 32), embedding=vectors), batch, torch.ones(3)).backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()
    assert vectors.grad.abs().sum() > 0
    nothing = replace(batch, has_mask=torch.zeros(2, dtype=torch.bool))
    assert len(term.draw(nothing)) == 0


def test_contrast_takes_no_background_where_not_all_is_drawn():
    batch = random_batch(num_classes=3)
    partly = replace(batch, labelled=torch.tensor([[True, True, False]] * 2))
    assert (batch.mask.flatten()[BorderContrast().draw(partly)] > 0).all()


@pytest.mark.parametrize("tilt", [0.0, 0.4, -0.7])
def test_ellipses_lie_on_their_structures_however_the_spine_is_turned(tilt):
    """The shapes are learned of an upright spine."""
    mask, points = spine(tilt)
    target = weak_masks().targets(weak_batch(mask, points))[0]
    for label in (1, 2, 3):
        known = target == label
        assert known.sum() > 10
        assert (mask[known] == label).float().mean() > 0.97
    assert (mask[target == 0] == 0).all()
    assert (target == IGNORED).any()


def test_a_spine_of_twice_the_size_has_ellipses_of_twice_the_size():
    mask, points = spine()
    large = (points - points[1]) * 2 + points[1]
    areas = [
        [(weak_masks().targets(weak_batch(mask, where)) == label).sum().item() for label in (1, 2, 3)]
        for where in (points, large)
    ]
    for small, big in zip(*areas, strict=True):
        assert big == pytest.approx(4 * small, rel=0.2)


def test_frames_go_round_key_points_that_cannot_be_seen():
    points = torch.tensor([[[0.0, 0.0], [torch.nan, torch.nan], [0.0, 10.0], [0.0, 15.0]]])
    frames = frames_of(points)
    assert frames.known.tolist() == [[True, False, True, True]]
    assert frames.step_mm[0, [0, 2, 3]].tolist() == [5.0, 5.0, 5.0]
    torch.testing.assert_close(frames.along[0, 2], torch.tensor([0.0, 1.0]))
    lonely = frames_of(torch.tensor([[[1.0, 1.0], [torch.nan, torch.nan]]]))
    assert not lonely.known.any()


def test_masks_are_never_taught_by_key_points():
    mask, points = spine()
    batch = replace(weak_batch(mask, points), has_mask=torch.tensor([True]))
    assert (weak_masks().targets(batch) == IGNORED).all()
    unseen = replace(weak_batch(mask, points), keypoints=torch.full((1, 3, 2), torch.nan))
    assert (weak_masks().targets(unseen) == IGNORED).all(), "nothing is known of this slice, not even background"
    second = torch.randn(1, 4, 64, 64, requires_grad=True)
    prediction = Prediction(logits=torch.zeros(1, 4, 64, 64), second=second)
    weak_masks()(prediction, batch, torch.ones(4)).backward()
    assert second.grad is not None
    assert (second.grad == 0).all()


def test_what_weak_masks_cannot_do_without():
    mask, points = spine()
    term = WeakMasks(**SPINE, series=SERIES)
    with pytest.raises(ValueError, match="have to be seen first"):
        term.targets(weak_batch(mask, points))
    with pytest.raises(ValueError, match=r"no training mask has A/B.*anatomy=vertebrae5"):
        term.see_masks(mask[None].where(mask[None] != 3, 0), points[None], SPACING)
    with pytest.raises(ValueError, match="fewer than two are vertebrae or discs"):
        column_of(["fat"], ["fat"], {})
    with pytest.raises(ValueError, match=r"ring is 1\.5"):
        WeakMasks(**SPINE, series=SERIES, ring=1.5)


@pytest.mark.slow
def test_ellipses_resemble_the_masks_they_stand_for(tmp_path, generated):
    """The quality of the weak supervision: shapes of the training patients, drawn at the key points of the tested."""
    line = ("experiment=swdn", "trainer=small", "phantom.num_patients=13", "phantom.masked_patients=13")
    data, module, _ = training.build(compose_line(tmp_path, generated, *line))
    module.objective.see_masks(*data.training_masks())
    term = module.objective.terms["weak"]
    batch = SliceBatches(data.store)[[(int(row), 0) for row in data.indices["test"]]]
    points_mm = batch.keypoints[:, term.column.points].float() * batch.spacing_mm.flip(1)[:, None]
    out = radii(points_mm, term.shapes, batch.mask.shape[1:], batch.spacing_mm)
    owner = torch.where(out.amin(dim=1) <= 1, torch.tensor(term.column.classes)[out.argmin(dim=1)], 0)
    dice = [
        2 * ((owner == label) & (batch.mask == label)).sum() / ((owner == label).sum() + (batch.mask == label).sum())
        for label in term.column.classes
    ]
    assert torch.stack(dice).mean() > 0.8
    known = term.targets(replace(batch, has_mask=batch.has_mask & False, has_keypoints=batch.has_mask))
    told = known > 0
    assert (known[told] == batch.mask[told]).float().mean() > 0.95
    assert (batch.mask[known == 0] == 0).float().mean() > 0.99
