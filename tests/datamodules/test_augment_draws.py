import itertools
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given

from datamodules.augment import AlbumentationsAugmentation
from datamodules.augment_batched import BatchedAugmentation, NoAugmentation
from datamodules.batch import collate
from tests.conftest import ROOT
from tests.made.augmentation_samples import (
    ALWAYS,
    BOTH,
    assert_same,
    make,
    quick,
    sample,
    seeds,
)

OF_TISSUES = "synthesis"  # takes slices with maps: tests/datamodules/test_synthesis.py
AUGMENTATIONS = sorted({path.stem for path in (ROOT / "conf/data/augmentation").glob("*.yaml")} - {OF_TISSUES})


@BOTH
def test_intensities_are_not_clipped_and_stay_in_their_ranges(kind):
    augment = make(kind, flip_probability=0.0, affine_probability=0.0, elastic_probability=0.0)
    before = [replace(s, image=s.image * 3) for s in map(sample, range(30))]
    after = [augment(s) for s in before]
    assert all(s.image.min() < -1.5 and s.image.max() > 1.5 for s in after)
    assert all(torch.equal(new.mask, old.mask) for new, old in zip(after, before, strict=True))
    ranges = [float(new.image[0, 0].max() - new.image[0, 0].min()) / 6 for new in after]
    assert 0.75 < min(ranges) < 0.9
    assert 1.1 < max(ranges) < 1.3


@BOTH
def test_noise_has_the_standard_deviation_asked_for_and_differs_between_channels(kind):
    augment = make(
        kind, flip_probability=0.0, affine_probability=0.0, elastic_probability=0.0, intensity_probability=0.0
    )
    noises = [augment(s).image - s.image for s in map(sample, range(40))]
    stds = np.array([noise.std() for noise in noises])
    assert 0 < stds.min() < 0.01
    assert 0.04 < stds.max() < 0.052
    assert all(abs(float(torch.corrcoef(noise[0].flatten(1))[0, 1])) < 0.06 for noise in noises)


@pytest.mark.slow
@BOTH
def test_changes_of_one_slice_are_drawn_independently(kind):
    """albumentations' own seeding gives every transform the same stream, so that all happen or none."""
    probabilities = {name: 0.5 for name in ALWAYS if name.endswith("_probability")}
    augment = make(kind, **(probabilities | {"elastic_probability": 0.0, "gamma": (1.0, 1.0)}))
    points = torch.tensor([[[torch.nan] * 2, [20.0, 40.0], [torch.nan] * 2]])
    counts = dict.fromkeys(itertools.product([False, True], repeat=4), 0)
    for seed in range(240):
        before = sample(0, channels=1)
        before = replace(before, image=torch.ones_like(before.image), keypoints=points, seed=torch.tensor([seed]))
        after = augment(before)
        x, y = after.keypoints[0, 1].tolist()
        moved, recoloured, noisy = y != 40, abs(after.image.mean() - 1) > 0.003, after.image.std() > 1e-6
        counts[x > 44, moved, bool(recoloured), bool(noisy)] += 1
    assert min(counts.values()) > 240 / 16 / 3


@BOTH
@quick
@given(seed=seeds)
def test_a_slice_depends_on_its_seed_alone(kind, seed):
    augment, before = make(kind), sample(seed)
    first = augment(before)
    np.random.default_rng().random()
    torch.rand(3)
    augment(sample(seed // 2 + 1))
    assert_same(augment(before), first)
    assert_same(make(kind)(before), first)
    assert not torch.equal(augment(replace(before, seed=before.seed // 2 + 2**40)).image, first.image)


@pytest.mark.slow
@quick
@given(st.lists(seeds, min_size=2, max_size=5, unique=True), st.booleans())
def test_a_batch_equals_its_slices(batch_seeds, mixed_spacing):
    spacings = [(1.5, 1.2) if not (mixed_spacing and place % 2) else (0.8, 0.9) for place in range(len(batch_seeds))]
    slices = [sample(seed, spacing_mm=spacing) for seed, spacing in zip(batch_seeds, spacings, strict=True)]
    augment = make(BatchedAugmentation, affine_probability=0.6, elastic_probability=0.6, noise_probability=0.6)
    together = augment(collate(slices))
    alone = collate([augment(s) for s in slices])
    assert_same(together, alone, tolerance=1e-5 if mixed_spacing else 0.0)
    assert_same(
        augment(collate(slices[::-1])), collate([augment(s) for s in slices[::-1]]), 1e-5 if mixed_spacing else 0.0
    )


@BOTH
@quick
@given(seed=seeds, always=st.booleans())
def test_nothing_to_change_changes_nothing(kind, seed, always):
    """Neither with probability 0 (bit for bit) nor with ranges of nothing."""
    before = sample(seed)
    if always:
        nothing = {"rotate_degrees": 0.0, "scale": (1.0, 1.0), "shift_fraction": 0.0, "elastic_magnitude_mm": 0.0}
        nothing |= {
            "gamma": (1.0, 1.0),
            "brightness": 0.0,
            "contrast": 0.0,
            "noise_std": 0.0,
            "optical_distortion": 0.0,
        }
    else:
        nothing = {name: 0.0 for name in ALWAYS if name.endswith("_probability")}
    after = make(kind, **(nothing | {"flip_probability": 0.0}))(before)
    assert_same(after, before, tolerance=2e-5 if always else 0.0)


@BOTH
def test_the_input_is_not_changed(kind):
    before, copy = sample(9), sample(9)
    make(kind)(before)
    assert_same(before, copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flip_probability": 1.5}, "flip_probability is 1.5"),
        ({"scale": (1.1, 0.9)}, "scale"),
        ({"scale": (0.0, 1.0)}, "scale"),
        ({"shift_fraction": 0.6}, "shift_fraction"),
        ({"noise_std": -1.0}, "noise_std"),
        ({"contrast": 1.0}, "contrast"),
        ({"elastic_magnitude_mm": 6.0}, "could fold"),
        ({"optical_distortion": 0.1}, "could fold"),
        ({"optical_distortion": -0.1}, "optical_distortion"),
        ({"elastic_sigma_mm": 0.0}, "elastic_sigma_mm"),
    ],
)
@BOTH
def test_impossible_ranges_are_refused(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        make(kind, **changes)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_configs_build_an_augmentation(name, composed):
    augment = instantiate(composed(f"data/augmentation={name}").data.augmentation)
    assert isinstance(augment, NoAugmentation | AlbumentationsAugmentation | BatchedAugmentation)
    empty = replace(
        sample(0),
        labelled=torch.ones(1, 10, dtype=torch.bool),
        boxes=torch.full((1, 9, 4), torch.nan),
        keypoints=torch.zeros(1, 0, 2),
    )
    after = augment(empty)
    assert after.image.shape == empty.image.shape
    assert after.boxes.shape == (1, 9, 4)
