"""Regression of key-point heat maps, so that cases without masks teach as well (SCAR-Net, equation 1)."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from datamodules.batch import SpineBatch
from lightning_modules.losses.term import Term
from models.prediction import Prediction
from models.strides import Strides


class HeatmapRegression(Term):
    """Squared error between predicted heat maps and a Gaussian of height 1 on each key point.

    The error is integrated over the slice in mm² and divided by a reference area: the mean over the pixels of a slice
    of that area. So a weight keeps its meaning from one field of view, and one pixel size, to the next; a mean over the
    pixels at hand would count the same blob more, the less there is around it. Averaged over the key points that can be
    seen; the others contribute nothing.

    Args:
        sigma_mm: Standard deviation of the Gaussians (DGMSNet, 3 mm).
        min_sigma_cells: What it is at least, in cells of the features that the heat maps are drawn from: a narrower
            peak falls between them. The paper's is 1.07 cells of 2.8 mm.
        field_mm: Side of the square that the weight is stated for (docs/protocol.md, 358 mm).
        weight: See `Term`; the lambda of SCAR-Net, the beta of DGMSNet.
        part: See `Term`.

    Attributes:
        stride: Pixels a cell of those features, told by `see_network`.

    Raises:
        ValueError: If a length or the number of cells is not above 0.
    """

    stride: float = 1

    def __init__(
        self,
        sigma_mm: float = 3.0,
        min_sigma_cells: float | int = 1.0,
        field_mm: float = 358.0,
        weight: float = 1.0,
        part: str | None = None,
    ) -> None:
        super().__init__(weight=weight, part=part)
        for name, value in (("sigma_mm", sigma_mm), ("field_mm", field_mm)):
            if value <= 0:
                raise ValueError(f"heat maps: {name} is {value}, expected a positive number of millimetres")
        if min_sigma_cells <= 0:
            raise ValueError(f"heat maps: min_sigma_cells is {min_sigma_cells}, expected a positive number of cells")
        self.sigma_mm, self.min_sigma_cells, self.field_mm = sigma_mm, min_sigma_cells, field_mm

    def see_network(self, strides: Strides) -> None:
        """Takes the stride of the features that a decoder draws from."""
        self.stride = strides.low

    def sigmas_mm(self, spacing_mm: Float[Tensor, "b 2"]) -> Float[Tensor, " b"]:
        """Standard deviation of the Gaussians of each slice, by the longer side of its pixels."""
        return (self.min_sigma_cells * self.stride * spacing_mm.amax(dim=1)).clamp(min=self.sigma_mm)

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Mean over the visible key points of the cases that have key points.

        Raises:
            ValueError: If the network predicts no heat maps, or not one for each key point of the cohort.
        """
        heatmaps = prediction.heatmaps
        if heatmaps is None:
            raise ValueError(
                "the objective has a heat-map term, but this network predicts no heat maps: take the term out "
                "(objective.terms.keypoints=null) or choose a network that has them"
            )
        if heatmaps.shape[1] != batch.keypoints.shape[1]:
            raise ValueError(
                f"the network predicts {heatmaps.shape[1]} heat maps, the cohort has {batch.keypoints.shape[1]} key "
                "points: model.keypoints must be those of the anatomy"
            )
        size = heatmaps.shape[2:]
        counted = visible_keypoints(batch.keypoints, size) & batch.has_keypoints[:, None]
        target = gaussian_heatmaps(batch.keypoints, batch.spacing_mm, size, self.sigmas_mm(batch.spacing_mm))
        error = (heatmaps.float() - target).square().sum(dim=(2, 3)) * batch.spacing_mm.prod(dim=1)[:, None]
        return (error * counted).sum() / (counted.sum().clamp(min=1) * self.field_mm**2)


def visible_keypoints(keypoints: Float[Tensor, "b k 2"], size: Sequence[int]) -> Bool[Tensor, "b k"]:
    """Which key points are marked (not NaN) and lie on the image of `size` (rows, columns)."""
    limit = keypoints.new_tensor([size[1], size[0]]) - 0.5
    return ((keypoints >= -0.5) & (keypoints <= limit)).all(dim=-1)


def gaussian_heatmaps(
    keypoints: Float[Tensor, "b k 2"],
    spacing_mm: Float[Tensor, "b 2"],
    size: Sequence[int],
    sigma_mm: Float[Tensor, " b"],
) -> Float[Tensor, "b k h w"]:
    """exp(-d² / 2 sigma²) with d the distance to the key point in mm; zero where it is NaN.

    Args:
        keypoints: (x, y) in pixels.
        spacing_mm: Size of a pixel, (row, column).
        size: (rows, columns).
        sigma_mm: Standard deviation of each slice.
    """
    known = keypoints.isfinite().all(dim=-1)
    # A Gaussian is the product of one along the rows and one along the columns.
    profiles = []
    for axis, length in enumerate(size):
        place = keypoints[..., 1 - axis].masked_fill(~known, 0)
        away = torch.arange(length, device=keypoints.device) - place[..., None]
        away_mm = away * spacing_mm[:, axis, None, None]
        profiles.append(torch.exp(-away_mm.square() / (2 * sigma_mm[:, None, None].square())))
    rows, columns = profiles
    return rows[..., :, None] * (columns * known[..., None])[..., None, :]
