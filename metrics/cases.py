"""Every number of one slice: the rows of `cases.csv`."""

import re
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Integer

from metrics.boxes import box_iou
from metrics.overlap import count_overlap
from metrics.surface import surface_scores

Status = Literal["scored", "missed", "false_alarm", "absent", "unlabelled"]
Row = dict[str, str | int | float | bool]

# Truth and prediction both present; truth alone; prediction alone; neither; not drawn by the annotator of this case.
STATUSES: tuple[Status, ...] = ("scored", "missed", "false_alarm", "absent", "unlabelled")
IDENTITY_COLUMNS = ("case", "patient", "level", "slice")
SCORE_COLUMNS = (
    *("structure", "status", "dice", "iou", "precision", "recall", "box_iou", "detected"),
    *("hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm", "tp", "fp", "fn"),
    *("area_true_mm2", "area_pred_mm2", "csa_error_percent", "mask_box_iou"),
)
# What shows how a network came to its mask; NaN for a network that has no such part.
MECHANISM_COLUMNS = ("preliminary_dice", "preliminary_ceiling_dice", "saliency_share", "area_share")
# What makes a case hard, as the cohort says; blank where it does not.
FACTOR_COLUMNS = ("site", "fat_fraction", "fascia_contrast", "quadratus_lumborum", "snr")
CASE_COLUMNS = (*IDENTITY_COLUMNS, *SCORE_COLUMNS, *MECHANISM_COLUMNS, *FACTOR_COLUMNS)
DETECTION_IOU = 0.5
# Columns that are in millimetres, count within some of them, or compare an area to a limit in them.
_MILLIMETRES = re.compile(r"mm2?(_|$)|^area_threshold$")


def score_slice(
    *,
    true_mask: Integer[np.ndarray, "h w"],
    predicted_mask: Integer[np.ndarray, "h w"],
    structures: Sequence[str],
    labelled: Bool[np.ndarray, " c"],
    spacing_mm: tuple[float, float],
    true_boxes: Float[np.ndarray, "n 4"],
    mask_boxes: Float[np.ndarray, "n 4"],
    network_boxes: Float[np.ndarray, "n 4"] | None,
) -> list[Row]:
    """Scores every structure of one slice on its native grid; one row per structure with the keys SCORE_COLUMNS.

    What a row holds follows from its status:

    * `scored`: everything is defined.
    * `missed`: overlaps, boxes and NSD are 0, distances the diagonal of the image, the area is 100 % off; precision is
      NaN.
    * `false_alarm`: overlaps, boxes and NSD are 0; recall, distances and `csa_error_percent` are NaN.
    * `absent`: counts and areas are 0, every score is NaN.
    * `unlabelled`: everything is NaN, for nobody knows the truth.

    `box_iou` is that of the box the network itself reports, or of the tight box of its mask where it reports none
    (`network_boxes` None); `mask_box_iou` is always the latter. A network's box counts only where its mask has a pixel:
    BSN gives a box for every organ whether it is there or not. A box of NaN where the mask has pixels is IoU 0.

    Args:
        true_mask: Class index of every pixel from the untouched label file, 0 is background.
        predicted_mask: Class index by argmax, after unlabelled classes were merged with background.
        structures: Names of the classes 1..n.
        labelled: Which classes the annotator drew; column 0 is background.
        spacing_mm: Size of a pixel, (row, column).
        true_boxes: (cx, cy, w, h) of each structure in `true_mask`, NaN where absent.
        mask_boxes: The same of `predicted_mask`.
        network_boxes: Boxes the network reports, in the frame of the other two; None if it reports none.

    Raises:
        ValueError: If a spacing is not a positive number.
    """
    num_classes = len(structures) + 1
    assert len(labelled) == num_classes, f"{len(labelled)} labelled columns for {num_classes} classes"
    for name, mask, boxes in (("true", true_mask, true_boxes), ("predicted", predicted_mask, mask_boxes)):
        _check_mask(name, mask, boxes, labelled)
    own_ious = box_iou(true_boxes, mask_boxes if network_boxes is None else network_boxes)
    mask_ious = box_iou(true_boxes, mask_boxes)
    rows = []
    for index, structure in enumerate(structures):
        row: Row = dict.fromkeys(SCORE_COLUMNS, nan) | {"structure": structure, "status": "unlabelled"}
        if labelled[index + 1]:
            true, predicted = true_mask == index + 1, predicted_mask == index + 1
            ious = {"box_iou": float(own_ious[index]), "mask_box_iou": float(mask_ious[index])}
            row |= _score_structure(true, predicted, spacing_mm, box_ious=ious)
        rows.append(row)
    return rows


def without_millimetres(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of any table with NaN in every column that means millimetres: the spacing of their images is nominal.

    Shares, counts of pixels, ratios and angles do not depend on how large a square pixel is, and stay.
    """
    return [{name: nan if _MILLIMETRES.search(name) else value for name, value in row.items()} for row in rows]


def _score_structure(
    true: Bool[np.ndarray, "h w"],
    predicted: Bool[np.ndarray, "h w"],
    spacing_mm: tuple[float, float],
    *,
    box_ious: Mapping[str, float],
) -> Row:
    """Everything in a row but the name of the structure."""
    overlap = count_overlap(true, predicted)
    status = _status(overlap.tp + overlap.fn, overlap.tp + overlap.fp)
    surface = surface_scores(true, predicted, spacing_mm)
    if status == "scored":
        boxes = {name: 0.0 if np.isnan(iou) else iou for name, iou in box_ious.items()}
    else:
        boxes = dict.fromkeys(box_ious, nan if status == "absent" else 0.0)
    pixel_mm2 = spacing_mm[0] * spacing_mm[1]
    area_true, area_pred = (overlap.tp + overlap.fn) * pixel_mm2, (overlap.tp + overlap.fp) * pixel_mm2
    return {
        "status": status,
        **{name: getattr(overlap, name) for name in ("dice", "iou", "precision", "recall", "tp", "fp", "fn")},
        **boxes,
        "detected": nan if status == "absent" else boxes["box_iou"] >= DETECTION_IOU,
        **{name: getattr(surface, name) for name in ("hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm")},
        "area_true_mm2": area_true,
        "area_pred_mm2": area_pred,
        "csa_error_percent": 100 * abs(area_pred - area_true) / area_true if area_true else nan,
    }


def _status(num_true: int, num_predicted: int) -> Status:
    if num_true:
        return "scored" if num_predicted else "missed"
    return "false_alarm" if num_predicted else "absent"


def _check_mask(
    name: str, mask: Integer[np.ndarray, "h w"], boxes: Float[np.ndarray, "n 4"], labelled: Bool[np.ndarray, " c"]
) -> None:
    """Catches a caller that forgot to merge unlabelled classes, or took the boxes from another mask."""
    present = np.bincount(mask.ravel(), minlength=len(labelled)) > 0
    assert len(present) == len(labelled), f"{name} mask has class {len(present) - 1} of {len(labelled)} classes"
    assert not (present & ~labelled)[1:].any(), f"{name} mask has pixels of an unlabelled class"
    assert (present[1:] == ~np.isnan(boxes).any(axis=1)).all(), f"{name} boxes are not those of the {name} mask"
