"""Turns the files of a case into slices with class indices, refusing whatever cannot be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from datamodules.anatomy import View
from datamodules.case_images import read_images, read_volume
from datamodules.case_list import SEPARATOR, Case
from datamodules.volume import Volume, grid_differences


@dataclass(frozen=True, kw_only=True)
class CaseSlices:
    """The slices of one volume of a case, in canonical orientation, on the image's own pixels.

    Attributes:
        image: Values as stored.
        mask: Class indices; 0 where nothing was drawn, or a structure that counts as not drawn.
        labelled: Classes that the annotator drew.
        keypoints: (x, y) in pixels of each slice; NaN where not set.
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
        slices: "all", "labelled", or how many central slices of each volume.
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
        points = self._place_keypoints(case, channels[0])
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
                keypoints=points[block],
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
        for path in case.labels:
            label = read_volume(path, case, view=self.view, has_sides=self.has_sides)
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
        ids = np.unique(label.voxels)
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
        return table[np.searchsorted(ids, label.voxels)]

    def _place_keypoints(self, case: Case, volumes: list[Volume]) -> list[Float32[np.ndarray, "d k 2"]]:
        """Pixels (x, y) of the key points on every slice of every block."""
        placed = [np.full((len(v.slice_index), len(self.keypoints), 2), np.nan, np.float32) for v in volumes]
        for point in case.keypoints:
            where = [(b, int(i)) for b, v in enumerate(volumes) for i in np.flatnonzero(v.slice_index == point.slice)]
            height, width = volumes[where[0][0]].voxels.shape[1:] if where else (0, 0)
            if not (where and -0.5 <= point.col <= width - 0.5 and -0.5 <= point.row <= height - 0.5):
                shapes = ", ".join(
                    f"{len(v.slice_index)} slices of {v.voxels.shape[1:]} (rows, columns)" for v in volumes
                )
                raise ValueError(
                    f"keypoints.csv: {point.structure} at slice {point.slice}, col {point.col}, row {point.row} lies "
                    f"outside of {volumes[0].path}, which has {shapes}; correct the row"
                )
            block, index = where[0]
            placed[block][index, self.keypoints.index(point.structure)] = volumes[block].to_pixel(point.col, point.row)
        return placed

    def _choose_slices(self, record: CaseSlices) -> CaseSlices:
        num_slices = len(record.slice_index)
        if self.slices == "all":
            return record
        if isinstance(self.slices, int):
            start = max(0, (num_slices - self.slices) // 2)
            keep = np.arange(start, min(num_slices, start + self.slices))
        else:
            keep = np.flatnonzero(record.mask.any(axis=(1, 2)) | np.isfinite(record.keypoints).any(axis=(1, 2)))
        return CaseSlices(
            image=record.image[:, keep],
            mask=record.mask[keep],
            labelled=record.labelled,
            keypoints=record.keypoints[keep],
            has_mask=record.has_mask,
            spacing_mm=record.spacing_mm,
            slice_index=record.slice_index[keep],
            level=record.level,
            digests=record.digests,
        )


def _digest(volume: Volume) -> str:
    """Hash of the values, whatever type and file they were stored in."""
    return blake2b(np.ascontiguousarray(volume.voxels, np.float32).tobytes(), digest_size=16).hexdigest()
