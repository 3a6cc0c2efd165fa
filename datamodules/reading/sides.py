"""Whether left and right are where the label files' names say, judged before anything is trained."""

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from datamodules.cohort import Cohort
from datamodules.store.slice_store import SliceStore

log = logging.getLogger(__name__)

SHOWN_CASES = 5  # that a sentence names


def check_sides(store: SliceStore, cohort: Cohort) -> None:
    """Refuses label files in which the patient's left and right are swapped.

    In an axial slice as radiologists look at it, the patient's left is on the image's right. A pair of structures is
    swapped in a case if its left one lies left of its right one on more than half of the slices that show both.

    Args:
        store: All slices of the cohort.
        cohort: Its `sides` may insist on the names; then the swapped cases are said and taken as named.

    Raises:
        ValueError: If a pair is swapped in a case and the cohort does not insist; counts slices and cases.
    """
    anatomy = store.anatomy
    rows = np.flatnonzero((store.table["has_mask"] & (store.table["domain"] == "")).to_numpy(bool))
    pairs = [(left, right) for left, right in anatomy.mirror if left in anatomy.structures]
    if anatomy.view != "axial" or not pairs or not len(rows):
        return
    columns = np.stack([_mean_columns(store.mask[row], anatomy.num_classes) for row in rows])
    cases = store.table["case"].to_numpy()[rows]
    told = [text for pair in pairs if (text := _swapped(pair, columns, anatomy.structures, cases))]
    if not told:
        return
    found = f"cohort {cohort.name}: left and right are swapped in the label files: {'; '.join(told)}"
    if cohort.sides == "as_named":
        log.warning("%s; taken as named, as cohort.sides=as_named says", found)
        return
    raise ValueError(
        f"{found}. The image's header says where left is, so either it or the cohort's `labels` (which id is which "
        "side) is wrong: correct it; or insist on the names with cohort.sides=as_named"
    )


def _swapped(
    pair: Sequence[str],
    columns: Float64[np.ndarray, "s c"],
    structures: Sequence[str],
    cases: np.ndarray,
) -> str:
    """On how many slices of which cases a pair is swapped; "" if it is in no case."""
    left, right = (columns[:, list(structures).index(name) + 1] for name in pair)
    judged: Bool[np.ndarray, " s"] = np.isfinite(left) & np.isfinite(right)
    wrong = judged & (left < right)
    names = [name for name in dict.fromkeys(cases) if wrong[cases == name].sum() > judged[cases == name].sum() / 2]
    if not names:
        return ""
    of_them = np.isin(cases, names)
    listed = ", ".join(names[:SHOWN_CASES]) + (", ..." if len(names) > SHOWN_CASES else "")
    return (
        f"{pair[0]} and {pair[1]} on {int((wrong & of_them).sum())} of {int((judged & of_them).sum())} slices of "
        f"{len(names)} of {len(set(cases[judged]))} cases ({listed})"
    )


def _mean_columns(mask: UInt8[np.ndarray, "h w"], num_classes: int) -> Float64[np.ndarray, " c"]:
    """Mean column of every class; NaN where it is absent."""
    width = mask.shape[1]
    places = mask.astype(np.int64) * width + np.arange(width)
    counts = np.bincount(places.ravel(), minlength=num_classes * width).reshape(num_classes, width)
    total = counts.sum(axis=1)
    return np.where(total > 0, counts @ np.arange(width) / np.maximum(total, 1), np.nan)
