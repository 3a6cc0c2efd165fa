"""Arms of poses: test slices turned and moved in the network's picture, to see whether it minds."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from datamodules.anatomy import Anatomy, View
from datamodules.slices import SliceDataModule
from lightning_modules.evaluation.native_grid import NativeGrid
from lightning_modules.evaluation.pose import Pose
from lightning_modules.segmentation import SegmentationModule

logger = logging.getLogger(__name__)

SETTINGS = ("rotate_degrees", "shift_mm", "toward")
# (row, column) of a step toward each side of the body, on the canonical slices of each view.
STEPS: Mapping[View, Mapping[str, tuple[int, int]]] = {
    "sagittal": {"head": (-1, 0), "feet": (1, 0), "front": (0, -1), "back": (0, 1)},
    "axial": {"front": (-1, 0), "back": (1, 0), "right": (0, -1), "left": (0, 1)},
}


def pose_of_arm(name: str, settings: Mapping[str, Any], anatomy: Anatomy) -> Pose:
    """The pose that the settings of an arm describe.

    Args:
        name: Of the arm.
        settings: `rotate_degrees` (clockwise), or `shift_mm` and the side of the body `toward` which; or all three.
        anatomy: Its view says which sides lie in the plane of a slice.

    Raises:
        ValueError: If the settings are unknown, do nothing, or name a side that the view does not have.
    """
    given = {key: settings.get(key) for key in SETTINGS}
    turn, shift, side = given["rotate_degrees"] or 0, given["shift_mm"] or 0, given["toward"]
    steps = STEPS[anatomy.view]
    if set(settings) - set(SETTINGS) or not (turn or shift) or bool(shift) != (side is not None):
        raise ValueError(
            f"arms.{name} is {dict(settings)}, expected rotate_degrees (clockwise), or shift_mm and toward "
            f"({', '.join(steps)})"
        )
    if side is not None and side not in steps:
        raise ValueError(
            f"arms.{name}: toward is {side!r}, but {anatomy.view} slices can be moved toward {', '.join(steps)}; leave "
            f"the arm out (~arms.{name})"
        )
    row, column = steps[side] if side is not None else (0, 0)
    return Pose(rotate_degrees=float(turn), shift_mm=(float(row * shift), float(column * shift)))


@contextmanager
def lying_so(
    module: SegmentationModule, data: SliceDataModule, name: str, settings: Mapping[str, Any]
) -> Iterator[None]:
    """Tests with the patient turned or moved, and as scanned again afterwards."""
    pose = pose_of_arm(name, settings, data.anatomy)
    (cut, whole), (cut_before, _) = count_cut(data, pose), count_cut(data, None)
    logger.info(
        "arm %s: of %d structures on the test slices, %d lie partly outside of the network's field (as scanned: %d); "
        "what lies outside is missed",
        *(name, whole, cut, cut_before),
    )
    try:
        module.pose = pose
        yield
    finally:
        module.pose = None


def count_cut(data: SliceDataModule, pose: Pose | None) -> tuple[int, int]:
    """How many structures on the test slices the network does not see as a whole, and how many there are."""
    cut = whole = 0
    for index in data.indices["test"]:
        native = data.store.native(int(index))
        scan = NativeGrid(grid=data.store.grid, size=native.mask.shape, spacing_mm=native.spacing_mm, pose=pose)
        seen = scan.field_of_view.numpy()
        whole += len(set(np.unique(native.mask)) - {0})
        cut += len(set(np.unique(native.mask[~seen])) - {0})
    return cut, whole
