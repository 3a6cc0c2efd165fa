"""Outlines the structures of a scan: every slice on the networks' grids, and back onto the pixels of the file."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor

from datamodules.reading.case_images import read_images
from datamodules.reading.case_list import SEPARATOR, Case
from datamodules.reading.dicom_series import Series
from datamodules.reading.volume import Volume
from datamodules.store.preparation import z_score
from lightning_modules.evaluation.clean_up import AS_FOUND, CleanUp
from lightning_modules.evaluation.native_grid import NativeGrid, likeliest
from lightning_modules.prediction.members import Member


@dataclass(frozen=True, kw_only=True)
class Block:
    """A volume of a scan (one of several, where a DICOM series holds blocks) with its outlines.

    Attributes:
        case: The scan.
        number: Place among the blocks of the scan, from 1; 0 where it is the only one.
        level: Spinal level, if the cohort.csv of the scan says.
        volumes: One per channel, with the way back to the file.
        image: z-scored.
        mask: Class indices of the ensemble, or of the only network.
        member_masks: Those of every member, if there are several.
        field: Pixels that at least one network sees.
        chosen: Slices that were looked at; of the others nothing is known.
    """

    case: Case
    number: int
    level: str
    volumes: tuple[Volume, ...]
    image: Float32[np.ndarray, "m d H W"]
    mask: UInt8[np.ndarray, "d H W"]
    member_masks: tuple[UInt8[np.ndarray, "d H W"], ...]
    field: Bool[np.ndarray, "H W"]
    chosen: Bool[np.ndarray, " d"]

    @property
    def name(self) -> str:
        """The case, and which of its blocks."""
        return f"{self.case.case}_block{self.number}" if self.number else self.case.case

    @property
    def slice_names(self) -> Int[np.ndarray, " d"]:
        """Index of every slice in the file, as in the column `slice` of tables."""
        return self.volumes[0].slice_index

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Size of a pixel, (row, column)."""
        return self.volumes[0].pixel_mm


def outline(
    members: Sequence[Member], case: Case, series: Series | None = None, clean_up: CleanUp = AS_FOUND
) -> list[Block]:
    """Reads a scan and outlines its blocks.

    Args:
        members: The networks.
        case: The scan.
        series: Its DICOM series, if the headers have been read already.
        clean_up: What is done to every mask afterwards.

    Raises:
        ValueError: If a file cannot be trusted, was acquired in another view, does not say where its sides are, or has
            another number of channels than the networks.
    """
    first = members[0]
    if len(case.images) != first.num_channels:
        named = f" ({', '.join(first.channels)})" if first.channels else ""
        raise ValueError(
            f"{case.case}: {len(case.images)} image(s), but the network needs {first.num_channels}{named}; list them "
            "in a cohort.csv beside the scans: a row per scan with its files in the column image, separated by ';'"
        )
    # Sides are asked for whatever the anatomy: a mirrored or upside-down slice is another picture to the network.
    channels = read_images(case, view=first.anatomy.view, has_sides=True, series=series)
    levels = [part.strip() for part in case.level.split(SEPARATOR)]
    if len(levels) not in (1, len(channels[0])):
        raise ValueError(
            f"{case.case}: level names {len(levels)} levels, the image has {len(channels[0])} blocks; name one, or one "
            "per block"
        )
    several = len(channels[0]) > 1
    return [
        _outline_block(
            members,
            case,
            tuple(volumes[index] for volumes in channels),
            number=index + 1 if several else 0,
            level=levels[index % len(levels)],
            clean_up=clean_up,
        )
        for index in range(len(channels[0]))
    ]


def _outline_block(
    members: Sequence[Member], case: Case, volumes: tuple[Volume, ...], *, number: int, level: str, clean_up: CleanUp
) -> Block:
    image = z_score(np.stack([volume.voxels for volume in volumes]).astype(np.float32))
    spacing, size = volumes[0].pixel_mm, volumes[0].voxels.shape[1:]
    scans = [NativeGrid(grid=member.grid, size=size, spacing_mm=spacing) for member in members]
    chosen = _chosen(members[0].slices, image.shape[1])
    masks = np.zeros((len(members) + 1, *volumes[0].voxels.shape), np.uint8)
    fields = [scan.field_of_view for scan in scans]
    found = [_of_member(member, image[:, chosen], spacing) for member in members]
    for place, index in enumerate(np.flatnonzero(chosen)):
        foreground = [scan.values(probabilities[place, 1:]) for scan, probabilities in zip(scans, found, strict=True)]
        for number_of, values in enumerate([_mean_where_seen(foreground, fields), *foreground]):
            masks[number_of, index] = clean_up(likeliest(values).numpy(), members[0].anatomy)
    return Block(
        case=case,
        number=number,
        level=level,
        volumes=volumes,
        image=image,
        mask=masks[0],
        member_masks=tuple(masks[1:]) if len(members) > 1 else (),
        field=torch.stack(fields).any(dim=0).numpy(),
        chosen=chosen,
    )


def _of_member(
    member: Member, image: Float32[np.ndarray, "m s H W"], spacing_mm: tuple[float, float]
) -> Float[Tensor, "s c h w"]:
    return member.probabilities(
        np.stack([member.grid.resample_image(slice_, spacing_mm) for slice_ in image.swapaxes(0, 1)])
    )


def _mean_where_seen(
    foreground: Sequence[Float[Tensor, "n H W"]], fields: Sequence[Bool[Tensor, "H W"]]
) -> Float[Tensor, "n H W"]:
    """Mean over the members that see a pixel; zero where none does."""
    seen = torch.stack(list(fields)).sum(dim=0).clamp(min=1)
    return torch.stack(list(foreground)).sum(dim=0) / seen


def _chosen(slices: str | int, num_slices: int) -> Bool[np.ndarray, " d"]:
    """Slices of a volume that are of the kind trained on, as `datamodules.reading.case_reader` does without labels."""
    count = num_slices if slices in ("all", "labelled") else 1 if slices == "middle" else int(slices)
    start = max(0, (num_slices - count) // 2)
    chosen = np.zeros(num_slices, bool)
    chosen[start : start + count] = True
    return chosen
