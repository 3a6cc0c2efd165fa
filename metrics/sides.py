"""Whether left and right are where they belong."""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Literal

import numpy as np
from jaxtyping import Integer

SideCheck = Literal["correct", "swapped", "unknown"]
SIDES = ("left", "right")


def check_sides(
    mask: Integer[np.ndarray, "h w"],
    muscles: Mapping[str, Mapping[str, Sequence[int]]],
    midline: Sequence[int] = (),
) -> dict[tuple[str, str], SideCheck]:
    """Compares the position of every one-sided muscle with the midline of its slice.

    The slice must lie as radiologists look at it, the patient's right on the image's left; then a left muscle belongs
    to the right of the midline, in larger columns. The midline is the mean column of the midline structures; where none
    is present, it lies halfway between the two sides of the muscles that have both.

    Args:
        mask: Class index of every pixel.
        muscles: Class indices of each side ("left", "right") of each muscle; other sides are not looked at.
        midline: Class indices of structures that lie in the middle, such as the dural sac.

    Returns:
        For each (muscle, side): "correct" if it lies where it belongs, "swapped" if its centre lies beyond the midline,
        "unknown" if it is absent or the midline is.
    """
    columns = {
        (muscle, side): _mean_column(mask, sides[side])
        for muscle, sides in muscles.items()
        for side in SIDES
        if side in sides
    }
    middle = _mean_column(mask, midline)
    if isnan(middle):
        centres = [
            (columns[muscle, "left"] + columns[muscle, "right"]) / 2
            for muscle, sides in muscles.items()
            if {*SIDES} <= {*sides}
        ]
        known = [centre for centre in centres if not isnan(centre)]
        middle = sum(known) / len(known) if known else nan
    return {(muscle, side): _judge(column - middle, side) for (muscle, side), column in columns.items()}


def _judge(offset: float, side: str) -> SideCheck:
    if isnan(offset):
        return "unknown"
    return "correct" if (offset > 0) == (side == "left") else "swapped"


def _mean_column(mask: Integer[np.ndarray, "h w"], classes: Sequence[int]) -> float:
    columns = np.nonzero(np.isin(mask, list(classes)))[1]
    return float(columns.mean()) if len(columns) else nan
