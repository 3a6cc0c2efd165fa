"""Augmentation of a whole batch on the device it lies on, in a single resampling."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from datamodules.anatomy import Anatomy
from datamodules.augmentation.augment_ranges import AugmentationRanges, Recolouring
from datamodules.augmentation.mirror import mirror_slices
from datamodules.augmentation.warp import Warp
from datamodules.batch import SpineBatch, boxes_of_masks


@dataclass(frozen=True, kw_only=True)
class NoAugmentation:
    """Leaves slices as they are."""

    anatomy: Anatomy
    whole_batch: ClassVar[bool] = True
    in_words: ClassVar[tuple[str, ...]] = ()

    def __call__(self, batch: SpineBatch) -> SpineBatch:
        """Returns the batch itself."""
        return batch


@dataclass(frozen=True, kw_only=True)
class BatchedAugmentation(AugmentationRanges):
    """The changes of `AlbumentationsAugmentation`, from the same ranges, for all slices of a batch at once.

    A slice's flip, map and intensities are those that the albumentations pipeline draws from the same seed; only the
    noise has another generator. What happens to a slice depends on its seed alone, not on the slices beside it. The
    noise is drawn on the device of the batch: the same on every CPU and the same on every CUDA device, but not the same
    on both. The borders are treated as in the albumentations pipeline, for its reasons.
    """

    whole_batch: ClassVar[bool] = True

    @torch.no_grad()
    def __call__(self, batch: SpineBatch) -> SpineBatch:
        """Returns the changed batch; reading `batch.seed` waits for the device unless the seeds are on the CPU.

        Args:
            batch: Slices on any device; it is not changed.
        """
        num_channels, *size = batch.image.shape[1:]
        flips, warps, recolourings, noises = [], [], [], []
        for seed, spacing_mm in zip(batch.seed.tolist(), batch.spacing_mm.tolist(), strict=True):
            rng = np.random.default_rng(seed)
            flips.append(self.draw_flip(rng))
            warps.append(self.draw_warp(rng, size=(size[0], size[1]), spacing_mm=spacing_mm))
            recolourings.append(self.draw_recolouring(rng, num_channels))
            noises.append((self.draw_noise_std(rng), int(rng.integers(2**63))))
        batch = warp_slices(mirror_slices(batch, flips, self.anatomy), warps, self.anatomy)
        image = recolour_slices(batch.image, recolourings)
        return replace(batch, image=add_noise(image, noises))


def warp_slices(batch: SpineBatch, warps: Sequence[Warp | None], anatomy: Anatomy) -> SpineBatch:
    """Resamples the slices that have a map: image bilinear, mask nearest, boxes and key points with them."""
    rows, chosen = _chosen(warps, batch.image.device)
    if not chosen:
        return batch
    warp = Warp.join(chosen).to(batch.image.device)
    x, y = warp.source()
    grid = torch.stack([(2 * x + 1) / warp.size[1] - 1, (2 * y + 1) / warp.size[0] - 1], dim=-1)
    image = F.grid_sample(batch.image[rows], grid, "bilinear", padding_mode="border", align_corners=False)
    mask = F.grid_sample(batch.mask[rows, None].float(), grid, "nearest", padding_mode="zeros", align_corners=False)
    mask = mask[:, 0].to(batch.mask.dtype)
    warped = {
        "image": image,
        "mask": mask,
        "boxes": boxes_of_masks(mask, anatomy.num_structures),
        "keypoints": warp.move(batch.keypoints[rows]),
    }
    return replace(batch, **{name: getattr(batch, name).index_copy(0, rows, new) for name, new in warped.items()})


def recolour_slices(
    image: Float[Tensor, "b m h w"], recolourings: Sequence[Recolouring | None]
) -> Float[Tensor, "b m h w"]:
    """Gamma, contrast and brightness of the slices that have a change."""
    rows, chosen = _chosen(recolourings, image.device)
    if not chosen:
        return image
    gamma, gain, offset = (
        torch.as_tensor(np.stack([getattr(c, name) for c in chosen]), dtype=torch.float32, device=image.device)
        for name in ("gamma", "gain", "offset")
    )
    changed = image[rows]
    if any((c.gamma != 1).any() for c in chosen):
        low, high = changed.aminmax(dim=3, keepdim=True)
        low, high = low.amin(dim=2, keepdim=True), high.amax(dim=2, keepdim=True)
        span = (high - low).clamp_min(torch.finfo(torch.float32).tiny)
        changed = ((changed - low) / span) ** gamma[..., None, None] * span + low
    changed = changed * gain[..., None, None] + offset[..., None, None]
    return image.index_copy(0, rows, changed)


def add_noise(image: Float[Tensor, "b m h w"], noises: Sequence[tuple[float, int]]) -> Float[Tensor, "b m h w"]:
    """Adds Gaussian noise of (standard deviation, seed) to each slice, from a generator of its own."""
    if not any(std for std, _ in noises):
        return image
    image = image.clone()
    generator = torch.Generator(image.device)
    for slice_image, (std, seed) in zip(image, noises, strict=True):
        if std:
            noise = torch.randn(slice_image.shape, generator=generator.manual_seed(seed), device=image.device)
            slice_image.add_(noise, alpha=std)
    return image


def _chosen(changes: Sequence, device: torch.device) -> tuple[Tensor, list]:
    """Rows of the slices that have a change, and the changes; known here, so the device need not be asked."""
    rows = [row for row, change in enumerate(changes) if change is not None]
    return torch.tensor(rows, device=device, dtype=torch.long), [changes[row] for row in rows]
