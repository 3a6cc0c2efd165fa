"""Small batches for tests of networks and losses."""

from dataclasses import fields

import torch

from datamodules.batch import SpineBatch, boxes_of_masks


def random_batch(
    num_slices: int = 2,
    num_classes: int = 4,
    size: tuple[int, int] = (32, 32),
    channels: int = 1,
    seed: int = 0,
    num_keypoints: int = 0,
) -> SpineBatch:
    """Noise images with a rectangle per structure and key points anywhere; everything is labelled."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(num_slices, *size, dtype=torch.long)
    for index in range(num_slices):
        for structure in range(1, num_classes):
            row, column = torch.randint(0, size[0] - 8, (2,), generator=generator).tolist()
            mask[index, row : row + 8, column : column + 6] = structure
    return SpineBatch(
        image=torch.randn(num_slices, channels, *size, generator=generator),
        mask=mask,
        labelled=torch.ones(num_slices, num_classes, dtype=torch.bool),
        boxes=boxes_of_masks(mask, num_classes - 1),
        keypoints=torch.rand(num_slices, num_keypoints, 2, generator=generator) * (min(size) - 1),
        has_mask=torch.ones(num_slices, dtype=torch.bool),
        has_keypoints=torch.full((num_slices,), num_keypoints > 0),
        spacing_mm=torch.full((num_slices, 2), 1.5),
        index=torch.arange(num_slices),
        seed=torch.arange(num_slices),
        case=tuple(f"case{index}" for index in range(num_slices)),
        patient=tuple(f"patient{index}" for index in range(num_slices)),
        level=("",) * num_slices,
    )


def first_slice(batch: SpineBatch) -> SpineBatch:
    """The batch of its first slice alone."""
    return SpineBatch(**{field.name: getattr(batch, field.name)[:1] for field in fields(batch)})
