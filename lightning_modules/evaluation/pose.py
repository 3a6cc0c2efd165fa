"""A patient who lies otherwise in the network's picture than in the scan: turned or moved in its plane."""

from dataclasses import dataclass, replace
from math import cos, radians, sin

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor

from datamodules.batch import SpineBatch
from datamodules.reading.geometry import FWHM_PER_SIGMA, SliceGrid
from datamodules.store.slice_store import SliceStore


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How far the patient is turned about the centre of the network's picture, then moved.

    Attributes:
        rotate_degrees: Clockwise in the picture.
        shift_mm: Downward and to the right, (row, column).
    """

    rotate_degrees: float = 0.0
    shift_mm: tuple[float, float] = (0.0, 0.0)

    def to_picture(
        self, row_mm: Float[Tensor, "*any"], column_mm: Float[Tensor, "*any"]
    ) -> tuple[Float[Tensor, "*any"], Float[Tensor, "*any"]]:
        """Where in the picture a place of the scan is seen; both in mm from the centre of the network's grid."""
        cosine, sine = cos(radians(self.rotate_degrees)), sin(radians(self.rotate_degrees))
        row, column = row_mm * cosine + column_mm * sine, column_mm * cosine - row_mm * sine
        return row + self.shift_mm[0], column + self.shift_mm[1]

    def to_scan(
        self, row_mm: Float[Tensor, "*any"], column_mm: Float[Tensor, "*any"]
    ) -> tuple[Float[Tensor, "*any"], Float[Tensor, "*any"]]:
        """The inverse of `to_picture`."""
        row, column = row_mm - self.shift_mm[0], column_mm - self.shift_mm[1]
        cosine, sine = cos(radians(self.rotate_degrees)), sin(radians(self.rotate_degrees))
        return row * cosine - column * sine, row * sine + column * cosine


def posed(batch: SpineBatch, store: SliceStore, pose: Pose) -> SpineBatch:
    """The batch with images in which the patient lies so; everything else in it stays as annotated.

    Images are sampled from the scan's own pixels, once, as those of the store are (`SliceGrid.resample_image`), so that
    a pose without turn or shift gives the store's image, and others are no more blurred than that.
    """
    images = [_posed_image(int(index), store, pose) for index in batch.index]
    return replace(batch, image=torch.from_numpy(np.stack(images)).to(batch.image))


def _posed_image(index: int, store: SliceStore, pose: Pose) -> Float[np.ndarray, "m h w"]:
    native, grid = store.native(index), store.grid
    where = _sampled_places(grid, native.image.shape[1:], native.spacing_mm, pose)
    sigmas = [np.sqrt(max((grid.spacing_mm / size) ** 2 - 1, 0)) / FWHM_PER_SIGMA for size in native.spacing_mm]
    weight = gaussian_filter(np.ones(native.image.shape[1:]), sigmas, mode="constant")
    height, width = native.image.shape[1:]
    seen = ((where >= -0.5) & (where <= np.array([height, width])[:, None, None] - 0.5)).all(axis=0)
    channels = []
    for channel in native.image.astype(np.float64):
        smooth = gaussian_filter(channel, sigmas, mode="constant") / weight
        channels.append(np.where(seen, map_coordinates(smooth, where, order=1, mode="nearest"), channel.min()))
    return np.stack(channels).astype(np.float32)


def _sampled_places(
    grid: SliceGrid, native_size: tuple[int, int], native_spacing_mm: tuple[float, float], pose: Pose
) -> Float[np.ndarray, "2 h w"]:
    """Row and column, in native pixels, that each pixel of the network's grid shows."""
    axes = [(torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * grid.spacing_mm for side in grid.size]
    places = pose.to_scan(*torch.meshgrid(*axes, indexing="ij"))
    return np.stack(
        [
            (place.numpy() + grid.offset_mm[axis]) / native_spacing_mm[axis] + (native_size[axis] - 1) / 2
            for axis, place in enumerate(places)
        ]
    )
