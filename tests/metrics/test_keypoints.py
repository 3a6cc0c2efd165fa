"""Key points: decoded to a fraction of a pixel, scored in millimetres, told from their neighbours."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metrics.keypoints import KEYPOINT_COLUMNS, centres_of_masks, decode_heatmaps, mean_error_mm, score_keypoints

RNG = np.random.default_rng(0)


def gaussian(x, y, *, size=(64, 48), spacing_mm=(1.5, 1.5), sigma_mm=3.0, peak=1.0):
    rows, columns = np.ogrid[: size[0], : size[1]]
    squared = ((rows - y) * spacing_mm[0]) ** 2 + ((columns - x) * spacing_mm[1]) ** 2
    return peak * np.exp(-squared / (2 * sigma_mm**2))


def decoding_errors_mm(change, spacing_mm=(1.5, 1.5)):
    """Errors of 40 decoded peaks well inside a map."""
    true = RNG.uniform(14, 34, (40, 2))
    maps = np.stack([change(gaussian(x, y, spacing_mm=spacing_mm)) for x, y in true])
    found, peaks = decode_heatmaps(maps, spacing_mm)
    assert np.isfinite(peaks).all()
    return np.linalg.norm((found - true) * spacing_mm[::-1], axis=1)


def enlarged(heatmap):
    """What is left of a map that a network draws at a quarter of the size."""
    coarse = F.avg_pool2d(torch.from_numpy(heatmap)[None, None], 4)
    return F.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=False)[0, 0].numpy()


@pytest.mark.parametrize(
    ("change", "spacing_mm", "mean_mm"),
    [
        (lambda h: h, (1.5, 1.5), 0.05),
        (lambda h: 0.3 * h, (1.5, 1.5), 0.05),
        (lambda h: h, (0.8, 1.9), 0.05),
        (lambda h: h + RNG.normal(0, 0.05, h.shape), (1.5, 1.5), 0.25),
        (lambda h: h + 0.05, (1.5, 1.5), 0.05),
        (enlarged, (1.0, 1.0), 0.1),
        (enlarged, (1.5, 1.5), 0.3),
    ],
    ids=["exact", "low", "anisotropic", "noisy", "on a pedestal", "enlarged, 1 mm", "enlarged, 1.5 mm"],
)
def test_peaks_are_found_between_pixels(change, spacing_mm, mean_mm):
    assert decoding_errors_mm(change, spacing_mm).mean() < mean_mm


def test_a_peak_at_the_border_is_found_within_a_pixel_and_flat_maps_show_no_point():
    maps = np.stack([gaussian(0.4, 60.3), np.zeros((64, 48)), np.full((64, 48), np.nan), -1 - gaussian(20, 20)])
    points, peaks = decode_heatmaps(maps, (1.5, 1.5))
    assert np.linalg.norm(points[0] - (0.4, 60.3)) < 1
    assert np.isnan(points[1:3]).all()
    assert np.isnan(peaks[1:3]).all()
    assert np.isfinite(points[3]).all(), "the highest pixel, though nothing is above 0"
    assert peaks[0] == pytest.approx(maps[0].max())


def test_the_second_of_two_peaks_does_not_pull():
    point, _ = decode_heatmaps((gaussian(24, 20) + gaussian(24, 32, peak=0.9))[None], (1.5, 1.5))
    assert np.linalg.norm(point[0] - (24, 20)) < 0.05


NAMES = ("L1", "L1/2", "L2")
TRUE = np.array([[10.0, 10.0], [10.0, 20.0], [np.nan, np.nan]])


def scored(found, true=TRUE, spacing_mm=(2.0, 1.0)):
    return score_keypoints(
        names=NAMES, true=true, found=np.array(found), peaks=None, spacing_mm=spacing_mm, source="mask"
    )


def test_errors_are_millimetres_and_only_of_what_is_visible_and_found():
    rows = scored([[13.0, 12.0], [np.nan, np.nan], [5.0, 5.0]])
    assert all(tuple(row) == KEYPOINT_COLUMNS for row in rows)
    assert rows[0]["error_mm"] == pytest.approx(5), "3 columns of 1 mm, 2 rows of 2 mm"
    assert [row["visible"] for row in rows] == [True, True, False]
    assert np.isnan(rows[1]["error_mm"]), "missed: visible, but without x and y"
    assert np.isnan([rows[2]["error_mm"], rows[2]["true_x"]]).all()
    assert rows[2]["x"] == 5


@pytest.mark.parametrize(
    ("found", "nearest"),
    [
        ([10.0, 19.0], "L1/2"),  # one off
        ([10.0, 14.9], "L1"),
        ([10.0, 15.1], "L1/2"),
        ([21.0, 10.0], ""),  # 11 mm from L1, half the distance to its neighbour is 10 mm
        ([np.nan, np.nan], ""),
    ],
)
def test_a_point_belongs_to_the_structure_that_it_lies_at(found, nearest):
    assert scored([found, TRUE[1], TRUE[2]])[0]["nearest"] == nearest


def test_without_a_neighbour_nothing_tells_how_near_is_near():
    alone = np.array([TRUE[0], TRUE[2], TRUE[2]])
    assert [row["nearest"] for row in scored([TRUE[0]] * 3, true=alone)] == ["", "", ""]


def test_a_missed_point_costs_the_diagonal():
    found = np.array([[10.0, 11.0], [np.nan, np.nan], [3.0, 3.0]])
    assert mean_error_mm(TRUE, found, (2.0, 1.0), (30, 80)) == pytest.approx((2 + 100) / 2)
    assert np.isnan(mean_error_mm(TRUE[2:], found[2:], (2.0, 1.0), (30, 80)))


def test_centres_are_those_of_the_masks_of_that_name():
    mask = np.zeros((12, 12), dtype=np.int64)
    mask[2:5, 6:8] = 2
    centres = centres_of_masks(mask, ["L2", "L1"], ["L1", "L2", "hip"])
    np.testing.assert_array_equal(centres, [[6.5, 3], [np.nan] * 2, [np.nan] * 2])
