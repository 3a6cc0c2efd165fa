"""A vertebra that was found and given its neighbour's number is told from one that was missed."""

import numpy as np
import pandas as pd
import pytest

from metrics.levels import CONFUSION_COLUMNS, LEVEL_COLUMNS, count_confusion, find_levels, level_table

STRUCTURES = ("L1", "L2", "L3", "L1/2")
SERIES = {"vertebra": ("L1", "L2", "L3"), "disc": ("L1/2",)}
LABELLED = np.ones(5, dtype=bool)


def spine(*labels: int) -> np.ndarray:
    """Bodies of 10 x 6 pixels below each other."""
    mask = np.zeros((14 * len(labels), 10), dtype=np.int64)
    for number, label in enumerate(labels):
        mask[14 * number + 2 : 14 * number + 12, 2:8] = label
    return mask


def levels(predicted, true=None):
    true = spine(1, 2, 3) if true is None else true
    return {
        row["structure"]: row for row in find_levels(count_confusion(true, predicted, STRUCTURES, LABELLED), SERIES)
    }


def test_every_pixel_is_counted_once():
    true, predicted = spine(1, 2, 4), spine(1, 3, 0)
    rows = count_confusion(true, predicted, STRUCTURES, LABELLED)
    assert all(tuple(row) == CONFUSION_COLUMNS for row in rows)
    pairs = {(row["truth"], row["prediction"]): row["pixels"] for row in rows}
    assert pairs == {
        ("background", "background"): true.size - 180,
        ("L1", "L1"): 60,
        ("L2", "L3"): 60,
        ("L1/2", "background"): 60,
    }


@pytest.mark.parametrize(
    ("predicted", "offsets"),
    [
        (spine(1, 2, 3), [0, 0, 0]),
        (spine(2, 3, 0), [1, 1, np.nan]),
        (spine(0, 1, 2), [np.nan, -1, -1]),
        (spine(3, 2, 1), [2, 0, -2]),
        (spine(4, 2, 3), [np.nan, 0, 0]),
        (spine(0, 0, 0), [np.nan] * 3),
    ],
    ids=["right", "one too low", "one too high", "reversed", "called a disc", "nothing"],
)
def test_offsets_are_places_in_the_series(predicted, offsets):
    found = levels(predicted)
    np.testing.assert_array_equal([found[name]["offset"] for name in ("L1", "L2", "L3")], offsets)
    assert all(tuple(row) == LEVEL_COLUMNS for row in found.values())


def test_most_of_a_body_decides_and_a_rim_is_no_find():
    half = spine(1, 2, 3)
    half[2:9, 2:8] = 2  # of L1, seven rows of ten
    assert (levels(half)["L1"]["label"], levels(half)["L1"]["offset"]) == ("L2", 1)
    assert levels(half)["L1"]["share"] == pytest.approx(0.7)
    rim = spine(0, 2, 3)
    rim[11, 2:7] = 2  # five pixels of sixty
    assert (levels(rim)["L1"]["label"], levels(rim)["L1"]["share"]) == ("", 0)
    assert levels(spine(4, 2, 3))["L1"]["label"] == "L1/2", "found, but as something else"


def test_absent_structures_have_no_row_and_slices_stay_apart():
    assert set(levels(spine(1, 2, 3), true=spine(1, 2, 0))) == {"L1", "L2"}
    frames = [
        pd.DataFrame(count_confusion(spine(1, 2, 3), predicted, STRUCTURES, LABELLED)).assign(
            case="a", patient="p", slice=number
        )
        for number, predicted in enumerate([spine(1, 2, 3), spine(2, 3, 0)])
    ]
    table = level_table(pd.concat(frames), SERIES)
    assert list(table.columns) == ["case", "patient", "slice", *LEVEL_COLUMNS]
    assert table.groupby("slice")["offset"].sum().tolist() == [0, 2]
    assert level_table(frames[0].iloc[:0], SERIES).empty


def test_an_unlabelled_class_may_not_be_there():
    with pytest.raises(AssertionError, match="unlabelled"):
        count_confusion(spine(1), spine(2), STRUCTURES, np.array([True, True, False, True, True]))
