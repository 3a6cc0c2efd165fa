"""Key points of a cohort: where they come from, on which slices they count, and the mistakes that are caught."""

import numpy as np
import pytest

from datamodules.store.slice_store import build_store
from tests.made.scans import write_volume
from tests.made.spines import (
    CENTRES,
    CLICKED_SLICE,
    GRID,
    PIXEL_MM,
    SAGITTAL,
    VERTEBRAE,
    edit_keypoints,
    spine_cohort,
    spine_mask,
    write_spines,
)

PLACES = np.array(list(CENTRES.values()))


@pytest.fixture
def root(tmp_path):
    return write_spines(tmp_path / "spines", masked=["anna", "bert"], weak=["carl"])


def records(root, **changes):
    cohort = spine_cohort(root, **changes)
    return {case.case: cohort.read(case)[0] for case in cohort.cases}


def stored(root, tmp_path, **changes):
    return build_store(spine_cohort(root, **changes), grid=GRID, cache=tmp_path / "cache", num_workers=0)


def test_a_drawn_structure_without_a_row_has_its_centroid_and_a_row_counts_on_its_slice_alone(root):
    edit_keypoints(root, "anna,L2,1,7.5,11.0", "anna,L2,1,8.25,10.5")
    edit_keypoints(root, "anna,L3,1,7.5,18.0\n", "")
    found = records(root)
    drawn = found["anna"]
    np.testing.assert_allclose(drawn.keypoints[[0, 2]], [PLACES] * 2)
    np.testing.assert_allclose(drawn.keypoints[CLICKED_SLICE], [PLACES[0], [8.25, 10.5], PLACES[2]])
    assert drawn.clicked.tolist() == [[False] * 3, [True, True, False], [False] * 3]
    weak = found["carl"]
    np.testing.assert_allclose(weak.keypoints[CLICKED_SLICE], PLACES)
    assert np.isnan(weak.keypoints[[0, 2]]).all()


def test_a_structure_that_nobody_drew_has_no_centroid(root):
    drawn = records(root, labelled=["L1", "L3"])["anna"]
    assert np.isfinite(drawn.keypoints[0, :, 0]).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("slices", "kept"),
    [
        ("middle", {"anna": [1], "bert": [0], "carl": [1]}),
        ("labelled", {"anna": [0, 1, 2], "bert": [0, 1], "carl": [1]}),
        (1, {"anna": [1], "bert": [1], "carl": [1]}),
        ("all", {"anna": [0, 1, 2], "bert": [0, 1, 2], "carl": [0, 1, 2]}),
    ],
)
def test_slices_are_the_mid_sagittal_one_or_all_with_a_vertebra(tmp_path, slices, kept):
    """bert has no rows in keypoints.csv, and nothing drawn on the last slice."""
    root = write_spines(tmp_path, masked=["anna", "bert"], weak=["carl"], clicked=["anna", "carl"])
    mask = spine_mask()
    mask[2] = 0
    write_volume(root / "labels/bert.nii.gz", mask, spacing=(PIXEL_MM, PIXEL_MM, 4.0), direction=SAGITTAL)
    assert {case: record.slice_index.tolist() for case, record in records(root, slices=slices).items()} == kept


def test_without_a_mask_the_slice_with_key_points_comes_to_the_central_ones(root):
    edit_keypoints(root, "carl,L1,1", "carl,L1,2")
    edit_keypoints(root, "carl,L2,1", "carl,L2,2")
    found = records(root, slices=1)
    assert found["carl"].slice_index.tolist() == [1, 2]
    assert found["anna"].slice_index.tolist() == [1]


def swap(line: str) -> str:
    case, structure, number, col, row = line.split(",")
    return ",".join((case, structure, number, row, col))


def in_millimetres(line: str) -> str:
    case, structure, number, col, row = line.split(",")
    return ",".join((case, structure, number, str(float(col) * 1.6), str(float(row) * 1.6)))


@pytest.mark.parametrize(
    ("change", "case", "words"),
    [
        (swap, "anna", r"case 'anna'.*L1 at slice 1, col 4\.0, row 7\.5.*with col and row swapped.*exchange"),
        (swap, "carl", r"case 'carl'.*L3 at slice 1, col 18\.0.* outside of .*carl.*with col and row swapped"),
        (in_millimetres, "anna", r"case 'anna'.*L\d at slice 1, col .*millimetres it would fit: divide"),
        (in_millimetres, "carl", r"case 'carl'.*L3 at slice 1.* outside of .*millimetres"),
    ],
    ids=["swapped, drawn", "swapped, outside", "millimetres, drawn", "millimetres, outside"],
)
def test_other_readings_of_two_columns_are_named(root, change, case, words):
    edit_keypoints(root, "anna,L3,1,7.5,18.0\n", "")  # either reading would take it out of the image
    lines = (root / "keypoints.csv").read_text().splitlines()
    changed = [change(line) if line.startswith(f"{case},") else line for line in lines]
    (root / "keypoints.csv").write_text("\n".join(changed) + "\n")
    with pytest.raises(ValueError, match=words):
        records(root)


def test_a_spine_that_nobody_drew_must_run_down_the_image(root):
    for name, (column, row) in CENTRES.items():
        edit_keypoints(root, f"carl,{name},1,{column},{row}", f"carl,{name},1,{row / 2},{column}")
    with pytest.raises(
        ValueError, match=r"case 'carl'.*L1 to L3 at slice 1 .*col and row seem to be swapped; exchange"
    ):
        records(root)


def test_a_vertebra_of_another_name_is_a_contradiction_and_an_imprecise_click_is_none(root):
    edit_keypoints(root, "anna,L2,1,7.5,11.0", "anna,L2,1,7.5,14.2")
    records(root)
    edit_keypoints(root, "anna,L2,1,7.5,14.2", "anna,L2,1,7.5,18.0")
    with pytest.raises(ValueError, match=r"case 'anna'.*L2 at slice 1.* lies in L3 of the label file; correct"):
        records(root)


def test_spines_without_masks_that_are_too_large_by_a_pixel_are_in_millimetres(tmp_path):
    """Small enough to lie in the image all the same: nothing but the size of the others tells."""
    root = write_spines(tmp_path / "spines", masked=["anna", "bert"], weak=["carl"], pixel_mm=0.7)
    for name, (column, row) in CENTRES.items():
        edit_keypoints(root, f"carl,{name},1,{column},{row}", f"carl,{name},1,{column * 0.7},{row * 0.7}")
    with pytest.raises(ValueError, match=r"case 'carl': keypoints\.csv: L1 to L3 lie 0\.70 times .*0\.70 mm.*divide"):
        stored(root, tmp_path)
    assert not list((tmp_path / "cache").glob("*/")), "nothing half-made is left"


def test_missing_columns_are_named(root):
    (root / "keypoints.csv").write_text("case,structure,x,y\nanna,L1,4,2\n")
    with pytest.raises(
        ValueError, match=r"keypoints\.csv: lacks the column slice, col, row; it has case, structure, x"
    ):
        spine_cohort(root)


def test_the_store_says_which_key_points_were_clicked(root, tmp_path):
    store = stored(root, tmp_path)
    assert store.clicked.shape == (9, len(VERTEBRAE))
    assert np.flatnonzero(store.clicked.any(axis=1)).tolist() == [1, 4, 7]
    np.testing.assert_allclose(store.keypoints[:6], np.broadcast_to(PLACES, (6, 3, 2)), atol=1e-4)
    assert store.table["has_keypoints"].tolist() == [True] * 6 + [False, True, False]
    assert set(store.table["domain"]) == {""}
