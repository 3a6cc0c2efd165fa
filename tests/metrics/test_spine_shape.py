"""Sizes and angles of the spine, against shapes whose sizes are known and against the phantom's own measurements."""

import numpy as np
import pytest
from scipy.stats import theilslopes

from datamodules.phantom.canvas import LABELS
from metrics.outline import area_mm2, chords, outline_mm
from metrics.spine_shape import ENDPLATE, SPINE_MEASURES, endplate_tilts, measure_shape, measure_spine
from tests.made.phantom_slices import SAGITTAL, one_series

SERIES = {"vertebra": ("L1", "L2"), "disc": ("L1/2", "L2/3")}
STRUCTURES = ("L1", "L2", "L1/2", "L2/3")
LABELLED = np.ones(5, dtype=bool)
SPACINGS = [(1.0, 1.0), (0.7, 0.7), (0.5, 1.2), (1.3, 0.6)]


def degrees_of_a_step(spacing_mm):
    """What an angle may be off by: nobody sees in which pixel of a step an almost level endplate lies."""
    return float(np.degrees(np.arctan(1.5 * spacing_mm[0] / 25.6)))


def body(spacing_mm, *, depth=32.0, front=26.0, back=26.0, tilt=0.0, size_mm=(80, 80), centre_mm=(40.3, 40.1)):
    """Pixels of a trapezoid: front to the left, walls upright, turned so that its front is lower by `tilt` degrees."""
    rows, columns = (np.arange(int(side / size)) * size for side, size in zip(size_mm, spacing_mm, strict=True))
    y, x = np.meshgrid(rows - centre_mm[0], columns - centre_mm[1], indexing="ij")
    cosine, sine = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    along, down = x * cosine - y * sine, x * sine + y * cosine
    half = (front + (back - front) * (along / depth + 0.5)) / 2
    return (np.abs(along) <= depth / 2) & (np.abs(down) <= half)


@pytest.mark.parametrize("spacing_mm", SPACINGS, ids=str)
@pytest.mark.parametrize("tilt", [-35.0, -10.0, 0.0, 20.0, 40.0])
def test_a_vertebra_is_as_large_as_it_was_drawn_however_it_lies(spacing_mm, tilt):
    shape = measure_shape(body(spacing_mm, tilt=tilt), spacing_mm, is_disc=False)
    pixel = max(spacing_mm)
    for name in ("anterior_height_mm", "middle_height_mm", "posterior_height_mm"):
        assert getattr(shape, name) == pytest.approx(26, abs=pixel)
    assert shape.depth_mm == pytest.approx(32, abs=1.6 * pixel), "from corner to corner: steps of pixels stand out"
    assert shape.upper_tilt_degrees == pytest.approx(tilt, abs=degrees_of_a_step(spacing_mm))
    assert shape.wedge_degrees == pytest.approx(0, abs=degrees_of_a_step(spacing_mm))


@pytest.mark.parametrize("spacing_mm", SPACINGS, ids=str)
@pytest.mark.parametrize(("front", "back"), [(30, 24), (20, 27), (26, 26)])
def test_a_wedge_is_positive_where_the_front_is_taller(spacing_mm, front, back):
    shape = measure_shape(body(spacing_mm, front=float(front), back=float(back), tilt=8.0), spacing_mm, is_disc=False)
    expected = 2 * np.degrees(np.arctan((front - back) / 64))
    assert shape.wedge_degrees == pytest.approx(expected, abs=degrees_of_a_step(spacing_mm))
    at_15_percent = front + 0.15 * (back - front)
    assert shape.anterior_height_mm == pytest.approx(at_15_percent, abs=max(spacing_mm))
    assert shape.middle_height_mm == pytest.approx((front + back) / 2, abs=max(spacing_mm))


@pytest.mark.parametrize("tilt", [-60.0, -20.0, 15.0, 60.0])
def test_a_disc_lies_on_its_long_side(tilt):
    shape = measure_shape(body((0.8, 0.8), front=10.0, back=8.0, tilt=tilt), (0.8, 0.8), is_disc=True)
    assert shape.middle_height_mm == pytest.approx(9, abs=0.5)
    assert (shape.upper_tilt_degrees + shape.lower_tilt_degrees) / 2 == pytest.approx(tilt, abs=1.5)


def column(**missing):
    """Two vertebrae and the discs below them, in a spine that bends by 8 degrees from each to the next."""
    spacing_mm, mask = (0.8, 0.8), np.zeros((170, 100), dtype=np.int64)
    parts = {"L1": (22, 26, 0.0), "L1/2": (43, 9, 8.0), "L2": (64, 26, 16.0), "L2/3": (86, 9, 24.0)}
    for name, (row, height, tilt) in parts.items():
        where = body(
            spacing_mm,
            front=float(height),
            back=float(height),
            tilt=tilt,
            size_mm=(136, 80),
            centre_mm=(row, missing.get("column", 40)),
        )
        if name not in missing.get("without", ()):
            mask[where & (mask == 0)] = STRUCTURES.index(name) + 1
    return mask, spacing_mm


def rows_of(mask, spacing_mm, labelled=LABELLED):
    return {row["structure"]: row for row in measure_spine(mask, STRUCTURES, labelled, SERIES, spacing_mm)}


def test_a_column_is_measured_from_its_first_vertebra_to_its_last_disc():
    rows = rows_of(*column())
    assert set(rows) == {*STRUCTURES, "lumbar"}
    assert all({"level", "side", *SPINE_MEASURES} <= set(row) for row in rows.values())
    assert rows["lumbar"]["lordosis_degrees"] == pytest.approx(24, abs=1.5)
    assert rows["lumbar"]["level"] == "L1 to L2/3"
    assert rows["L1/2"]["disc_height_mm"] == pytest.approx(9, abs=0.6)
    assert rows["L1/2"]["disc_height_index"] == pytest.approx(9 / 26, abs=0.03)
    assert np.isnan(rows["L1"]["disc_height_mm"])
    assert np.isnan(rows["L1/2"]["depth_mm"])


def test_what_is_missing_is_not_measured_and_spoils_only_what_needs_it():
    rows = rows_of(*column(without=("L2",)))
    assert np.isnan([rows["L2"][name] for name in SPINE_MEASURES]).all()
    assert np.isnan(rows["L2/3"]["disc_height_index"]), "without the vertebra above"
    assert np.isfinite(rows["L2/3"]["disc_height_mm"])
    assert np.isfinite(rows["lumbar"]["lordosis_degrees"])
    assert np.isnan(rows_of(*column(without=("L1",)))["lumbar"]["lordosis_degrees"])
    mask, spacing_mm = column()
    unlabelled = np.array([True, True, True, True, False])
    mask[mask == 4] = 0
    rows = rows_of(mask, spacing_mm, unlabelled)
    assert set(rows) == {"L1", "L2", "L1/2"}, "the last disc was not drawn: no lordosis to its end"


def test_without_discs_lordosis_ends_at_the_last_vertebra():
    mask, spacing_mm = column()
    rows = measure_spine(
        np.where(mask > 2, 0, mask), STRUCTURES[:2], LABELLED[:3], {"vertebra": STRUCTURES[:2]}, spacing_mm
    )
    assert rows[-1]["level"] == "L1 to L2"
    assert rows[-1]["lordosis_degrees"] == pytest.approx(16, abs=1.5)


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((60, 60), dtype=bool),
        np.pad(np.ones((5, 5), dtype=bool), 20),
        np.pad(np.ones((40, 30), dtype=bool), ((0, 20), (10, 20))),
        np.eye(60, dtype=bool),
    ],
    ids=["empty", "too small", "cut by the edge", "a line"],
)
def test_what_cannot_be_measured_is_refused_quietly(mask):
    assert measure_shape(mask, (1.0, 1.0), is_disc=False) is None


def test_a_stray_piece_a_hole_and_a_spur_change_little():
    clean = body((0.8, 0.8), tilt=10.0)
    spoilt = clean.copy()
    spoilt[5:9, 5:9] = True
    spoilt[48:52, 48:52] = False
    spoilt[30:33, 61:72] = True  # an osteophyte at the upper edge of the back
    one, other = (measure_shape(mask, (0.8, 0.8), is_disc=False) for mask in (clean, spoilt))
    assert other.middle_height_mm == pytest.approx(one.middle_height_mm, abs=0.3)
    assert other.wedge_degrees == pytest.approx(one.wedge_degrees, abs=3)


def test_endplates_are_those_of_theil_and_sen():
    corners = outline_mm(body((0.8, 0.8), front=30.0, back=24.0), (0.8, 0.8))
    x, y = corners.T
    at = x.min() + np.ptp(x) * ENDPLATE
    expected = [-np.degrees(np.arctan(theilslopes(line, at)[0])) for line in chords(x, y, at)]
    np.testing.assert_allclose(endplate_tilts(corners, 0.0), expected)


def test_an_outline_encloses_the_pixels():
    mask = np.zeros((30, 40), dtype=bool)
    mask[10:20, 5:25] = True
    corners = outline_mm(mask, (2.0, 0.5))
    assert area_mm2(corners) == pytest.approx(10 * 20, abs=1), "but for the corners of the corner pixels"
    np.testing.assert_allclose(corners.min(axis=0), [4.5 * 0.5, 9.5 * 2])
    np.testing.assert_allclose(corners.max(axis=0), [24.5 * 0.5, 19.5 * 2])


@pytest.mark.slow
def test_the_phantom_measures_as_it_was_made():
    """On pixels of 1.6 mm; on the 0.7 mm of its preset, heights are 0.3 mm off and lordosis 0.9 degrees."""
    names = ("L1", "L2", "L3", "L4", "L5", "L1/2", "L2/3", "L3/4", "L4/5", "L5/S1")
    series = {"vertebra": names[:5], "disc": names[5:]}
    found: dict[str, list[float]] = {"middle_height_mm": [], "disc_height_mm": [], "lordosis_degrees": []}
    for patient in (1, 2, 3):
        drawn = one_series(SAGITTAL, patient)
        truth = {(row["structure"], row["quantity"]): row["value"] for row in drawn.measurements}
        labels = drawn.labels[len(drawn.labels) // 2]
        mask = sum(np.where(labels == LABELS[name], number, 0) for number, name in enumerate(names, start=1))
        for row in measure_spine(mask, names, np.ones(11, dtype=bool), series, (1.6, 1.6)):
            place, quantity = (row["structure"], "vertebra_height")
            if row["structure"] in series["disc"]:
                quantity = "disc_height"
            elif row["structure"] == "lumbar":
                place, quantity = "L1-S1", "lordosis"
            for name, errors in found.items():
                if np.isfinite(row[name]):
                    errors.append(row[name] - truth[place, quantity])
    assert min(len(errors) for errors in found.values()) >= 2
    assert abs(np.mean(found["middle_height_mm"])) < 0.3
    assert abs(np.mean(found["disc_height_mm"])) < 0.3
    assert np.std(found["middle_height_mm"]) < 0.8
    assert np.abs(found["lordosis_degrees"]).max() < 5
