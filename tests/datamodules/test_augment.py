from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from scipy.ndimage import map_coordinates

from datamodules.augment import AlbumentationsAugmentation
from datamodules.augment_batched import BatchedAugmentation
from datamodules.augmentation.augment_ranges import AugmentationRanges
from datamodules.batch import boxes_of_masks
from tests.made.augmentation_samples import (
    ANATOMY,
    BOTH,
    GEOMETRY_ONLY,
    SIZE,
    STRUCTURES,
    make,
    mirrored,
    quick,
    sample,
    seeds,
)


def centroids(image: torch.Tensor) -> np.ndarray:
    """(x, y) of the centre of mass of each channel, with the faint tail of a blob cut off."""
    weights = np.where(image.numpy() > 0.05, image.numpy(), 0).astype(np.float64)
    y, x = np.mgrid[: weights.shape[1], : weights.shape[2]]
    return np.array([[(w * x).sum(), (w * y).sum()] / w.sum() for w in weights])


@BOTH
@quick
@given(seed=seeds)
def test_boxes_are_those_of_the_transformed_mask(kind, seed):
    after = make(kind)(sample(seed))
    torch.testing.assert_close(
        after.boxes, boxes_of_masks(after.mask, len(STRUCTURES)), atol=1e-6, rtol=0, equal_nan=True
    )


@BOTH
@quick
@given(seed=seeds)
def test_key_points_follow_the_image(kind, seed):
    """A blob is drawn at each key point; after the transform its centre of mass is where the key point says."""
    size, sigma = (96, 112), 1.5
    before = sample(seed, size=size, spacing_mm=(0.9, 1.3))
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.25, 0.75, (3, 2)) * (size[1], size[0])
    y, x = np.mgrid[: size[0], : size[1]]
    blobs = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2)) for px, py in points]
    before = replace(
        before,
        image=torch.from_numpy(np.stack(blobs)[None]).float(),
        keypoints=torch.from_numpy(points[None]).float(),
    )
    after = make(kind, **GEOMETRY_ONLY)(before)
    flipped = mirrored(seed)
    found = centroids(after.image[0])[list(ANATOMY.mirrored_keypoints) if flipped else slice(None)]
    assert np.abs(found - after.keypoints[0].numpy()).max() < 0.25


@quick
@given(seeds)
def test_key_points_are_moved_by_the_exact_inverse_of_the_sampling_map(seed):
    rng = np.random.default_rng(seed)
    warp = make(AugmentationRanges).draw_warp(rng, size=SIZE, spacing_mm=(1.5, 1.2))
    assert warp is not None
    x, y = warp.source()
    sources = torch.stack([x, y], dim=-1).flatten(1, 2)
    moved = warp.move(sources)
    rows, columns = torch.meshgrid(*(torch.arange(length) for length in SIZE), indexing="ij")
    torch.testing.assert_close(moved[0], torch.stack([columns, rows], dim=-1).flatten(0, 1).float(), atol=0.01, rtol=0)


@BOTH
@quick
@given(seed=seeds)
def test_image_and_mask_stay_registered(kind, seed):
    """A painted structure: where all four neighbours agree so does the mask, elsewhere it is the nearest."""
    before = sample(seed, channels=1)
    painted = (before.mask == 1) | (before.mask == 4)  # both are their own mirror image
    before = replace(before, image=painted[:, None].float(), mask=painted.long())
    after = make(kind, **GEOMETRY_ONLY)(before)
    inside = inner_pixels(seed)
    image, mask = after.image[0, 0][inside], after.mask[0][inside]
    uniform = (image < 1e-4) | (image > 1 - 1e-4)
    assert torch.equal(image[uniform].round().long(), mask[uniform])
    assert (image - mask).abs().max() < 0.75 + 1e-4


def inner_pixels(seed: int) -> torch.Tensor:
    """Pixels that show a place inside the original image."""
    rng = np.random.default_rng(seed)
    augment = make(AugmentationRanges)
    augment.draw_flip(rng)
    warp = augment.draw_warp(rng, size=SIZE, spacing_mm=(1.5, 1.2))
    assert warp is not None
    x, y = (axis[0] for axis in warp.source())
    return (x >= 0) & (x <= SIZE[1] - 1) & (y >= 0) & (y <= SIZE[0] - 1)


@BOTH
def test_resampling_agrees_with_an_independent_one(kind):
    """SciPy, given the map written out from its definition: rotation and distortion by hand, and no elastic part."""
    seed, before = 11, sample(11)
    augment = make(kind, elastic_probability=0.0, flip_probability=0.0, **GEOMETRY_ONLY)
    rng = np.random.default_rng(seed)
    augment.draw_flip(rng)
    rng.random(2)
    angle, scale, shift = np.radians(12 * rng.uniform(-1, 1)), rng.uniform(0.9, 1.1), rng.uniform(-1, 1, 2) * 0.05
    height, width = SIZE
    row_mm, column_mm = 1.5, 1.2
    y, x = np.mgrid[:height, :width]
    optical = 0.03 * np.random.default_rng(seed).spawn(1)[0].uniform(-1, 1)
    x_mm, y_mm = (x - (width - 1) / 2) * column_mm, (y - (height - 1) / 2) * row_mm
    stretch = 1 + optical * (x_mm**2 + y_mm**2) / ((width * column_mm / 2) ** 2 + (height * row_mm / 2) ** 2)
    x_mm = x_mm * stretch - shift[0] * width * column_mm
    y_mm = y_mm * stretch - shift[1] * height * row_mm
    turn = np.exp(-1j * angle) * (x_mm + 1j * y_mm) / scale
    places = [turn.imag / row_mm + (height - 1) / 2, turn.real / column_mm + (width - 1) / 2]
    after = augment(before)
    for channel in (0, 1):
        expected = map_coordinates(before.image[0, channel].numpy(), places, order=1, mode="nearest")
        np.testing.assert_allclose(after.image[0, channel].numpy(), expected, atol=1e-4)
    expected = map_coordinates(before.mask[0].numpy(), places, order=0, mode="constant", cval=0)
    assert (after.mask[0].numpy() != expected).mean() < 0.02  # SciPy's constant border begins half a pixel earlier


@quick
@given(seeds)
def test_both_pipelines_do_the_same_to_a_slice(seed):
    before = sample(seed)
    one, other = (
        make(kind, noise_probability=0.0)(before) for kind in (AlbumentationsAugmentation, BatchedAugmentation)
    )
    torch.testing.assert_close(one.image, other.image, atol=2e-3, rtol=0)
    assert (one.mask != other.mask).float().mean() < 1e-3
    torch.testing.assert_close(one.keypoints, other.keypoints, atol=1e-3, rtol=0, equal_nan=True)
    assert torch.equal(one.labelled, other.labelled)


@BOTH
def test_beyond_the_border_lie_edge_pixels_and_background(kind):
    before = sample(2, channels=1)
    bright_edge = torch.linspace(1, 2, SIZE[1]).expand(1, 1, *SIZE).clone()
    before = replace(before, image=bright_edge, mask=torch.full_like(before.mask, 1))
    augment = make(
        kind, rotate_degrees=0.0, scale=(0.8, 0.8), elastic_probability=0.0, shift_fraction=0.0, **GEOMETRY_ONLY
    )
    after = augment(replace(before, seed=torch.tensor([next(s for s in range(99) if not mirrored(s))])))
    assert torch.equal(after.image[0, 0, :, 0], torch.ones(SIZE[0]))
    assert (after.image[0, 0, :, -1] == 2).all()
    assert after.mask[0, :, :6].sum() == 0
    assert after.mask[0, :6].sum() == 0
    assert after.mask[0, 12:-12, 12:-12].all()


@BOTH
def test_key_points_that_leave_the_image_become_invisible(kind):
    before = sample(4)
    before = replace(before, keypoints=torch.tensor([[[0.0, 0.0], [40.0, 40.0], [87.0, 71.0]]]))
    augment = make(kind, rotate_degrees=0.0, scale=(1.1, 1.1), shift_fraction=0.0, elastic_probability=0.0)
    visible = augment(before).keypoints.isfinite().all(dim=2)
    assert visible.tolist() == [[False, True, False]]


@BOTH
def test_a_slice_without_mask_or_key_points_keeps_none(kind):
    before = sample(6)
    before = replace(
        before,
        mask=torch.zeros_like(before.mask),
        boxes=torch.full_like(before.boxes, torch.nan),
        keypoints=torch.full_like(before.keypoints, torch.nan),
        has_mask=torch.tensor([False]),
        has_keypoints=torch.tensor([False]),
    )
    after = make(kind)(before)
    assert after.mask.sum() == 0
    assert after.boxes.isnan().all()
    assert after.keypoints.isnan().all()
    assert not torch.equal(after.image, before.image)


@quick
@given(seeds)
def test_the_map_never_folds(seed):
    """Even at nearly the largest admissible displacement, neighbours keep their order: the Jacobian stays positive."""
    augment = make(AugmentationRanges, elastic_magnitude_mm=4.2)
    warp = augment.draw_warp(np.random.default_rng(seed), size=SIZE, spacing_mm=(1.0, 1.0))
    assert warp is not None
    x, y = (axis[0] for axis in warp.source())
    determinant = x.diff(dim=1)[1:] * y.diff(dim=0)[:, 1:] - x.diff(dim=0)[:, 1:] * y.diff(dim=1)[1:]
    assert determinant.min() > 0
