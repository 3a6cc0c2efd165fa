from dataclasses import replace

import torch
from hypothesis import given

from datamodules.augmentation.mirror import mirror_slices
from datamodules.batch import boxes_of_masks, collate
from tests.made.augmentation_samples import (
    ANATOMY,
    BOTH,
    GEOMETRY_ONLY,
    SIZE,
    STRUCTURES,
    assert_same,
    make,
    quick,
    sample,
    seeds,
)


@quick
@given(seeds)
def test_flipping_twice_gives_the_slice_back(seed):
    before = sample(seed)
    once = mirror_slices(before, [True], ANATOMY)
    assert not torch.equal(once.image, before.image)
    assert_same(mirror_slices(once, [True], ANATOMY), before, tolerance=1e-5)


@quick
@given(seeds)
def test_boxes_of_a_flipped_slice_are_those_of_the_flipped_mask(seed):
    flipped = mirror_slices(sample(seed), [True], ANATOMY)
    expected = boxes_of_masks(flipped.mask, len(STRUCTURES))
    torch.testing.assert_close(flipped.boxes, expected, atol=1e-6, rtol=0, equal_nan=True)


def test_flip_moves_what_has_a_side_and_nothing_else():
    before = sample(3)
    labelled = torch.tensor([[True, True, True, False, False, False, True]])  # psoas left and back right among others
    before = replace(before, labelled=labelled, keypoints=torch.tensor([[[1.0, 2.0], [10.0, 20.0], [torch.nan] * 2]]))
    after = mirror_slices(before, [True], ANATOMY)
    last = SIZE[1] - 1
    assert after.labelled.tolist() == [[True, True, False, True, False, True, False]]
    expected = torch.tensor([[[torch.nan] * 2, [last - 10.0, 20.0], [last - 1.0, 2.0]]])
    torch.testing.assert_close(after.keypoints, expected, equal_nan=True)
    old, new = before.mask[0].flip(-1), after.mask[0]
    for name, partner in zip(
        STRUCTURES, ["disc", "psoas_right", "psoas_left", "lamina", "back_right", "back_left"], strict=True
    ):
        assert torch.equal(new == ANATOMY.class_index(partner), old == ANATOMY.class_index(name))


def test_flip_leaves_the_other_slices_of_a_batch_alone():
    batch = collate([sample(seed) for seed in range(4)])
    after = mirror_slices(batch, [False, True, False, True], ANATOMY)
    for row, flip in enumerate([False, True, False, True]):
        alone = mirror_slices(sample(row), [flip], ANATOMY)
        assert torch.equal(after.image[row], alone.image[0])
        assert torch.equal(after.mask[row], alone.mask[0])


@BOTH
@quick
@given(seed=seeds)
def test_left_stays_left(kind, seed):
    """The patient's left is on the right of an axial slice, whatever was flipped; and an organ stays that organ."""
    before = sample(seed, channels=1)
    right_half = torch.arange(SIZE[1]) >= SIZE[1] // 2
    mask, image = torch.zeros_like(before.mask), torch.zeros_like(before.image)
    for rows, organ, intensity in ((slice(14, 32), "psoas", 1.0), (slice(40, 58), "back", -1.0)):
        sides = [ANATOMY.class_index(f"{organ}_{side}") for side in ("left", "right")]
        mask[0, rows, 20:68] = torch.where(right_half, *sides)[20:68]
        image[0, 0, rows, 20:68] = intensity
    after = make(kind, rotate_degrees=3.0, **GEOMETRY_ONLY)(replace(before, mask=mask, image=image))
    for organ, intensity in (("psoas", 1.0), ("back", -1.0)):
        left, right = (after.mask[0] == ANATOMY.class_index(f"{organ}_{side}") for side in ("left", "right"))
        assert left.nonzero()[:, 1].float().mean() > right.nonzero()[:, 1].float().mean() + 15
        full = (after.image[0, 0] - intensity).abs() < 1e-4
        assert (left | right)[full].all()
        assert full.sum() > 500


@BOTH
def test_flip_happens_at_its_probability_and_shows_in_the_image(kind):
    augment = make(kind, affine_probability=0.0, elastic_probability=0.0, **GEOMETRY_ONLY)
    before = [sample(seed) for seed in range(200)]
    flipped = [torch.equal(augment(s).image, s.image.flip(-1)) for s in before]
    kept = [torch.equal(augment(s).image, s.image) for s in before]
    assert 70 < sum(flipped) < 130
    assert sum(flipped) + sum(kept) == 200


@BOTH
def test_sagittal_slices_are_never_flipped(kind):
    sagittal = replace(ANATOMY, view="sagittal")
    augment = make(
        kind, sagittal, flip_probability=1.0, affine_probability=0.0, elastic_probability=0.0, **GEOMETRY_ONLY
    )
    before = sample(5)
    assert_same(augment(before), before, tolerance=0)
