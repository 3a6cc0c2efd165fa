"""Key-point error of the slices that validate, by patient: `metrics.keypoints` on the device, a batch at a time."""

from math import ceil

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from metrics.keypoints import NOISE_SHARE, NUM_STEPS, REACH_SIGMAS, SIGMA_MM, SMALLEST_SIGMA_PX
from metrics.validation.patients import PatientMean


class PatientKeypointError(PatientMean):
    """Mean distance of the visible key points of a slice, mm; one that was missed is the diagonal of the grid off."""

    higher_is_better = False

    def update(
        self,
        *,
        true_keypoints: Float[Tensor, "b k 2"],
        heatmaps: Float[Tensor, "b k h w"] | None,
        spacing_mm: tuple[float, float],
        index: Int[Tensor, " b"],
        patient: Int[Tensor, " b"],
    ) -> None:
        """Scores a batch.

        Args:
            true_keypoints: (x, y) in pixels, NaN where not visible.
            heatmaps: Peaks of about 1; None of a network that has no heat maps, of which nothing is scored.
            spacing_mm: Size of a pixel, (row, column).
            index: What tells slices apart.
            patient: What tells patients apart.
        """
        if heatmaps is None:
            return
        found = decode_batch(heatmaps, spacing_mm)
        size_mm = found.new_tensor(spacing_mm[::-1])
        diagonal_mm = (found.new_tensor(heatmaps.shape[2:]) * found.new_tensor(spacing_mm)).norm()
        visible = true_keypoints.isfinite().all(dim=2)
        errors = ((found - true_keypoints) * size_mm).norm(dim=2)
        errors = torch.where(errors.isfinite(), errors, diagonal_mm)
        mean = torch.where(visible, errors, 0.0).sum(dim=1) / visible.sum(dim=1)
        self.keep(mean[:, None], visible.any(dim=1), index, patient)

    def compute(self) -> dict[str, float]:
        """`keypoint_error_mm`, the mean over patients; nothing where no key point was to be seen."""
        means = self.patient_means()
        return {} if means is None else {"keypoint_error_mm": float(means.to_numpy().mean())}


def decode_batch(heatmaps: Float[Tensor, "b k h w"], spacing_mm: tuple[float, float]) -> Float[Tensor, "b k 2"]:
    """The points (x, y) of `metrics.keypoints.decode_heatmaps`, for all maps at once; NaN where a map shows none."""
    maps = heatmaps.float()
    flat = maps.flatten(2)
    peak, place = flat.max(dim=2)
    row, column = place // maps.shape[3], place % maps.shape[3]
    radius_mm = REACH_SIGMAS * max(SIGMA_MM, SMALLEST_SIGMA_PX * max(spacing_mm))
    mass, rows, columns = _around(maps, row, column, [ceil(2 * radius_mm / size) for size in spacing_mm])
    mass = torch.where(mass > NOISE_SHARE * peak[..., None, None], mass, 0)
    y, x = row.to(maps), column.to(maps)
    for _ in range(NUM_STEPS):
        far = torch.hypot(
            (columns - x[..., None])[..., None, :] * spacing_mm[1], (rows - y[..., None])[..., None] * spacing_mm[0]
        )
        weight = mass * (far <= radius_mm)
        total = weight.sum(dim=(2, 3))
        x = (weight.sum(dim=2) * columns).sum(dim=2) / total
        y = (weight.sum(dim=3) * rows).sum(dim=2) / total
    is_above_zero = (peak > 0)[..., None]
    points = torch.where(is_above_zero, torch.stack([x, y], dim=2), torch.stack([column, row], dim=2))
    shows = flat.isfinite().all(dim=2) & (peak > flat.min(dim=2).values)
    return torch.where(shows[..., None], points, torch.nan)


def _around(
    maps: Float[Tensor, "b k h w"], row: Int[Tensor, "b k"], column: Int[Tensor, "b k"], reach: list[int]
) -> tuple[Float[Tensor, "b k r c"], Float[Tensor, "b k r"], Float[Tensor, "b k c"]]:
    """Values around a pixel of each map, zero outside of it, and the rows and columns that they lie in."""
    padded = F.pad(maps, (reach[1], reach[1], reach[0], reach[0]))
    rows, columns = (
        place[..., None] + torch.arange(-by, by + 1, device=maps.device)
        for place, by in zip((row, column), reach, strict=True)
    )
    batch, keypoint = (torch.arange(count, device=maps.device) for count in maps.shape[:2])
    values = padded[
        batch[:, None, None, None],
        keypoint[None, :, None, None],
        (rows + reach[0])[..., None],
        (columns + reach[1])[..., None, :],
    ]
    return values, rows.to(maps), columns.to(maps)
