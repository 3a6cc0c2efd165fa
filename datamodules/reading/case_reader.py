"""Turns the files of a case into slices with class indices, refusing whatever cannot be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped, UInt8

from datamodules.anatomy import View
from datamodules.reading.case_images import read_images, read_labels
from datamodules.reading.case_list import SEPARATOR, Case
from datamodules.reading.keypoint_placement import KeypointPlacer
from datamodules.reading.volume import Volume, grid_differences

LABEL_ROUNDING = 1e-4


@dataclass(frozen=True, kw_only=True)
class CaseSlices:
    """The slices of one volume of a case, in canonical orientation, on the image's own pixels.

    Attributes:
        image: Values as stored.
        mask: Class indices; 0 where nothing was drawn, or a structure that counts as not drawn.
        labelled: Classes that the annotator drew.
        keypoints: (x, y) in pixels of each slice, from keypoints.csv or the centroid of what was drawn; else NaN.
        clicked: Which of them keypoints.csv states.
        has_mask: Whether the volume has a label file.
        spacing_mm: Size of a pixel, (row, column).
        slice_index: Index of each slice along the axis of the file (of a DICOM series: as stored).
        level: Spinal level or "".
        digests: A hash of each channel's voxels, to find the same image under two patients.
    """

    image: Float32[np.ndarray, "m d H W"]
    mask: UInt8[np.ndarray, "d H W"]
    labelled: Bool[np.ndarray, " c"]
    keypoints: Float32[np.ndarray, "d k 2"]
    clicked: Bool[np.ndarray, "d k"]
    has_mask: bool
    spacing_mm: tuple[float, float]
    slice_index: Int[np.ndarray, " d"]
    level: str
    digests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CaseReader:
    """What reading a case needs to know of its cohort; small, so that worker processes receive little.

    Attributes:
        cohort: Name of the cohort, for messages.
        view: View of the anatomy.
        structures: Names in class order.
        keypoints: Names of the key points in order.
        has_sides: Whether left and right are different structures.
        labels: Structure of each label id in the files, None for background.
        labelled: Structures drawn throughout the cohort.
        slices: "all", "labelled", "middle", or how many central slices of each volume; see `Cohort`.
    """

    cohort: str
    view: View
    structures: tuple[str, ...]
    keypoints: tuple[str, ...]
    has_sides: bool
    labels: Mapping[int, str | None]
    labelled: tuple[str, ...]
    slices: str | int

    def read(self, case: Case) -> list[CaseSlices]:
        """Reads a case: one record, or one per block of a DICOM series.

        Raises:
            ValueError: If something is wrong with a file or between files, naming the case, the file and the remedy.
        """
        try:
            return self._read(case)
        except ValueError as error:
            raise ValueError(f"cohort {self.cohort}, case {case.case!r}: {error}") from error

    def _read(self, case: Case) -> list[CaseSlices]:
        channels = read_images(case, view=self.view, has_sides=self.has_sides)
        labels = self._labels_of_blocks(case, channels[0])
        placer = KeypointPlacer(view=self.view, keypoints=self.keypoints, structures=self.structures)
        points = placer.place(case, channels[0], labels)
        levels = [part.strip() for part in case.level.split(SEPARATOR)]
        if len(levels) not in (1, len(channels[0])):
            raise ValueError(
                f"level names {len(levels)} levels, the image has {len(channels[0])} blocks; name one, or one per block"
            )
        records = []
        for block, first in enumerate(channels[0]):
            mask = labels.get(block)
            record = CaseSlices(
                image=np.stack([volumes[block].voxels for volumes in channels]).astype(np.float32),
                mask=np.zeros(first.voxels.shape, np.uint8) if mask is None else mask,
                labelled=self._labelled_classes(case),
                keypoints=points[block].xy,
                clicked=points[block].clicked,
                has_mask=mask is not None,
                spacing_mm=first.pixel_mm,
                slice_index=first.slice_index,
                level=levels[block % len(levels)],
                digests=tuple(_digest(volumes[block]) for volumes in channels),
            )
            records.append(self._choose_slices(record))
        return records

    def _labelled_classes(self, case: Case) -> Bool[np.ndarray, " c"]:
        drawn = self.labelled if case.labelled is None else case.labelled
        return np.array([True, *[name in drawn for name in self.structures]])

    def _labels_of_blocks(self, case: Case, images: list[Volume]) -> dict[int, UInt8[np.ndarray, "d H W"]]:
        """Class indices of every block that has a label file of the same grid."""
        masks: dict[int, UInt8[np.ndarray, "d H W"]] = {}
        found = [
            (path, label)
            for path in case.labels
            for label in read_labels(path, case, view=self.view, has_sides=self.has_sides)
        ]
        for path, label in found:
            differences = [grid_differences(image, label) for image in images]
            if [] not in differences:
                what = "; ".join(differences[0]) if len(images) == 1 else f"none of {len(images)} blocks has its grid"
                raise ValueError(
                    f"{path}: the label does not lie on the grid of the image {images[0].path} (image and label differ "
                    f"in {what}); resample the label onto its image (nearest neighbour), or copy the header if only "
                    "that is wrong" + ("; give one label file per block, separated by ';'" if len(images) > 1 else "")
                )
            block = differences.index([])
            if block in masks:
                raise ValueError(f"{path}: another label file has the same grid; keep one of them")
            masks[block] = self.classes(case, label)
        if masks and not any(mask.any() for mask in masks.values()):
            names = ", ".join(str(path) for path in case.labels)
            raise ValueError(
                f"{names}: the whole mask is empty of {', '.join(self.structures)}; if nobody drew this case, leave "
                "its label cell empty; else check `labels` of the cohort"
            )
        return masks

    def classes(self, case: Case, label: Volume) -> UInt8[np.ndarray, "d H W"]:
        """Class indices of the label ids of a file.

        Raises:
            ValueError: If an id is not among `labels`.
        """
        voxels = whole_numbers(label.voxels)
        ids = np.unique(voxels)
        unknown = [f"{value:g}" for value in ids if value != 0 and value not in self.labels]
        if unknown:
            raise ValueError(
                f"{label.path}: holds the unknown label id {', '.join(unknown[:8])}; known are "
                f"{', '.join(map(str, self.labels))} (and 0 for background); add it to `labels` of the cohort, with "
                "null for what is to be background"
            )
        drawn = self._labelled_classes(case)
        names = [self.labels.get(int(value)) for value in ids]
        classes = [0 if name is None else self.structures.index(name) + 1 for name in names]
        # What counts as not drawn in this case must not appear as drawn: there, 0 is "background or unlabelled".
        table = np.array([index if drawn[index] else 0 for index in classes], np.uint8)
        return table[np.searchsorted(ids, voxels)]

    def _choose_slices(self, record: CaseSlices) -> CaseSlices:
        if self.slices == "all":
            return record
        clicked, drawn = record.clicked.any(axis=1), record.mask.any(axis=(1, 2))
        chosen = np.zeros(len(record.slice_index), bool)
        if self.slices == "labelled":
            chosen = drawn | np.isfinite(record.keypoints).any(axis=(1, 2))
        elif self.slices == "middle":
            chosen[_middle(record)] = True
        else:
            start = max(0, (len(chosen) - int(self.slices)) // 2)
            chosen[start : start + int(self.slices)] = True
            # Without a mask, slices without key points teach nothing.
            chosen |= clicked & (not record.has_mask)
        keep = np.flatnonzero(chosen)
        by_slice = {name: getattr(record, name)[keep] for name in ("mask", "keypoints", "clicked", "slice_index")}
        return replace(record, image=record.image[:, keep], **by_slice)


def whole_numbers(voxels: Shaped[np.ndarray, "d H W"]) -> Shaped[np.ndarray, "d H W"]:
    """Ids as they were meant: tools that scale or resample leave whole numbers as 0.9999999."""
    if voxels.dtype.kind != "f":
        return voxels
    nearest = np.rint(voxels)
    return np.where(np.isclose(voxels, nearest, rtol=0, atol=LABEL_ROUNDING), nearest, voxels)


def _middle(record: CaseSlices) -> int:
    """The slice with most rows in keypoints.csv; without any the middle of the drawn ones, or of the volume."""
    clicked, drawn = record.clicked.sum(axis=1), np.flatnonzero(record.mask.any(axis=(1, 2)))
    if clicked.any():
        return int(clicked.argmax())
    return int(drawn[(len(drawn) - 1) // 2]) if len(drawn) else (len(clicked) - 1) // 2


def _digest(volume: Volume) -> str:
    """Hash of the values, whatever type and file they were stored in."""
    return blake2b(np.ascontiguousarray(volume.voxels, np.float32).tobytes(), digest_size=16).hexdigest()
