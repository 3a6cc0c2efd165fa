"""Regression of key-point heat maps, so that cases without masks teach as well (SCAR-Net, equation 1)."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from datamodules.batch import SpineBatch
from lightning_modules.losses.term import Term
from models.prediction import Prediction


class HeatmapRegression(Term):
    """Squared error between predicted heat maps and a Gaussian of height 1 on each key point.

    The error is integrated over the slice in mm² and divided by a reference area: the mean over the pixels of a slice
    of that area. So a weight keeps its meaning from one field of view, and one pixel size, to the next; a mean over the
    pixels at hand would count the same blob more, the less there is around it. Averaged over the key points that can be
    seen; the others contribute nothing.

    Args:
        sigma_mm: Standard deviation of the Gaussians (DGMSNet, 3 mm).
        min_sigma_px: What it is at least, in pixels (PROTOCOL): a narrower peak falls between coarse pixels.
        field_mm: Side of the square that the weight is stated for (PROTOCOL, 358 mm).
        weight: See `Term`; the lambda of SCAR-Net, the beta of DGMSNet.
        part: See `Term`.
    """

    def __init__(
        self,
        sigma_mm: float = 3.0,
        min_sigma_px: float = 1.5,
        field_mm: float = 358.0,
        weight: float = 1.0,
        part: str | None = None,
    ) -> None:
        super().__init__(weight=weight, part=part)
        for name, value in (("sigma_mm", sigma_mm), ("field_mm", field_mm)):
            if value <= 0:
                raise ValueError(f"heat maps: {name} is {value}, expected a positive number of millimetres")
        self.sigma_mm, self.min_sigma_px, self.field_mm = sigma_mm, min_sigma_px, field_mm

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
        target = gaussian_heatmaps(
            batch.keypoints, batch.spacing_mm, size, sigma_mm=self.sigma_mm, min_sigma_px=self.min_sigma_px
        )
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
    *,
    sigma_mm: float,
    min_sigma_px: float,
) -> Float[Tensor, "b k h w"]:
    """exp(-d² / 2 sigma²) with d the distance to the key point in mm; zero where it is NaN.

    Args:
        keypoints: (x, y) in pixels.
        spacing_mm: Size of a pixel, (row, column).
        size: (rows, columns).
        sigma_mm: Standard deviation.
        min_sigma_px: Its lower bound, in pixels of the longer side.
    """
    known = keypoints.isfinite().all(dim=-1)
    sigma = (min_sigma_px * spacing_mm.amax(dim=1)).clamp(min=sigma_mm)
    # A Gaussian is the product of one along the rows and one along the columns.
    profiles = []
    for axis, length in enumerate(size):
        place = keypoints[..., 1 - axis].masked_fill(~known, 0)
        away = torch.arange(length, device=keypoints.device) - place[..., None]
        away_mm = away * spacing_mm[:, axis, None, None]
        profiles.append(torch.exp(-away_mm.square() / (2 * sigma[:, None, None].square())))
    rows, columns = profiles
    return rows[..., :, None] * (columns * known[..., None])[..., None, :]
