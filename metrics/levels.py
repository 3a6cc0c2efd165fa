"""Vertebrae and discs that were found but given the name of a neighbour.

Dice per level hides the cause of an error: a vertebra whose outline is perfect scores 0 if it is numbered one off, and
pulls its neighbours down with it. From which label covers a structure one can tell both apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Integer

from metrics.cases import Row

BACKGROUND = "background"
SLICE = ("case", "patient", "slice")
CONFUSION_COLUMNS = ("truth", "prediction", "pixels")
LEVEL_COLUMNS = ("structure", "label", "share", "offset")
FOUND_SHARE = 0.1  # ours: of its pixels; the rim that a neighbour's mask overlaps is less


def count_confusion(
    true_mask: Integer[np.ndarray, "h w"],
    predicted_mask: Integer[np.ndarray, "h w"],
    structures: Sequence[str],
    labelled: Bool[np.ndarray, " c"],
) -> list[Row]:
    """Pixels of every pair (truth, prediction) of names on a slice, `background` included; pairs without any left out.

    Classes that nobody drew in this case are left out; what they cover counts as background.
    """
    names = (BACKGROUND, *structures)
    num_classes = len(names)
    pairs = np.bincount((true_mask.astype(np.int64) * num_classes + predicted_mask).ravel(), minlength=num_classes**2)
    table = pairs.reshape(num_classes, num_classes)
    assert not table[~labelled].any(), "truth and prediction have no pixel of an unlabelled class"
    assert not table[:, ~labelled].any(), "truth and prediction have no pixel of an unlabelled class"
    return [
        {"truth": names[true], "prediction": names[predicted], "pixels": int(table[true, predicted])}
        for true, predicted in np.argwhere(table)
    ]


def find_levels(confusion: Iterable[Mapping[str, Any]], series: Mapping[str, Sequence[str]]) -> list[Row]:
    """What name each structure of a slice was given; a row per true structure of a series with the keys LEVEL_COLUMNS.

    * `label`: the structure that most of its pixels outside the predicted background carry; "" where it was missed,
      with less than a tenth of its pixels in any structure.
    * `share`: part of its pixels with that label, in 0..1; of a missed one, 0.
    * `offset`: how many places further down its series that label stands: 0 is right, 1 and -1 one level off. NaN where
      it was missed, or the label is of another series (a vertebra called a disc).

    Args:
        confusion: Rows of one slice with the keys CONFUSION_COLUMNS.
        series: Structures that follow each other, by kind; see `Anatomy.series`.
    """
    counts: dict[str, dict[str, int]] = {}
    for row in confusion:
        counts.setdefault(str(row["truth"]), {})[str(row["prediction"])] = int(row["pixels"])
    place = {name: (kind, number) for kind, names in series.items() for number, name in enumerate(names)}
    rows: list[Row] = []
    for structure, (kind, number) in place.items():
        if structure not in counts:
            continue
        found = {name: pixels for name, pixels in counts[structure].items() if name != BACKGROUND}
        whole = sum(counts[structure].values())
        if sum(found.values()) < FOUND_SHARE * whole:
            rows.append({"structure": structure, "label": "", "share": 0.0, "offset": nan})
            continue
        label = max(found, key=lambda name: found[name])
        its_kind, its_number = place.get(label, ("", 0))
        offset = float(its_number - number) if its_kind == kind else nan
        rows.append({"structure": structure, "label": label, "share": found[label] / whole, "offset": offset})
    return rows


def level_table(confusion: pd.DataFrame, series: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """`find_levels` of every slice of a `confusion.csv`: its columns case, patient, slice, and LEVEL_COLUMNS."""
    slices: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in confusion.to_dict("records"):
        slices.setdefault(tuple(row[name] for name in SLICE), []).append({str(name): row[name] for name in row})
    rows = [
        {**dict(zip(SLICE, who, strict=True)), **found}
        for who, pairs in slices.items()
        for found in find_levels(pairs, series)
    ]
    return pd.DataFrame(rows, columns=[*SLICE, *LEVEL_COLUMNS])
