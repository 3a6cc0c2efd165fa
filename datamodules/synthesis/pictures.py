"""One batch of pictures, from the maps to the z-score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from datamodules.anatomy import View
from datamodules.reading.geometry import FWHM_PER_SIGMA
from datamodules.store.tissue_batch import TissueBatch
from datamodules.store.tissue_maps import FAT_STEPS, UNKNOWN_FAT
from datamodules.synthesis import artefacts
from datamodules.synthesis.contrast import mixed
from datamodules.synthesis.geometry import View2D, smooth

Drawn = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class PictureMaker:
    """What all views of the pictures of a batch share.

    Attributes:
        batch: The maps.
        discs: 1 for every tissue number that is one of disc, else 0.
        view: Orientation of the slices.
        place: As `GeometryRanges.draw` gives it, of every slice; likewise the next two.
        contrast: Of `ContrastRanges`.
        faults: Of `ArtefactRanges`.
        coarse_mm: Size of shades within tissues.
        bias_mm: Distance of the knots of the bias field.
    """

    batch: TissueBatch
    discs: Float[Tensor, " t"]
    view: View
    place: Drawn
    contrast: Drawn
    faults: Drawn
    coarse_mm: float
    bias_mm: float

    def signal(self, view: View2D) -> tuple[Float[Tensor, "b h w"], Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """Signal of the tissues, which pixels are disc, and which show anything: field of view and maps end."""
        index, inside = self._places(view.row, view.column)
        numbers = self.batch.tissues.flatten(1).gather(1, index).long()
        lean = self.contrast["lean"].gather(1, numbers).view(view.row.shape)
        fat = self._fat(index).view(view.row.shape)
        inside &= view.in_field
        down, across = self._fat_shift_px().unbind(1)
        displaced = self._fat(self._places(view.row + down, view.column + across)[0]).view(view.row.shape)
        disc = self.discs[numbers].view(view.row.shape) * inside
        return mixed(lean, fat, displaced, self.contrast) * inside, disc, inside

    def mask(self, view: View2D) -> Int[Tensor, "b h w"]:
        """Class of every pixel's centre; background where nothing shows."""
        index, inside = self._places(view.row, view.column)
        classes = self.batch.native_mask.flatten(1).gather(1, index).view(view.row.shape)
        return (classes * (inside & view.in_field)).to(self.batch.mask.dtype)

    def gain(self, view: View2D) -> Float[Tensor, "b h w"]:
        """Coil, bias field and saturation band."""
        linear, axis = self.place["linear"], 1 if self.view == "axial" else 0
        down = linear[:, axis, 1, None] * view.rows_mm + self.place["shift"][:, axis, None]
        across = linear[:, axis, 0, None] * view.columns_mm
        return artefacts.gain(self.faults, view, down[:, :, None] + across[:, None], self.bias_mm)

    def _fat_shift_px(self) -> Float[Tensor, "b 2 1 1"]:
        """By how many pixels of the map fat is displaced, (row, column)."""
        moved = torch.bmm(self.place["linear"], self.faults["fat_shift"].flip(1)[..., None])[..., 0].flip(1)
        return (moved / self.batch.native_mm)[..., None, None]

    def _places(
        self, row: Float[Tensor, "b h w"], column: Float[Tensor, "b h w"]
    ) -> tuple[Int[Tensor, "b p"], Bool[Tensor, "b h w"]]:
        """Index of the nearest pixel in the flat map, and whether there is one."""
        last_row, last_column = (self.batch.native_size - 1).to(row.dtype)[..., None, None].unbind(1)
        row, column = row.round(), column.round()
        near_row, near_column = row.clamp_min(0).minimum(last_row), column.clamp_min(0).minimum(last_column)
        inside = (row == near_row) & (column == near_column)
        index = torch.add(near_column, near_row, alpha=self.batch.tissues.shape[2])
        return index.long().flatten(1), inside

    def _fat(self, index: Int[Tensor, "b p"]) -> Float[Tensor, "b p"]:
        return self.batch.fat.flatten(1).gather(1, index) / FAT_STEPS


def with_usual_fat(batch: TissueBatch, usual: Float[Tensor, " t"]) -> TissueBatch:
    """Fills in the fat of slices without a fat map: what each tissue usually holds."""
    unknown = batch.fat == UNKNOWN_FAT
    if not unknown.any():
        return batch
    steps = (usual * FAT_STEPS).round().to(batch.fat.dtype)
    return replace(batch, fat=torch.where(unknown, steps[batch.tissues.long()], batch.fat))


@dataclass(frozen=True, kw_only=True)
class Noises:
    """Independent numbers of unit variance, drawn for every slice from its own seed."""

    texture: Float[Tensor, "b h w"]
    shades: Float[Tensor, "b 1 i j"]
    thermal: Float[Tensor, "b 2 h w"]
    overview: Float[Tensor, "b 2 o o"]

    @classmethod
    def draw(
        cls, seeds: Sequence[int], size: tuple[int, int], shades: int, overview: int, device: torch.device
    ) -> "Noises":
        """Draws them on the device."""
        generator, parts = torch.Generator(device), []
        shapes = (size, (1, shades, shades), (2, *size), (2, overview, overview))
        for seed in seeds:
            generator.manual_seed(seed)
            parts.append([torch.randn(shape, generator=generator, device=device) for shape in shapes])
        texture, coarse, thermal, coarse_noise = (torch.stack(each) for each in zip(*parts, strict=True))
        return cls(texture=texture, shades=coarse, thermal=thermal, overview=coarse_noise)


def taken(
    maker: PictureMaker, fine: View2D, pixels: View2D, overview: View2D, noises: Noises
) -> Float[Tensor, "b 1 h w"]:
    """The pictures on the network's grid.

    Args:
        maker: What is shown.
        fine: Two by two places for every pixel of the grid.
        pixels: The pixels of the grid.
        overview: A coarse grid over the whole field of view.
        noises: What is random in every pixel.
    """
    faults, contrast, spacing = maker.faults, maker.contrast, maker.batch.spacing_mm
    signal, disc, seen = maker.signal(fine)
    parts = F.avg_pool2d(torch.stack([signal, signal * disc, disc, seen.to(signal.dtype)], dim=1), 2)
    signal, of_disc, disc, seen = parts.unbind(1)
    signal, shown = with_soft_discs(signal, of_disc, disc, contrast["soft_mm"], spacing), seen > 0
    coarse, _, coarse_shown = maker.signal(overview)
    peak = torch.maximum(signal.amax(dim=(1, 2)), coarse.amax(dim=(1, 2))).clamp_min(1e-6)[:, None, None]
    signal, coarse = (toned(each, peak, contrast["gamma"]) for each in (signal, coarse))
    shades = smooth(noises.shades, pixels.rows_mm, pixels.columns_mm, maker.coarse_mm)[:, 0] / artefacts.SPLINE_SD
    texture = 1 + contrast["coarse_texture"][:, None, None] * shades
    texture.addcmul_(contrast["fine_texture"][:, None, None], noises.texture)
    signal = signal * texture * maker.gain(pixels)
    coarse = coarse * maker.gain(overview)
    # Where a coil makes a little of the fat very bright, the deviation says nothing of the rest of the picture.
    strength = faults["noise"][:, None, None] * torch.minimum(*artefacts.mean_and_deviation(coarse, coarse_shown))
    point, grain = (
        artefacts.sigma_px(faults[name].view(-1, 1 if name == "noise_width_mm" else 2).expand(-1, 2), spacing)
        for name in ("width_mm", "noise_width_mm")
    )
    stack = torch.cat([signal[:, None], noises.thermal], dim=1)
    stack = artefacts.blurred(stack, torch.stack([point, grain, grain], dim=1))
    thermal = stack[:, 1:] / stack[:, 1:].std(dim=(1, 2, 3), keepdim=True) * strength[:, None]
    signal = artefacts.with_ghosts(stack[:, 0].clamp_min(0), faults, maker.place["field"] / spacing)
    picture = artefacts.rician(signal, thermal)
    coarse = artefacts.rician(coarse, noises.overview * strength[:, None])
    mean, deviation = artefacts.mean_and_deviation(coarse, coarse_shown)
    picture, coarse = (picture - mean) / deviation, (coarse - mean) / deviation
    lowest = torch.minimum(lowest_of(picture, shown), lowest_of(coarse, coarse_shown))
    return torch.where(shown, picture, lowest)[:, None]


def with_soft_discs(
    signal: Float[Tensor, "b h w"],
    of_disc: Float[Tensor, "b h w"],
    disc: Float[Tensor, "b h w"],
    soft_mm: Float[Tensor, " b"],
    spacing_mm: Float[Tensor, "b 2"],
) -> Float[Tensor, "b h w"]:
    """Blurs nucleus and annulus into each other, and nothing else: maps have one tissue a pixel, discs no border.

    Args:
        signal: Of all tissues.
        of_disc: The part of it that comes from discs.
        disc: Share of every pixel that is disc.
        soft_mm: Width at half maximum of the blur.
        spacing_mm: Of the pixels, (row, column).
    """
    sigma = soft_mm[:, None] / spacing_mm / FWHM_PER_SIGMA
    wide = artefacts.blurred(torch.stack([of_disc, disc], dim=1), sigma[:, None].expand(-1, 2, 2))
    return signal - of_disc + disc * wide[:, 0] / wide[:, 1].clamp_min(1e-3)


def toned(
    signal: Float[Tensor, "b h w"], peak: Float[Tensor, "b 1 1"], gamma: Float[Tensor, " b"]
) -> Float[Tensor, "b h w"]:
    """Signal over its peak, to the power of gamma."""
    return (signal / peak) ** gamma[:, None, None]


def lowest_of(picture: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"]) -> Float[Tensor, "b 1 1"]:
    """Smallest value inside, at most 0: what the preparation puts outside of a picture."""
    return torch.where(inside, picture, 0).amin(dim=(1, 2), keepdim=True)
