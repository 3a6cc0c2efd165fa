"""The store: built once, named by what it depends on, the same however it is built."""

import json
import logging
import multiprocessing
import os
import shutil

import numpy as np
import pytest

from datamodules.reading.geometry import SliceGrid
from datamodules.store.preparation import z_score
from datamodules.store.slice_store import SliceStore, build_store
from tests.made.scans import SHAPE, random_image, small_anatomy, small_cohort, two_muscles, write_cohort, write_volume

GRID = SliceGrid(size=(10, 14), spacing_mm=0.8, offset_mm=(0.5, -0.25))
ARRAYS = ("image", "mask", "labelled", "keypoints", "clicked")


@pytest.fixture
def root(tmp_path):
    root = write_cohort(tmp_path / "data")
    (root / "keypoints.csv").write_text("case,structure,slice,col,row\nbert,disc,1,8,6\n")
    with (root / "cohort.csv").open("a") as table:
        table.write("carl,carl,images/carl.nii.gz,\n")
    write_volume(root / "images/carl.nii.gz", random_image(9, (2, 11, 9)), spacing=(0.6, 0.6, 4))
    return root


def build(root, cache, num_workers=0, grid=GRID, **options):
    return build_store(small_cohort(root, **options), grid=grid, cache=cache, num_workers=num_workers)


def folders(cache):
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_table_and_arrays(root, tmp_path):
    store = build(root, tmp_path / "cache")
    table = store.table
    assert list(table.columns) == [
        "case", "patient", "domain", "level", "slice", "site", "contrast", "has_mask", "has_keypoints",
        "rows", "columns", "spacing_row_mm", "spacing_column_mm", "native_offset",
    ]  # fmt: skip
    assert list(table["case"]) == ["anna"] * 4 + ["bert"] * 4 + ["carl"] * 2
    assert list(table["slice"]) == [3, 2, 1, 0, 3, 2, 1, 0, 1, 0]
    assert list(table["has_mask"]) == [True] * 8 + [False] * 2
    assert list(table.index[table["has_keypoints"]]) == [6]
    assert set(table["level"]) == {""}
    assert store.image.shape == (10, 1, 10, 14)
    assert (store.image.dtype, store.mask.dtype, store.labelled.dtype) == (np.float32, np.uint8, bool)
    assert store.labelled.all()
    assert np.isfinite(store.keypoints[6]).all()
    assert np.isnan(np.delete(store.keypoints, 6, axis=0)).all()
    assert (store.grid, len(store), store.num_channels) == (GRID, 10, 1)
    assert isinstance(store.image, np.memmap)


def test_slices_are_scaled_then_resampled_and_the_native_ones_untouched(root, tmp_path):
    store = build(root, tmp_path / "cache")
    pixels = random_image(1)[1].astype(np.float64)
    scaled = (pixels - pixels.mean()) / pixels.std()
    native = store.native(6)
    np.testing.assert_allclose(native.image[0], scaled, atol=2e-3)
    np.testing.assert_array_equal(native.mask, two_muscles()[1])
    assert native.spacing_mm == (0.75, 0.5)
    np.testing.assert_allclose(
        store.image[6], GRID.resample_image(scaled[None].astype(np.float32), (0.75, 0.5)), atol=1e-5
    )
    np.testing.assert_array_equal(store.mask[6], GRID.resample_mask(two_muscles()[1], (0.75, 0.5)))
    last = store.native(9)
    assert last.image.shape == (1, 11, 9)
    assert not last.mask.any()
    expected = GRID.to_grid_points(np.array([[8.0, 6.0]]), SHAPE[1:], (0.75, 0.5))
    np.testing.assert_allclose(store.keypoints[6], expected)


def test_an_empty_slice_becomes_zero():
    image = np.ones((1, 2, 3, 3), np.float32)
    image[0, 1, 1, 1] = 5
    scaled = z_score(image)
    assert (scaled[0, 0] == 0).all()
    assert (scaled[0, 1].mean(), scaled[0, 1].std()) == pytest.approx((0, 1), abs=1e-6)


def test_the_second_start_reads_and_builds_nothing(root, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = build(root, cache)
    monkeypatch.setattr("datamodules.store.store_writer.prepare_case", None)
    second = build(root, cache)
    assert (second.folder, second.fingerprint) == (first.folder, first.fingerprint)
    assert first.folder.name == f"small-{first.fingerprint[:16]}"
    assert folders(cache) == [first.folder.name]
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    assert build(moved, cache).folder == first.folder, "the name depends on content, not on place"


@pytest.mark.parametrize("change", ["image", "label", "keypoints", "table", "grid", "option", "anatomy"])
def test_whatever_matters_gives_another_store(root, tmp_path, change):
    cache = tmp_path / "cache"
    first = build(root, cache)
    options = {}
    if change == "image":
        write_volume(root / "images/anna.nii.gz", random_image(77))
    elif change == "label":
        write_volume(root / "labels/anna.nii.gz", np.roll(two_muscles(), 1, axis=1))
    elif change == "keypoints":
        (root / "keypoints.csv").write_text("case,structure,slice,col,row\nbert,disc,1,8,5\n")
    elif change == "table":
        text = (root / "cohort.csv").read_text().replace("anna,anna", "anna,annabel")
        (root / "cohort.csv").write_text(text)
    elif change == "grid":
        options = {"grid": SliceGrid(size=(10, 14), spacing_mm=0.8)}
    elif change == "option":
        options = {"slices": 2}
    else:
        options = {"anatomy": small_anatomy(structures=["muscle_right", "muscle_left"])}
    second = build(root, cache, **options)
    assert second.fingerprint != first.fingerprint
    assert len(folders(cache)) == 2


@pytest.mark.slow
def test_several_processes_give_the_same_store(root, tmp_path, monkeypatch):
    monkeypatch.setattr("datamodules.store.store_writer.WORTH_PROCESSES_S", 0)
    alone, together = build(root, tmp_path / "a"), build(root, tmp_path / "b", num_workers=2)
    assert alone.fingerprint == together.fingerprint
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(alone, name), getattr(together, name))
    assert (alone.folder / "table.csv").read_text() == (together.folder / "table.csv").read_text()


def test_a_few_small_cases_start_no_process(root, tmp_path, monkeypatch):
    monkeypatch.setattr("datamodules.store.store_writer.ProcessPoolExecutor", None)
    assert len(build(root, tmp_path / "cache", num_workers=2)) == len(build(root, tmp_path / "alone"))


def test_an_error_in_a_process_arrives_and_leaves_nothing(root, tmp_path, monkeypatch):
    monkeypatch.setattr("datamodules.store.store_writer.WORTH_PROCESSES_S", 0)
    write_volume(root / "labels/bert.nii.gz", two_muscles() * 5)
    with pytest.raises(
        ValueError, match=r"cohort small, case 'bert': .*bert\.nii\.gz: holds the unknown label id 5, 10"
    ):
        build(root, tmp_path / "cache", num_workers=2)
    assert folders(tmp_path / "cache") == []


def test_a_half_written_folder_is_no_store(root, tmp_path):
    cache = tmp_path / "cache"
    folder = build(root, cache).folder
    whole = np.array(SliceStore(folder, small_anatomy()).image)
    (folder / "info.json").unlink()
    (folder / "image.npy").write_bytes(b"half")
    np.testing.assert_array_equal(build(root, cache).image, whole)
    (folder / "image.npy").write_bytes((folder / "image.npy").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"image\.npy: the prepared data are damaged .*delete .*built anew"):
        build(root, cache)


def build_at_once(root, cache, barrier, results):
    cohort = small_cohort(root)
    barrier.wait()
    store = build_store(cohort, grid=GRID, cache=cache, num_workers=0)
    results.put((str(store.folder), float(store.image.sum()), len(store)))


@pytest.mark.slow
def test_two_processes_at_once_both_get_a_good_store(root, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results, cache = context.Barrier(2), context.Queue(), tmp_path / "cache"
    workers = [context.Process(target=build_at_once, args=(root, cache, barrier, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    first, second = results.get(timeout=60), results.get(timeout=60)
    for worker in workers:
        worker.join()
    assert first == second
    assert len(folders(cache)) == 1, "the slower one left nothing behind"


def test_no_slice_left_is_an_error(root, tmp_path):
    (root / "keypoints.csv").unlink()
    (root / "cohort.csv").write_text("case,patient,image\ncarl,carl,images/carl.nii.gz\n")
    with pytest.raises(ValueError, match="no slice is left with slices='labelled'; choose 'all'"):
        build(root, tmp_path / "cache", slices="labelled")


def test_cases_without_slices_leave_no_gap(root, tmp_path):
    """anna has a mask on three slices, bert too (one with a key point), carl has neither."""
    store = build(root, tmp_path / "cache", slices="labelled")
    assert list(store.table["case"]) == ["anna"] * 3 + ["bert"] * 3
    for index, (seed, stored) in enumerate([(0, 2), (0, 1), (0, 0), (1, 2), (1, 1), (1, 0)]):
        pixels = random_image(seed)[stored].astype(np.float32)
        np.testing.assert_allclose(store.native(index).image, z_score(pixels[None, None])[0], atol=2e-3)
    assert store.table["has_mask"].dtype == bool


def test_what_a_killed_process_left_is_removed_after_a_day(root, tmp_path):
    old, new = tmp_path / "cache" / ".building-small-old", tmp_path / "cache" / ".building-small-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "image.npy").write_bytes(b"half")
    for path in (old / "image.npy", old):
        os.utime(path, (0, 0))
    build(root, tmp_path / "cache")
    assert not old.exists()
    assert new.exists()


def test_file_hashes_are_remembered(root, tmp_path, caplog):
    cache = tmp_path / "cache"
    build(root, cache)
    memory = cache / "file_hashes.json"
    assert len(json.loads(memory.read_text())) == 5
    memory.write_text("{half")
    with caplog.at_level(logging.DEBUG):
        build(root, cache)
    assert "no usable file hashes" in caplog.text
    assert len(json.loads(memory.read_text())) == 5
