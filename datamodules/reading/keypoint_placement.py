"""Key points on the slices of a case: as keypoints.csv states them, and else the centroids of what was drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from datamodules.anatomy import View
from datamodules.reading.case_list import Case, KeyPoint
from datamodules.reading.keypoint_checks import check_against_mask, check_upright, is_on, other_reading
from datamodules.reading.volume import Volume


@dataclass(frozen=True, kw_only=True)
class PlacedKeypoints:
    """Key points of the slices of one volume, in canonical orientation.

    Attributes:
        xy: (x, y) in pixels; NaN where there is none.
        clicked: Which of them keypoints.csv states. The others are centroids, and are known because of the mask alone.
    """

    xy: Float32[np.ndarray, "d k 2"]
    clicked: Bool[np.ndarray, "d k"]


@dataclass(frozen=True, kw_only=True)
class KeypointPlacer:
    """Places the key points of a cohort's cases.

    Attributes:
        view: View of the anatomy.
        keypoints: Names of the key points in order.
        structures: Names of the structures in class order; a key point of the same name is the centre of one.
    """

    view: View
    keypoints: Sequence[str]
    structures: Sequence[str]

    def place(
        self, case: Case, volumes: Sequence[Volume], masks: Mapping[int, UInt8[np.ndarray, "d H W"]]
    ) -> list[PlacedKeypoints]:
        """Places the key points of a case, a record per volume.

        Args:
            case: Its rows of keypoints.csv.
            volumes: One, or one per block of a DICOM series.
            masks: Class indices of the volumes that have a label file, by their number.

        Raises:
            ValueError: If a key point lies outside of the image or in another structure, or key points are swapped or
                in millimetres; names the structure and the remedy.
        """
        points: list[list[KeyPoint]] = [[] for _ in volumes]
        for point in case.keypoints:
            points[_block_of(point, volumes)].append(point)
        placed = []
        for block, volume in enumerate(volumes):
            mask = masks.get(block)
            record = self._stated(volume, points[block])
            if mask is None:
                check_upright(self.view, volume, record.xy, self.keypoints)
            else:
                check_against_mask(volume, mask, points[block], self.structures)
                record = self._with_centroids(record, mask)
            placed.append(record)
        return placed

    def _stated(self, volume: Volume, points: Sequence[KeyPoint]) -> PlacedKeypoints:
        xy = np.full((len(volume.slice_index), len(self.keypoints), 2), np.nan, np.float32)
        for point in points:
            index = int(np.flatnonzero(volume.slice_index == point.slice)[0])
            xy[index, self.keypoints.index(point.structure)] = volume.to_pixel(point.col, point.row)
        return PlacedKeypoints(xy=xy, clicked=np.isfinite(xy[..., 0]))

    def _with_centroids(self, stated: PlacedKeypoints, mask: UInt8[np.ndarray, "d H W"]) -> PlacedKeypoints:
        """Adds the centroid of every drawn structure that has a key point by its name but no row on that slice."""
        xy = stated.xy.copy()
        for number, name in enumerate(self.keypoints):
            if name not in self.structures:
                continue
            drawn = mask == self.structures.index(name) + 1
            for index in np.flatnonzero(drawn.any(axis=(1, 2)) & ~stated.clicked[:, number]):
                rows, columns = np.nonzero(drawn[index])
                xy[index, number] = columns.mean(), rows.mean()
        return PlacedKeypoints(xy=xy, clicked=stated.clicked)


def _block_of(point: KeyPoint, volumes: Sequence[Volume]) -> int:
    """Number of the volume that a key point lies on."""
    block = next((number for number, volume in enumerate(volumes) if point.slice in volume.slice_index), None)
    if block is not None and is_on(volumes[block], point.col, point.row):
        return block
    shapes = ", ".join(f"{len(v.slice_index)} slices of {v.voxels.shape[1:]} (rows, columns)" for v in volumes)
    reading = "" if block is None else other_reading(volumes[block], point)
    raise ValueError(
        f"keypoints.csv: {point.structure} at slice {point.slice}, col {point.col}, row {point.row} lies outside of "
        f"{volumes[0].path}, which has {shapes}; {reading or 'correct the row'}"
    )
