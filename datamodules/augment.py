"""Augmentation on the CPU with albumentations, one slice at a time, as the papers do it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8

from datamodules.augmentation.augment_ranges import AugmentationRanges, Recolouring
from datamodules.augmentation.mirror import mirror_slices
from datamodules.augmentation.warp import Warp
from datamodules.batch import SpineBatch, boxes_of_masks

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks a server for its newest version
import albumentations as A
import cv2

cv2.setNumThreads(0)  # one slice is small; OpenCV's threads would only take the cores from the training step


@dataclass(frozen=True, kw_only=True)
class AlbumentationsAugmentation(AugmentationRanges):
    """Flip, warp, change of intensities and noise of one slice on the CPU, for the workers of a DataLoader.

    The transforms are ours, run by albumentations, because its own ones (2.0.8) do four things that would go wrong
    unnoticed: intensities are clipped to 0..1, which cuts a z-scored slice; the border rule of the image is
    also that of the mask; key points are 1-2 px off under elastic displacement; and `Compose.set_random_seed` gives
    every transform the *same* stream, so that what should be independent happens together (hence `set_random_state`).

    The image continues beyond its border with its edge pixels, the mask with background. A reflected border would show
    organs twice, the copy on the wrong side and either as background or as a second organ of the same label.
    """

    whole_batch: ClassVar[bool] = False

    @cached_property
    def pipeline(self) -> A.Compose:
        """The transforms, each drawing from the ranges given here."""
        return A.Compose([WarpSlice(self), RecolourSlice(self), AddNoise(self)])

    def __call__(self, sample: SpineBatch) -> SpineBatch:
        """Returns the changed slice; what happens depends on `sample.seed` alone.

        Args:
            sample: A batch of one slice on the CPU; it is not changed.

        Raises:
            ValueError: If the slice lies on an accelerator.
        """
        if sample.image.device.type != "cpu":
            raise ValueError(
                f"augmentation: albumentations works on the CPU, but slices lie on {sample.image.device}; use"
                " data/augmentation=batched or keep the store on the CPU"
            )
        assert len(sample) == 1, "albumentations sees one slice at a time; BatchedAugmentation takes batches"
        seed = int(sample.seed)
        rng = np.random.default_rng(seed)
        sample = mirror_slices(sample, [self.draw_flip(rng)], self.anatomy)
        self.pipeline.set_random_state(rng, Random(seed))
        done = self.pipeline(
            image=sample.image[0].movedim(0, -1).numpy(),
            mask=sample.mask[0].numpy().astype(np.uint8),
            points=sample.keypoints,
            spacing_mm=tuple(sample.spacing_mm[0].tolist()),
        )
        mask = torch.from_numpy(done["mask"])[None].to(sample.mask.dtype)
        return replace(
            sample,
            image=torch.from_numpy(done["image"]).movedim(-1, 0)[None].contiguous(),
            mask=mask,
            boxes=boxes_of_masks(mask, self.anatomy.num_structures),
            keypoints=done["points"],
        )


Source = tuple[np.ndarray, np.ndarray]  # x and y, in pixels of the slice, of what every pixel of the result shows


class WarpSlice(A.DualTransform):
    """Rotation, scale, shift and elastic displacement of image, mask and key points in a single resampling."""

    def __init__(self, ranges: AugmentationRanges) -> None:
        super().__init__(p=1)  # the ranges hold the probabilities
        self.ranges = ranges

    @property
    def targets(self) -> dict[str, Callable[..., Any]]:
        """What is transformed; `points` go past albumentations' own handling of key points, which refuses NaN."""
        return {"image": self.apply, "mask": self.apply_to_mask, "points": self.apply_to_points}

    @property
    def targets_as_params(self) -> list[str]:
        """What the draw needs to know of the slice."""
        return ["spacing_mm"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
        """Draws the map."""
        size = params["shape"][:2]
        warp = self.ranges.draw_warp(self.random_generator, size=size, spacing_mm=data["spacing_mm"])
        return {"warp": warp, "source": warp and tuple(axis[0].numpy() for axis in warp.source())}

    def apply(self, img: np.ndarray, source: Source | None, **_: Any) -> Float[np.ndarray, "h w m"]:
        """Bilinear; edge pixels beyond the border."""
        if source is None:
            return img
        x, y = source
        channels = [np.ascontiguousarray(img[..., channel]) for channel in range(img.shape[-1])]
        return np.stack([cv2.remap(c, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for c in channels], -1)

    def apply_to_mask(self, mask: np.ndarray, source: Source | None, **_: Any) -> UInt8[np.ndarray, "h w"]:
        """Nearest pixel; background beyond the border."""
        if source is None:
            return mask
        x, y = source
        return np.asarray(cv2.remap(mask, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0))

    def apply_to_points(self, points: torch.Tensor, warp: Warp | None, **_: Any) -> Float[torch.Tensor, "1 k 2"]:
        """By the inverse of the map that the image was resampled with."""
        return points if warp is None else warp.move(points)


class RecolourSlice(A.ImageOnlyTransform):
    """Gamma, contrast and brightness, without the clipping of `A.RandomBrightnessContrast` and `A.RandomGamma`."""

    def __init__(self, ranges: AugmentationRanges) -> None:
        super().__init__(p=1)
        self.ranges = ranges

    def get_params_dependent_on_data(self, params: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
        """Draws the change, for each channel its own."""
        return {"recolouring": self.ranges.draw_recolouring(self.random_generator, params["shape"][-1])}

    def apply(self, img: np.ndarray, recolouring: Recolouring | None, **_: Any) -> Float[np.ndarray, "h w m"]:
        """Changes the intensities."""
        if recolouring is None:
            return img
        gamma, gain, offset = (np.float32(getattr(recolouring, name)) for name in ("gamma", "gain", "offset"))
        if np.any(gamma != 1):
            low, span = img.min(axis=(0, 1)), np.maximum(np.ptp(img, axis=(0, 1)), np.finfo(np.float32).tiny)
            img = ((img - low) / span) ** gamma * span + low
        return img * gain + offset


class AddNoise(A.ImageOnlyTransform):
    """Gaussian noise, without the clipping of `A.GaussNoise`."""

    def __init__(self, ranges: AugmentationRanges) -> None:
        super().__init__(p=1)
        self.ranges = ranges

    def apply(self, img: np.ndarray, **_: Any) -> Float[np.ndarray, "h w m"]:
        """Adds noise that is independent for every pixel and channel."""
        std = self.ranges.draw_noise_std(self.random_generator)
        return img + self.random_generator.standard_normal(img.shape, np.float32) * np.float32(std) if std else img
