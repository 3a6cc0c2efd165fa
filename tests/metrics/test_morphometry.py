"""Areas, fat, asymmetry and grades of muscles, against shapes and shares that are known."""

from dataclasses import replace
from math import isnan, nan

import numpy as np
import pandas as pd
import pytest

from metrics.fat import KNOWN, LearnedFat, MeasuredFat
from metrics.morphometry import IDENTITY_COLUMNS, MORPHOMETRY_COLUMNS
from metrics.muscles import Muscles
from tests.made.muscle_slices import LEFT, MUSCLE, RIGHT, STRUCTURES, mask, morphometry, otsu, picture, sampled
from tests.made.muscle_slices import rows_by_side as measured

PIXEL_MM2 = 0.4
LEFT_ROW, RIGHT_ROW, BOTH_ROW = (("multifidus", side) for side in ("left", "right", "both"))


def ellipse(size: tuple[int, int], spacing_mm: tuple[float, float], axes_mm: tuple[float, float]) -> np.ndarray:
    """Pixels whose centres lie in an ellipse in the middle, as class 1."""
    rows, columns = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(size, spacing_mm, strict=True))
    inside = (rows[:, None] / axes_mm[0]) ** 2 + (columns[None] / axes_mm[1]) ** 2 <= 1
    return inside.astype(np.int64)


@pytest.mark.parametrize(
    ("size", "spacing_mm"),
    [((320, 320), (0.6, 0.6)), ((200, 400), (0.9, 0.45)), ((400, 160), (0.45, 1.2))],
    ids=["isotropic", "flat pixels", "tall pixels"],
)
def test_the_area_of_an_ellipse_is_its_own_on_any_grid(size, spacing_mm):
    """One ellipse of 40 mm by 25 mm on grids as a file has them and as resampling makes them."""
    drawn = ellipse(size, spacing_mm, (40.0, 25.0))
    sample = sampled(morphometry(), mask=drawn, image=np.ones(size), spacing_mm=spacing_mm)
    assert measured(morphometry(), sample)[LEFT_ROW]["csa_mm2"] == pytest.approx(np.pi * 40 * 25, rel=5e-3)


def test_areas_fat_and_grades_of_known_shares():
    rows = measured(morphometry(), sampled(morphometry(), image=picture(0.2, 0.05)))
    left, right, both, sac = (rows[key] for key in (LEFT_ROW, RIGHT_ROW, BOTH_ROW, ("dural_sac", "")))
    assert tuple(left) == (*(n for n in IDENTITY_COLUMNS if n not in ("structure", "side")), *tuple(left)[5:])
    assert {*left} == {*MORPHOMETRY_COLUMNS}
    assert [left["csa_mm2"], right["csa_mm2"], both["csa_mm2"]] == pytest.approx([160, 160, 320])
    assert [left["fat_pixel_share"], right["fat_pixel_share"], both["fat_pixel_share"]] == [0.2, 0.05, 0.125]
    assert [left["lean_csa_mm2"], right["lean_csa_mm2"]] == pytest.approx([128, 152])
    assert [left["goutallier_simplified"], right["goutallier_simplified"]] == ["II", "I"]
    assert (left["fat_method"], left["fat_state"], left["side_check"]) == ("otsu_patient", "measured", "correct")
    assert isnan(left["fat_fraction_signal"])  # nothing was measured on one T2 picture
    assert both["lean_csa_asymmetry_percent"] == pytest.approx(100 * (128 - 152) / 140)
    assert both["csa_asymmetry_percent"] == 0
    assert both["fat_asymmetry_points"] == pytest.approx(15)
    assert sac["csa_mm2"] == pytest.approx(100 * PIXEL_MM2)
    assert sac["fat_method"] == sac["goutallier_simplified"] == ""


def test_measured_fractions_give_both_quantities():
    fraction = np.where(mask() == 1, 0.3, 0.0)
    fraction[30:35, LEFT[1]] = 0.9
    settings = morphometry(fat=MeasuredFat(name="measured", above=0.5))
    left = measured(settings, sampled(settings, fraction=fraction))[LEFT_ROW]
    assert left["fat_pixel_share"] == 0.25
    assert left["fat_fraction_signal"] == pytest.approx(0.25 * 0.9 + 0.75 * 0.3)


def test_the_masks_own_fat_is_counted():
    drawn = np.where(mask() == 3, 0, mask())
    drawn[30:40, RIGHT[1]] = 3
    sides = {"left": ["muscle_left"], "right": ["muscle_right", "fat_right"]}
    muscles = Muscles(muscles={"back_muscles": sides}, fat=["fat_right"])
    settings = morphometry(muscles=muscles, fat=LearnedFat(name="learned"))
    sample = sampled(settings, mask=drawn, structures=("muscle_left", "muscle_right", "fat_right"))
    rows = measured(settings, sample)
    assert rows["back_muscles", "right"]["fat_pixel_share"] == 0.5
    assert rows["back_muscles", "right"]["goutallier_simplified"] == "II"  # 50 % itself is not severe
    assert rows["back_muscles", "left"]["fat_pixel_share"] == 0


def state_of(image: np.ndarray | None = None, **changes) -> dict:
    """Row of the left side of one slice."""
    settings = morphometry()
    given = changes if image is None else {"image": image, **changes}
    return measured(settings, sampled(settings, **given))[LEFT_ROW]


def only(*rows_and_columns: slice) -> np.ndarray:
    """A mask with nothing but a part of the left side."""
    drawn = np.zeros_like(mask())
    drawn[rows_and_columns] = 1
    return drawn


def bright_muscle() -> np.ndarray:
    """As on a water image: lean muscle as bright as anything."""
    return np.where(picture(noise=0) > 0, MUSCLE, 0) + np.random.default_rng(0).normal(0, 10, mask().shape)


@pytest.mark.parametrize(
    ("state", "given"),
    [
        ("empty", {"mask": np.zeros_like(mask())}),
        ("few_pixels", {"mask": only(slice(30, 31), slice(40, 41))}),
        ("constant", {"image": np.where(mask() > 0, 7.0, picture())}),
        ("unclear", {"image": picture(1, 1)}),  # all fat: one bright tissue, which a water image has, too
        ("unclear", {"image": bright_muscle()}),
        ("contrast", {"contrast": "water"}),
        ("unlabelled", {"labelled": np.array([True, False, True, True]), "mask": np.where(mask() == 1, 0, mask())}),
    ],
    ids=["empty", "one pixel", "constant", "all fat", "water image", "stated contrast", "not drawn"],
)
def test_there_is_no_grade_from_nothing(state, given):
    row = state_of(**given)
    assert row["fat_state"] == state
    assert isnan(row["fat_pixel_share"])
    assert isnan(row["lean_csa_mm2"])
    assert row["goutallier_simplified"] == row["goutallier"] == ""
    assert isnan(row["csa_mm2"]) == (state == "unlabelled")


@pytest.mark.parametrize("noise", [3.0, 10.0, 20.0])
def test_lean_muscle_is_not_split(noise):
    """Otsu would call about half of it fat."""
    row = state_of(picture(0, 0, noise=noise))
    assert (row["fat_state"], row["fat_pixel_share"], row["goutallier_simplified"]) == ("lean", 0, "I")
    trusting = morphometry(fat=otsu(min_brightness=0.0, min_separation=0.0, min_contrast=0.0))
    fooled = measured(trusting, sampled(trusting, image=picture(0, 0, noise=noise)))[LEFT_ROW]
    assert fooled["fat_pixel_share"] > 0.3


@pytest.mark.parametrize(("scale", "offset"), [(0.01, 0.0), (3.0, -200.0)], ids=["scaled", "shifted"])
def test_the_scale_of_the_intensities_does_not_matter(scale, offset):
    assert state_of(scale * picture() + offset) == pytest.approx(state_of(), nan_ok=True)


def test_slices_of_a_patient_share_a_threshold_and_patients_do_not():
    """On its own, the lean slice of a patient is called lean; beside a fat one, its few bright pixels are fat."""
    faint = picture(0.05, 0.05)
    fat = sampled(morphometry(), image=picture(0.5, 0.5), slice=0)
    dim = sampled(morphometry(), image=np.where(faint > 300, 220.0, faint), slice=1)
    pooled = measured(morphometry(), fat, dim)[LEFT_ROW]
    other = measured(morphometry(), replace(fat, patient="q"), dim)[LEFT_ROW]
    truth_apart = measured(morphometry(), replace(fat, source="prediction"), dim)[LEFT_ROW]
    assert pooled["fat_pixel_share"] == 0  # 220 is nearer to muscle than to fat of 500
    assert other["fat_pixel_share"] == truth_apart["fat_pixel_share"] == 0.05
    by_slice = morphometry(fat=otsu(name="otsu_slice", pooled_by="slice"))
    assert measured(by_slice, fat, dim)[LEFT_ROW]["fat_pixel_share"] == 0.05


def test_a_single_slice_is_measured_like_any():
    alone = morphometry().measure([sampled(morphometry())])
    by_slice = morphometry(fat=otsu(pooled_by="slice")).measure([sampled(morphometry())])
    pd.testing.assert_frame_equal(pd.DataFrame(alone), pd.DataFrame(by_slice))
    assert alone[0]["fat_state"] in KNOWN


def test_swapped_sides_are_reported_and_measured_as_labelled():
    rows = measured(morphometry(), sampled(morphometry(), mask=np.array([0, 2, 1, 3])[mask()]))
    assert {rows[key]["side_check"] for key in (LEFT_ROW, RIGHT_ROW, BOTH_ROW)} == {"swapped"}
    assert rows[LEFT_ROW]["fat_pixel_share"] == 0.1  # the picture's other side


@pytest.mark.parametrize("spacing_mm", [(nan, 0.5), (0.0, 0.5), (-1.0, 0.5), (0.5, float("inf"))])
def test_a_missing_spacing_is_refused(spacing_mm):
    with pytest.raises(ValueError, match=r"case c, slice 0: spacing_mm.*header"):
        sampled(morphometry(), spacing_mm=spacing_mm)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.ones((3, 3))}, r"image has the size \(3, 3\)"),
        ({"image": np.where(mask() == 1, nan, picture())}, "undefined intensities"),
        ({"structures": ("a", "b", "c")}, "the anatomy has a, b, c"),
    ],
)
def test_slices_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        measured(morphometry(), sampled(morphometry(), **changes))


@pytest.mark.parametrize(
    "method", [MeasuredFat(name="measured", above=0.5), LearnedFat(name="learned")], ids=["measured", "learned"]
)
def test_a_method_without_what_it_needs_is_refused(method):
    settings = morphometry(fat=method)
    with pytest.raises(ValueError, match=r"case c, slice 0, multifidus: .*morphometry/fat=otsu_patient"):
        settings.measure([sampled(settings)])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"muscles": {"psoas": {"left": ["a"]}}}, "psoas has the sides left"),
        ({"muscles": {"psoas": {"both": ["a"]}, "multifidus": {"both": ["a"]}}}, "structure listed twice: a"),
        ({"muscles": {"psoas": {"both": ["a"]}}, "compartments": {"back": ["erector"]}}, "compartments.* erector"),
        ({"muscles": {"psoas": {"both": ["a"]}}, "areas": {"psoas": ["a"]}}, "name listed twice: psoas"),
    ],
)
def test_contradictory_muscles_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Muscles(**given)


def test_compartments_are_measured_beside_their_muscles():
    sides = {"a": {"both": ["multifidus_left"]}, "b": {"both": ["multifidus_right"]}}
    muscles = Muscles(muscles=sides, compartments={"ab": ["a", "b"]})
    settings = morphometry(muscles=muscles)
    rows = measured(settings, sampled(settings))
    assert [*rows] == [("a", "both"), ("b", "both"), ("ab", "both")]
    assert rows["ab", "both"]["csa_mm2"] == rows["a", "both"]["csa_mm2"] + rows["b", "both"]["csa_mm2"]
    assert rows["ab", "both"]["side_check"] == ""
    assert STRUCTURES[2] not in {name for name, _ in rows}


def test_a_mirrored_slice_has_its_rows_swapped():
    """The picture and the mask turned around, sides named anew: what was left is right, and nothing else changes."""
    left_fatter = picture(0.3, 0.1)
    usual = measured(morphometry(), sampled(morphometry(), image=left_fatter))
    swap = np.array([0, 2, 1, 3])
    mirrored = sampled(morphometry(), image=left_fatter[:, ::-1], mask=swap[mask()][:, ::-1])
    turned = measured(morphometry(), mirrored)
    for side, other in ((LEFT_ROW, RIGHT_ROW), (RIGHT_ROW, LEFT_ROW)):
        assert {**turned[side], "side": ""} == pytest.approx({**usual[other], "side": ""}, nan_ok=True)
    assert turned[BOTH_ROW]["fat_asymmetry_points"] == -usual[BOTH_ROW]["fat_asymmetry_points"] != 0
    assert turned[LEFT_ROW]["side_check"] == "correct"


@pytest.mark.parametrize(
    ("threshold_mm2", "drawn", "expected"),
    [(50, mask(), "below"), (40, mask(), "not below"), (50, np.where(mask() == 3, 0, mask()), "")],
    ids=["narrow", "exactly at it", "missed"],
)
def test_an_area_is_compared_with_its_threshold(threshold_mm2, drawn, expected):
    """The sac has 40 mm2; one that was not found is not narrow."""
    settings = morphometry(narrow_below_mm2={"dural_sac": threshold_mm2})
    rows = measured(settings, sampled(settings, mask=drawn))
    assert rows["dural_sac", ""]["area_threshold"] == expected
    assert {row["area_threshold"] for (name, _), row in rows.items() if name != "dural_sac"} == {""}


def test_a_threshold_of_an_unknown_area_is_refused():
    with pytest.raises(ValueError, match=r"narrow_below_mm2 names canal, expected one of muscles\.areas \(dural_sac\)"):
        morphometry(narrow_below_mm2={"canal": 100})
