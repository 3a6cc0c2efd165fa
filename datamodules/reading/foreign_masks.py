"""Masks that somebody else drew or computed for the cases of a cohort: a folder with a file per case, or per slice."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped, UInt8

from datamodules.reading.case_images import read_images, read_volume
from datamodules.reading.case_list import Case
from datamodules.reading.case_reader import CaseReader
from datamodules.reading.image_file import PICTURE_SUFFIXES
from datamodules.reading.volume import Volume, grid_differences

MASK_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd", ".png")
OF_SLICE = "_slice"  # between a case and the number of a slice, in the name of a file
LABELS_FILE = "dataset.json"  # of nnU-Net, which leaves it beside its predictions
NO_STRUCTURE = ("background", "ignore")
MaskFiles = Mapping[int | None, Path]  # of one case: by the number of the slice, None for the case as a whole


@dataclass(frozen=True, kw_only=True)
class ForeignMask:
    """The mask of a case on the pixels of its image, in canonical orientation.

    Attributes:
        slices: Class indices of every slice that it covers, by the slice's index in the image file.
        resampled: Whether it was drawn on another grid of the same field.
    """

    slices: Mapping[int, UInt8[np.ndarray, "H W"]]
    resampled: bool


def name_of_slice(case: str, number: int) -> str:
    """Stem of the file that holds the mask of one slice, by the slice's index in the image file."""
    return f"{case}{OF_SLICE}{number}"


def find_masks(folder: Path, cases: Sequence[str]) -> tuple[dict[str, MaskFiles], list[Path]]:
    """The file of each case, or of each of its slices, that has one, and the files that belong to no case.

    Raises:
        ValueError: If there is no such folder, no file is called after a case or a slice of one, or two are called
            after the same.
    """
    if not folder.is_dir():
        raise ValueError(f"masks={folder}: there is no such folder; give one with a file per case")
    files: dict[str, dict[int | None, Path]] = {}
    extra = []
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        suffix = next((suffix for suffix in MASK_SUFFIXES if path.name.lower().endswith(suffix)), None)
        case, number = _of(path.name[: -len(suffix)], cases) if suffix else (None, None)
        own = files.get(case or "", {})
        twin = own.get(None) or own.get(number) or (number is None and next(iter(own.values()), None))
        if case is None:
            extra.append(path)
        elif twin:
            raise ValueError(f"{path}: {twin.name} is a mask of the same case; remove one of them")
        else:
            files.setdefault(case, {})[number] = path
    extra = [path for path in extra if path.name != LABELS_FILE]
    if not files:
        raise ValueError(
            f"masks={folder}: none of its {len(extra)} files is called after an annotated case of the cohort; expected "
            f"{cases[0]}.nii.gz or the like (one of {', '.join(MASK_SUFFIXES)}), or of its slice 0 "
            f"{name_of_slice(cases[0], 0)}.nii.gz; rename them, or choose the cohort (cohort=NAME) that they are of"
        )
    return dict(files), extra


def _of(stem: str, cases: Sequence[str]) -> tuple[str | None, int | None]:
    """The case that a file is called after, and the number of its slice if it is one of a slice."""
    if stem in cases:
        return stem, None
    case, _, number = stem.rpartition(OF_SLICE)
    return (case, int(number)) if case in cases and number.isdecimal() else (None, None)


def reader_of_masks(folder: Path, reader: CaseReader) -> CaseReader:
    """The reader of a folder of masks: where a dataset.json (nnU-Net) says what label ids mean, by these.

    Raises:
        ValueError: If it names a structure that the anatomy does not have, or is no such file.
    """
    path = folder / LABELS_FILE
    if not path.is_file():
        return reader
    try:
        labels = {
            str(name): int(number) for name, number in json.loads(path.read_text(encoding="utf-8"))["labels"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: does not say what label ids mean ({error!r}); expected labels, a number for each structure; "
            "remove the file if ids are the cohort's, or put nnU-Net's own back"
        ) from error
    structures = {name: number for name, number in labels.items() if name not in NO_STRUCTURE}
    if unknown := [name for name in structures if name not in reader.structures]:
        raise ValueError(
            f"{path}: {', '.join(unknown)} is no structure of the anatomy, which has {', '.join(reader.structures)}; "
            "choose the anatomy that the masks were made for, or correct the name"
        )
    return replace(reader, labels={number: name for name, number in structures.items()})


def read_mask(reader: CaseReader, case: Case, files: MaskFiles) -> ForeignMask:
    """Reads the mask of a case onto the pixels of its image; label ids are those of `reader`.

    A mask on another grid of the same field is resampled (nearest neighbour). A picture states no place: it must have
    the rows and columns of its image, and lies where that lies.

    Raises:
        ValueError: If a file cannot be trusted, holds an unknown label id, covers another field than the image, or is
            of a slice that the image does not have; names the case and the file.
    """
    try:
        images = read_images(case, view=reader.view, has_sides=reader.has_sides)[0]
        read = [
            _read_onto(images if number is None else _slice_of(images, number, path), reader, case, path)
            for number, path in files.items()
        ]
    except ValueError as error:
        raise ValueError(f"cohort {reader.cohort}, case {case.case!r}: {error}") from error
    slices = {number: mask for each in read for number, mask in each.slices.items()}
    return ForeignMask(slices=slices, resampled=any(each.resampled for each in read))


def _slice_of(images: Sequence[Volume], number: int, path: Path) -> list[Volume]:
    found = [image.one_slice(number) for image in images if number in image.slice_index]
    if not found:
        raise ValueError(
            f"{path}: the image {images[0].path} has no slice {number}, but "
            f"{', '.join(str(index) for image in images for index in sorted(image.slice_index))}; correct the name"
        )
    return found


def _read_onto(images: Sequence[Volume], reader: CaseReader, case: Case, path: Path) -> ForeignMask:
    is_picture = path.name.lower().endswith(PICTURE_SUFFIXES)
    stated = replace(case, spacing_mm=case.spacing_mm or images[0].pixel_mm) if is_picture else case
    mask = read_volume(path, stated, view=reader.view, has_sides=reader.has_sides)
    if is_picture and mask.voxels.shape == images[0].voxels.shape:
        mask = replace(images[0], path=path, voxels=mask.voxels)
    mask = replace(mask, voxels=reader.classes(case, mask))
    slices: dict[int, UInt8[np.ndarray, "H W"]] = {}
    resampled = False
    for image in images:
        if not grid_differences(image, mask):
            voxels = mask.voxels
        elif _same_field(image, mask):
            voxels, resampled = _nearest(mask, image), True
        else:
            continue
        slices |= {int(number): voxels[place] for place, number in enumerate(image.slice_index)}
    if not slices:
        differences = "; ".join(grid_differences(images[0], mask))
        what = (
            f"they differ in {differences}" if len(images) == 1 else f"nor in that of any of its {len(images)} blocks"
        )
        raise ValueError(
            f"{path}: the mask does not lie in the field of the image {images[0].path} ({what}); resample the mask "
            "onto its image (nearest neighbour), or copy the header if only that is wrong"
        )
    return ForeignMask(slices=slices, resampled=resampled)


def _same_field(image: Volume, mask: Volume) -> bool:
    """Whether two grids cover the same millimetres, to a pixel of the coarser one: edges in plane, centres of slices.

    Both ways, so that a mask whose header has lost its spacing does not pass because it covers more.
    """
    apart_mm = np.linalg.norm(_edges_mm(image) - _edges_mm(mask), axis=1).max()
    return bool(apart_mm <= max(*image.pixel_mm, *mask.pixel_mm))


def _edges_mm(volume: Volume) -> Float64[np.ndarray, "8 3"]:
    """The corners of the first and of the last slice, outer edges of the pixels, in patient coordinates."""
    depth, height, width = volume.voxels.shape
    ends = [(0, depth - 1), (-0.5, height - 0.5), (-0.5, width - 0.5)]
    index = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(8, 3)
    return volume.origin_mm + (index * volume.spacing_mm) @ volume.direction.T


def _nearest(mask: Volume, image: Volume) -> Shaped[np.ndarray, "d H W"]:
    """Values of the mask at the pixels of the image."""
    index = np.indices(image.voxels.shape).reshape(3, -1).T
    place_mm = image.origin_mm + (index * image.spacing_mm) @ image.direction.T
    nearest = np.rint((place_mm - mask.origin_mm) @ mask.direction / mask.spacing_mm).astype(int)
    inside = np.clip(nearest, 0, np.array(mask.voxels.shape) - 1)  # at most the pixel that fields may be apart
    return mask.voxels[tuple(inside.T)].reshape(image.voxels.shape)
