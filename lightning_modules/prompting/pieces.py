"""Prompts from a mask: of every structure the tight box of its largest piece, and the point farthest inside of it."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from datamodules.batch import boxes_of_masks
from lightning_modules.evaluation.level_order import connected


def boxes_of(mask: Integer[np.ndarray, "h w"], num_structures: int) -> Float[Tensor, "n 4"]:
    """(cx, cy, w, h) in 0..1 of the mask, of the largest piece of each structure; NaN where there is none.

    Mazurowski et al. 2023, mode 3. A piece elsewhere does not widen the box.
    """
    largest = np.zeros(mask.shape, np.int64)
    for structure in range(1, num_structures + 1):
        largest[largest_piece(mask == structure)] = structure
    return boxes_of_masks(torch.from_numpy(largest)[None], num_structures)[0]


def points_of(
    mask: Integer[np.ndarray, "h w"], num_structures: int, spacing_mm: tuple[float, float]
) -> Float[Tensor, "n 2"]:
    """(x, y) in pixels, centres at integers, where the largest piece of each structure is deepest; NaN where none is.

    Mazurowski et al. 2023, mode 1: the maximum of the distance to the outside, which begins beyond the picture, too.

    Args:
        mask: Class indices.
        num_structures: Classes without the background.
        spacing_mm: Size of a pixel, (row, column).
    """
    points = np.full((num_structures, 2), np.nan, np.float32)
    for structure in range(1, num_structures + 1):
        piece = largest_piece(mask == structure)
        if piece.any():
            depth = np.asarray(distance_transform_edt(np.pad(piece, 1), sampling=spacing_mm))[1:-1, 1:-1]
            row, column = np.unravel_index(depth.argmax(), depth.shape)
            points[structure - 1] = column, row
    return torch.from_numpy(points)


def largest_piece(where: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The pixels of the largest connected piece, the first of equals; none of nothing."""
    pieces = connected(where)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (pieces == sizes.argmax()) & where
