"""Left is left: a slice flipped left to right, with everything that has a side changing sides."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from datamodules.anatomy import Anatomy
from datamodules.batch import SpineBatch


def mirror_slices(batch: SpineBatch, flipped: Sequence[bool], anatomy: Anatomy) -> SpineBatch:
    """Flips the chosen slices left to right and swaps classes, boxes, `labelled` columns and key points of the sides.

    Exact: no resampling, and doing it twice gives the slices back. The slices that are not chosen are not touched.

    Args:
        batch: Slices on any device; it is not changed.
        flipped: Whether to flip, for each slice.
        anatomy: Its `mirror` pairs say what changes places.
    """
    if not any(flipped):
        return batch
    device, width = batch.image.device, batch.image.shape[-1]
    rows = torch.tensor([row for row, flip in enumerate(flipped) if flip], device=device)
    classes = torch.tensor(anatomy.mirrored_classes, device=device)
    points = torch.tensor(anatomy.mirrored_keypoints, device=device, dtype=torch.long)
    boxes = batch.boxes[rows][:, classes[1:] - 1]
    boxes[..., 0] = 1 - boxes[..., 0]
    keypoints = batch.keypoints[rows][:, points]
    keypoints[..., 0] = width - 1 - keypoints[..., 0]
    mirrored = {
        "image": batch.image[rows].flip(-1),
        "mask": classes.to(batch.mask.dtype)[batch.mask[rows].flip(-1).long()],
        "labelled": batch.labelled[rows][:, classes],
        "boxes": boxes,
        "keypoints": keypoints,
    }
    return replace(batch, **{name: getattr(batch, name).index_copy(0, rows, new) for name, new in mirrored.items()})
