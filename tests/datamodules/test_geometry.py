"""The network's grid, and the canonical orientation of every way to store a volume."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from datamodules.reading.geometry import SliceGrid
from datamodules.reading.image_file import ImageFile, read_image_file
from datamodules.reading.volume import CANONICAL, DIRECTIONS, canonical_volume, grid_differences
from tests.made.scans import write_volume

few = settings(deadline=None, max_examples=30)


def ramps(shape, spacing_mm):
    """Two channels whose values are the distance from the centre in mm, downwards and to the right."""
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in shape)
    return np.stack(np.meshgrid(rows * spacing_mm[0], columns * spacing_mm[1], indexing="ij")).astype(np.float32)


def test_same_grid_changes_nothing():
    image = np.random.default_rng(0).normal(size=(2, 9, 12)).astype(np.float32)
    mask = np.random.default_rng(1).integers(0, 4, (9, 12)).astype(np.uint8)
    grid = SliceGrid(size=(9, 12), spacing_mm=0.8)
    np.testing.assert_allclose(grid.resample_image(image, (0.8, 0.8)), image, atol=1e-6)
    np.testing.assert_array_equal(grid.resample_mask(mask, (0.8, 0.8)), mask)


@few
@given(
    st.integers(20, 40),
    st.integers(20, 40),
    st.floats(0.4, 1.5),
    st.floats(0.4, 1.5),
    st.floats(0.3, 3),
    st.floats(-3, 3),
    st.floats(-3, 3),
)
def test_every_pixel_shows_its_place(height, width, row_mm, column_mm, spacing_mm, down_mm, right_mm):
    """The formula of SliceGrid, for rows and columns of different spacing, growing or shrinking pixels, an offset."""
    native_mm = (row_mm, column_mm)
    grid = SliceGrid(size=(6, 5), spacing_mm=spacing_mm, offset_mm=(down_mm, right_mm))
    found = grid.resample_image(ramps((height, width), native_mm), native_mm)
    expected = ramps((6, 5), (spacing_mm, spacing_mm)) + np.array([down_mm, right_mm])[:, None, None]
    # Near the edge of the image the filter has only one side.
    margin = 4 * max(spacing_mm, *native_mm)
    half = np.array([height * row_mm, width * column_mm])[:, None, None] / 2 - margin
    inner = (np.abs(expected) < half).all(axis=0)
    np.testing.assert_allclose(found[:, inner], expected[:, inner], atol=2e-3)
    pixels = np.array([[width - 3.0, 4.0], [width / 2, height / 3]])
    moved = grid.to_grid_points(pixels, (height, width), native_mm)
    for (x, y), (u, v) in zip(pixels, moved, strict=True):
        if np.isfinite(u):
            assert (u - 2) * spacing_mm + right_mm == pytest.approx((x - (width - 1) / 2) * column_mm, abs=1e-3)
            assert (v - 2.5) * spacing_mm + down_mm == pytest.approx((y - (height - 1) / 2) * row_mm, abs=1e-3)


def test_points_follow_the_image():
    """A bright pixel is found where its point goes; rows and columns have different spacing."""
    image = np.zeros((1, 41, 61), np.float32)
    image[0, 9, 40] = 1
    grid = SliceGrid(size=(81, 81), spacing_mm=0.5, offset_mm=(-5, 3))
    ((x, y),) = grid.to_grid_points(np.array([[40.0, 9.0]]), (41, 61), (1.0, 0.5))
    found = grid.resample_image(image, (1.0, 0.5))[0]
    assert np.unravel_index(found.argmax(), found.shape) == (round(float(y)), round(float(x)))


def test_outside_is_air_background_and_nan():
    image = np.full((1, 10, 10), 5, np.float32)
    image[0, 5, 5] = -2
    mask = np.ones((10, 10), np.uint8)
    grid = SliceGrid(size=(30, 30), spacing_mm=1.0)
    assert (grid.resample_image(image, (1.0, 1.0))[0, :9] == -2).all()
    resampled = grid.resample_mask(mask, (1.0, 1.0))
    assert resampled.sum() == 100
    assert resampled[10:20, 10:20].all()
    small = SliceGrid(size=(4, 4), spacing_mm=1.0)
    inside, outside = small.to_grid_points(np.array([[4.5, 4.5], [0.0, 4.5]]), (10, 10), (1.0, 1.0))
    np.testing.assert_allclose(inside, [1.5, 1.5])
    assert np.isnan(outside).all()


def test_masks_do_not_alias_and_no_class_is_invented():
    noise = (np.random.default_rng(0).random((80, 80)) < 0.3).astype(np.uint8)
    grid = SliceGrid(size=(16, 16), spacing_mm=5.0)
    assert grid.resample_mask(noise, (1.0, 1.0)).mean() < 0.05, "nearest neighbour would keep 30 %"
    halves = np.full((80, 80), 1, np.uint8)
    halves[:, 37:] = 9
    assert set(np.unique(grid.resample_mask(halves, (1.0, 1.0)))) == {1, 9}


@pytest.mark.parametrize("spacing_mm", [2.0, 2.5, 0.8])
def test_masks_keep_their_area(spacing_mm):
    y, x = np.mgrid[:60, :60]
    grid = SliceGrid(size=(80, 80), spacing_mm=spacing_mm)
    shares = []
    for row, column in np.random.default_rng(0).uniform(28, 32, (40, 2)):
        disc = (np.hypot(y - row, x - column) < 20).astype(np.uint8)
        shares.append(grid.resample_mask(disc, (1.0, 1.0)).sum() * spacing_mm**2 / disc.sum())
    assert np.mean(shares) == pytest.approx(1, abs=0.012)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (0, 3), "spacing_mm": 1}, "size is \\[0, 3\\], expected two positive"),
        ({"size": (3,), "spacing_mm": 1}, "rows, columns"),
        ({"size": (3, 3), "spacing_mm": -1}, "spacing_mm is -1.0, expected a positive"),
        ({"size": (3, 3), "spacing_mm": 1, "offset_mm": (1,)}, "offset_mm"),
    ],
)
def test_grid_refuses_nonsense(options, words):
    with pytest.raises(ValueError, match=words):
        SliceGrid(**options)


def canonical_axes(view):
    return np.array([DIRECTIONS[side] for side in CANONICAL[view]], float).T


CANONICAL_SHAPE = (3, 4, 5)
CANONICAL_SPACING = np.array([4.0, 0.7, 0.6])


def stored_as(order, flips, turn, view):
    """A canonical volume (values, first voxel's place, axes) and a file of it with axes in another order and sense."""
    values = np.random.default_rng(0).permutation(60).reshape(CANONICAL_SHAPE).astype(np.int16)
    axes = turn @ canonical_axes(view)
    origin = np.array([10.0, -20.0, 30.0])
    file_origin, direction = origin.copy(), np.zeros((3, 3))
    stored = values
    for place, flip in enumerate(flips):
        if flip:
            stored = np.flip(stored, place)
            file_origin += axes[:, place] * (CANONICAL_SHAPE[place] - 1) * CANONICAL_SPACING[place]
    for file_axis, place in enumerate(order):
        direction[:, file_axis] = axes[:, place] * (-1 if flips[place] else 1)
    file = ImageFile(
        voxels=np.ascontiguousarray(stored.transpose(order[::-1])),
        spacing_mm=tuple(CANONICAL_SPACING[list(order)].tolist()),
        origin_mm=tuple(file_origin.tolist()),
        direction=direction,
    )
    return values, origin, axes, file


ways = st.tuples(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
angles = st.tuples(*[st.floats(-20, 20)] * 3)


@pytest.mark.parametrize("view", ["axial", "sagittal"])
def test_all_48_orientations_become_the_same_array(view, tmp_path):
    for order, flips in product(permutations(range(3)), product([False, True], repeat=3)):
        values, origin, axes, file = stored_as(order, flips, np.eye(3), view)
        volume = canonical_volume(tmp_path, file, view=view)
        np.testing.assert_array_equal(volume.voxels, values)
        np.testing.assert_allclose(volume.origin_mm, origin, atol=1e-9)
        np.testing.assert_allclose(volume.direction, axes, atol=1e-9)
        assert volume.pixel_mm == (0.7, 0.6), "rows and columns keep their own spacing"


@few
@given(ways, angles, st.sampled_from(["axial", "sagittal"]), st.sampled_from([".nii.gz", ".mha", ".nrrd"]))
def test_oblique_files_keep_pixels_and_key_points(tmp_path_factory, way, tilt, view, suffix):
    order, flips = way
    values, origin, axes, file = stored_as(
        order, flips, Rotation.from_euler("xyz", tilt, degrees=True).as_matrix(), view
    )
    path = tmp_path_factory.mktemp("oblique") / f"scan{suffix}"
    write_volume(path, file.voxels, spacing=file.spacing_mm, origin=file.origin_mm, direction=file.direction)
    volume = canonical_volume(path, read_image_file(path), view=view)
    np.testing.assert_array_equal(volume.voxels, values)
    np.testing.assert_allclose(volume.origin_mm, origin, atol=1e-3)
    np.testing.assert_allclose(volume.direction, axes, atol=1e-4)
    # The value at every file index lies where slice_index and to_pixel say.
    as_file = np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))).transpose(2, 1, 0)
    slice_axis, row_axis, column_axis = (list(order).index(place) for place in range(3))
    for position, stored in enumerate(volume.slice_index):
        index = [0, 0, 0]
        index[slice_axis], index[row_axis], index[column_axis] = int(stored), 1, 3
        x, y = volume.to_pixel(col=3.0, row=1.0)
        assert as_file[tuple(index)] == volume.voxels[position, int(y), int(x)]


def test_a_steep_block_keeps_its_slices_and_another_view_is_refused(tmp_path):
    """Thick slices tell which axis lies between them, even when L5/S1 is tilted by more than 45 degrees."""
    values, _, axes, file = stored_as(
        (2, 1, 0), (0, 0, 0), Rotation.from_euler("x", 50, degrees=True).as_matrix(), "axial"
    )
    volume = canonical_volume(tmp_path, file, view="axial")
    np.testing.assert_array_equal(volume.voxels, values)
    np.testing.assert_allclose(volume.direction, axes)
    *_, sagittal = stored_as((2, 1, 0), (0, 0, 0), np.eye(3), "sagittal")
    with pytest.raises(ValueError, match=r"scan.*not axial.*axis 3 .*take the axial series"):
        canonical_volume(tmp_path / "scan", sagittal, view="axial")


def test_differences_are_named(tmp_path):
    def volume(**changes):
        *_, file = stored_as((2, 1, 0), (0, 0, 0), np.eye(3), "axial")
        return canonical_volume(tmp_path, ImageFile(**{**vars(file), **changes}), view="axial")

    one = volume()
    turn = Rotation.from_euler("z", 8, degrees=True).as_matrix()
    assert grid_differences(one, volume(origin_mm=(10.05, -20.0, 30.0))) == [], "0.08 pixel is nothing"
    assert "origin" in grid_differences(one, volume(origin_mm=(10.5, -20.0, 30.0)))[0]
    assert "spacing" in grid_differences(one, volume(spacing_mm=(0.7, 0.7, 4.0)))[0]
    assert "direction" in " ".join(
        grid_differences(one, volume(direction=turn @ canonical_axes("axial")[:, [2, 1, 0]]))
    )
    assert "size" in grid_differences(one, volume(voxels=np.zeros((3, 4, 6), np.int16)))[0]
