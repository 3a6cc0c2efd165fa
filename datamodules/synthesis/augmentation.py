"""Makes a batch of pictures of tissue maps, on the device that they lie on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import exp
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.anatomy import Anatomy
from datamodules.augmentation.mirror import mirror_slices
from datamodules.augmentation.warp import Warp, num_knots
from datamodules.batch import SpineBatch, boxes_of_masks
from datamodules.store.tissue_batch import TissueBatch
from datamodules.synthesis.artefacts import ArtefactRanges
from datamodules.synthesis.contrast import ContrastRanges
from datamodules.synthesis.geometry import GeometryRanges, View2D, in_field, seen_by, through_the_slice, warp_of
from datamodules.synthesis.pictures import Noises, PictureMaker, taken, with_usual_fat
from datamodules.synthesis.ranges import stacked
from datamodules.synthesis.tissues import DISC, NumberedTissues, TissueTable

OVERVIEW = 40  # rows and columns of the coarse picture of the whole field that a picture is z-scored by


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """Makes every training picture anew: its contrast, its place in the body, and the faults of a scanner.

    Everything follows from a slice's seed, whatever lies beside it in the batch; noise and fine texture are drawn on
    the device, the same on every CPU and the same on every CUDA device, but not the same on both. The picture a slice
    was stored with is not used.

    Attributes:
        anatomy: Its view, and what changes sides in a flip.
        tissues: Groups and values of tissues.
        contrast: How bright they are.
        geometry: Where the picture lies.
        artefacts: What the scanner adds.
        numbered: The tissues of the store, see `of_store`.
    """

    whole_batch: ClassVar[bool] = True

    anatomy: Anatomy
    tissues: TissueTable
    contrast: ContrastRanges
    geometry: GeometryRanges
    artefacts: ArtefactRanges
    numbered: NumberedTissues | None = None

    def of_store(self, tissues: Sequence[str], num_channels: int) -> "Synthesis":
        """The augmentation of slices whose maps hold these tissues.

        Raises:
            ValueError: If a tissue is not known, or pictures have several channels.
        """
        if num_channels != 1:
            raise ValueError(
                f"data/augmentation=synthesis makes pictures of one channel, those of the cohort have {num_channels}; "
                "choose one contrast (cohort.channels=null, phantom.contrast=T2), or another augmentation"
            )
        return replace(self, numbered=self.tissues.numbered(tissues))

    @property
    def field_mm(self) -> tuple[float, float]:
        """Smallest and largest side of a field of view."""
        return float(self.geometry.field_mm[0]), float(self.geometry.field_mm[1])

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Finest and coarsest resolution."""
        return float(self.artefacts.resolution_mm[0]), float(self.artefacts.resolution_mm[1])

    @property
    def in_words(self) -> list[str]:
        """What is drawn from where."""
        place, drawn, faults = self.geometry, self.contrast, self.artefacts
        return [
            f"a new picture of the tissues every time: {100 * drawn.random_share:g} % with random intensities, others "
            f"by the signal equation of {', '.join(drawn.kinds)}",
            f"field of view {place.field_mm[0]:g} to {place.field_mm[1]:g} mm",
            f"rotation up to {place.rotate_degrees:g}° to either side",
            f"scale {exp(-place.log_scale):.2g} to {exp(place.log_scale):.2g}",
            f"elastic displacement up to {place.elastic_magnitude_mm:g} mm",
            f"flip ({100 * place.flip_probability.get(self.anatomy.view, 0):g} % of slices)",
            f"coil, bias field, saturation band, ghosts ({100 * faults.ghost_probability:g} %), chemical shift, blur",
            f"noise {faults.noise[0]:g} to {faults.noise[1]:g} of a picture's own deviation",
        ]

    @torch.no_grad()
    def __call__(self, batch: SpineBatch) -> SpineBatch:
        """Returns the batch with new pictures, and with masks, boxes and key points of what they show.

        Raises:
            ValueError: If the batch has no maps.
        """
        if not isinstance(batch, TissueBatch) or self.numbered is None:
            raise ValueError("augmentation: synthesis makes pictures of tissue maps, which this batch does not have")
        place, contrast, faults, seeds = self._draw(batch.seed.tolist(), batch.image.device)
        batch = with_usual_fat(batch, _of_numbers(self.numbered.fat, batch))
        height, width = batch.mask.shape[1:]
        maker = PictureMaker(
            batch=batch,
            discs=_of_numbers(np.isin(np.arange(len(self.numbered.names)), self.numbered.of_group(DISC)), batch),
            view=self.anatomy.view,
            place=place,
            contrast=contrast,
            faults=faults,
            coarse_mm=self.contrast.coarse_mm,
            bias_mm=self.artefacts.bias_mm,
        )
        pixels, warp = self._seen(batch, place, (height, width), batch.spacing_mm, batch.offset_mm)
        fine, _ = self._seen(batch, place, (2 * height, 2 * width), batch.spacing_mm / 2, batch.offset_mm)
        fine = through_the_slice(fine, place["slope"], batch.native_mm)
        whole = place["field"] / OVERVIEW
        overview, _ = self._seen(batch, place, (OVERVIEW, OVERVIEW), whole, torch.zeros_like(whole))
        shades = num_knots(2, self._longest_mm, self.contrast.coarse_mm)
        noises = Noises.draw(seeds, (height, width), shades, OVERVIEW, batch.image.device)
        mask = maker.mask(pixels)
        made = {
            **{field.name: getattr(batch, field.name) for field in fields(SpineBatch)},
            "image": taken(maker, fine, pixels, overview, noises),
            "mask": mask,
            "boxes": boxes_of_masks(mask, self.anatomy.num_structures),
            "keypoints": in_field(warp.move(batch.keypoints), pixels),
        }
        return mirror_slices(SpineBatch(**made), place["flipped"].bool().tolist(), self.anatomy)

    @property
    def _longest_mm(self) -> float:
        return self.geometry.field_mm[1] * exp(self.geometry.field_aspect)

    def _seen(
        self,
        batch: TissueBatch,
        place: Mapping[str, Tensor],
        size: tuple[int, int],
        spacing_mm: Float[Tensor, "b 2"],
        offset_mm: Float[Tensor, "b 2"],
    ) -> tuple[View2D, Warp]:
        warp = warp_of(place, size, spacing_mm, offset_mm, self.geometry.knot_mm)
        return seen_by(place, warp, offset_mm, batch.native_size, batch.native_mm), warp

    def _draw(
        self, seeds: Sequence[int], device: torch.device
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], list[int]]:
        """Place, contrast and faults of every picture, each from a stream of its own, and seeds of their noise."""
        assert self.numbered is not None
        places, contrasts, faults, noises = [], [], [], []
        for seed in seeds:
            first, second, third, fourth = np.random.default_rng(seed).spawn(4)
            places.append(self.geometry.draw(first, self.anatomy.view))
            contrasts.append(self.contrast.draw(second, self.numbered))
            faults.append(self.artefacts.draw(third, self._longest_mm))
            noises.append(int(fourth.integers(2**63)))
        return stacked(places, device), stacked(contrasts, device), stacked(faults, device), noises


def _of_numbers(values: np.ndarray, batch: TissueBatch) -> Float[Tensor, " t"]:
    """A value of every tissue number, on the device of the batch."""
    return torch.from_numpy(values).float().to(batch.image.device)
