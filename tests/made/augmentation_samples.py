"""Slices, ranges and comparisons that the tests of the augmentation share."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import settings

from datamodules.anatomy import Anatomy
from datamodules.augment import AlbumentationsAugmentation
from datamodules.augment_batched import BatchedAugmentation
from datamodules.augmentation.augment_ranges import AugmentationRanges
from datamodules.batch import SpineBatch, boxes_of_masks

STRUCTURES = ["disc", "psoas_left", "psoas_right", "lamina", "back_left", "back_right"]
KEYPOINTS = ["tip_right", "centre", "tip_left"]
ANATOMY = Anatomy(
    name="sided",
    view="axial",
    structures=STRUCTURES,
    colours=dict.fromkeys(STRUCTURES, "#000000"),
    mirror=[["psoas_left", "psoas_right"], ["back_left", "back_right"], ["tip_left", "tip_right"]],
    keypoints=KEYPOINTS,
)
SIZE = (72, 88)
ALWAYS = {
    "rotate_degrees": 12.0,
    "scale": (0.9, 1.1),
    "shift_fraction": 0.05,
    "elastic_sigma_mm": 12.0,
    "elastic_magnitude_mm": 4.0,
    "gamma": (0.8, 1.25),
    "brightness": 0.2,
    "contrast": 0.2,
    "noise_std": 0.05,
    "flip_probability": 0.5,
    "affine_probability": 1.0,
    "elastic_probability": 1.0,
    "intensity_probability": 1.0,
    "noise_probability": 1.0,
    "optical_distortion": 0.03,
}
GEOMETRY_ONLY = {"intensity_probability": 0.0, "noise_probability": 0.0}
BOTH = pytest.mark.parametrize("kind", [AlbumentationsAugmentation, BatchedAugmentation])
seeds = st.integers(0, 2**63 - 1)
quick = settings(deadline=None, max_examples=12)


def make(kind: type, anatomy: Anatomy = ANATOMY, **changes):
    return kind(anatomy=anatomy, **(ALWAYS | changes))


def sample(seed: int, *, size: tuple[int, int] = SIZE, spacing_mm: tuple[float, float] = (1.5, 1.2), channels: int = 2):
    """A slice of smooth noise with elliptic structures, some of them cut by the border."""
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width]
    mask = np.zeros(size, dtype=np.int64)
    for label in range(1, len(STRUCTURES) + 1):
        (cy, cx), (ry, rx) = rng.uniform(0, 1, 2) * size, rng.uniform(3, 12, 2)
        mask[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1] = label
    waves = [np.sin(x / a + p) * np.cos(y / b - p) for a, b, p in rng.uniform(3, 9, (channels, 3))]
    mask = torch.from_numpy(mask)[None]
    keypoints = torch.from_numpy(rng.uniform(0.15, 0.85, (1, len(KEYPOINTS), 2)) * (width, height)).float()
    keypoints[0, rng.integers(len(KEYPOINTS))] = torch.nan
    return SpineBatch(
        image=torch.from_numpy(np.stack(waves)[None]).float(),
        mask=mask,
        labelled=torch.tensor([[True, *(rng.random(len(STRUCTURES)) < 0.6)]]),
        boxes=boxes_of_masks(mask, len(STRUCTURES)),
        keypoints=keypoints,
        has_mask=torch.tensor([True]),
        has_keypoints=torch.tensor([True]),
        spacing_mm=torch.tensor([spacing_mm]),
        index=torch.tensor([0]),
        seed=torch.tensor([seed]),
        case=("case",),
        patient=("patient",),
        level=("L4/5",),
    )


def assert_same(left: SpineBatch, right: SpineBatch, tolerance: float = 0.0) -> None:
    for name in ("image", "boxes", "keypoints"):
        torch.testing.assert_close(
            getattr(left, name),
            getattr(right, name),
            atol=tolerance,
            rtol=0,
            equal_nan=True,
            msg=lambda m, n=name: n + m,
        )
    assert torch.equal(left.mask, right.mask)
    assert torch.equal(left.labelled, right.labelled)


def mirrored(seed: int) -> bool:
    return make(AugmentationRanges).draw_flip(np.random.default_rng(seed))
