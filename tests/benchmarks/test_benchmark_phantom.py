"""What the phantom's benchmark computes, on cases small enough to work out by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from benchmarks.phantom_gates import MeanShape, dice_of, prior_cases, second_rater_cases
from benchmarks.phantom_published import compare, drawn_values, read_published
from benchmarks.phantom_tables import FAILED, PASSED, dice_table, gate_table, markdown
from benchmarks.phantom_tissues import roughness, shading
from benchmarks.phantom_unet import fattest_third_gap, group_dice, level_correlation, order_margin
from datamodules.anatomy import Anatomy
from datamodules.cohort import Cohort
from datamodules.store.slice_store import NativeSlice

HEADER = "structure,quantity,level,sides,view,sex,age_min,age_max,mean,sd,low,high,kind,population,source\n"


def anatomy(*structures: str) -> Anatomy:
    return Anatomy(name="tiny", view="axial", structures=structures, colours=dict.fromkeys(structures, "#ffffff"))


def square(first: int, last: int, size: int = 12) -> np.ndarray:
    """Class 1 in rows and columns first..last."""
    mask = np.zeros((size, size), np.uint8)
    mask[first : last + 1, first : last + 1] = 1
    return mask


def test_prior_takes_the_most_frequent_class_of_each_pixel_and_level():
    prior = MeanShape(2)
    for mask in (square(2, 5), square(2, 5), square(4, 7)):
        prior.add("L3/4", mask)
    prior.add("L4/5", square(0, 1))
    assert (prior.predict("L3/4") == square(2, 5)).all()
    assert (prior.predict("L4/5") == square(0, 1)).all()


def test_prior_refuses_what_it_has_not_seen():
    prior = MeanShape(2)
    prior.add("L3/4", square(2, 5))
    with pytest.raises(ValueError, match="slices of one size"):
        prior.add("L3/4", square(2, 5, size=14))
    with pytest.raises(ValueError, match=r"no level 'L5/S1', only L3/4"):
        prior.predict("L5/S1")


def test_prior_learns_from_training_patients_and_is_scored_on_the_test_part():
    masks = [square(2, 5), square(2, 5), square(2, 5), square(4, 7)]
    table = pd.DataFrame({"case": list("abcd"), "patient": list("abcd"), "level": "L3/4", "slice": 0})
    store = SimpleNamespace(
        table=table,
        labelled=np.ones((4, 2), bool),
        native=lambda i: NativeSlice(image=np.zeros((1, 12, 12), np.float32), mask=masks[i], spacing_mm=(1.0, 1.0)),
    )
    indices = {"train": np.array([0, 1]), "validation": np.array([2]), "test": np.array([3])}
    cases = prior_cases(SimpleNamespace(anatomy=anatomy("disc"), store=store, indices=indices))  # type: ignore[arg-type]
    assert cases["patient"].tolist() == ["d"]
    assert dice_of(cases) == {"mean": 4 / 16, "disc": 4 / 16}  # squares of 16 pixels share 4


@pytest.fixture
def two_raters(tmp_path):
    for folder in ("images", "labels", "second_rater"):
        (tmp_path / folder).mkdir()
    for name, second in (("p0", square(2, 5)), ("p1", square(3, 6))):
        picture = np.arange(144, dtype=np.float32).reshape(12, 12)
        for folder, array in (("images", picture), ("labels", square(2, 5)), ("second_rater", second)):
            volume = sitk.GetImageFromArray(array[None])
            volume.SetSpacing((1.0, 1.0, 4.0))
            sitk.WriteImage(volume, str(tmp_path / folder / f"{name}.nii.gz"))
    files = [
        ",".join(f"{part}/{name}.nii.gz" for part in ("images", "labels", "second_rater")) for name in ("p0", "p1")
    ]
    rows = [f"{name},{name},{paths}" for name, paths in zip(("p0", "p1"), files, strict=True)]
    (tmp_path / "cohort.csv").write_text("\n".join(["case,patient,image,label,second_rater", *rows]) + "\n")
    return tmp_path


def test_second_rater_is_scored_against_the_label(two_raters):
    cases = second_rater_cases(Cohort(name="two", root=two_raters, anatomy=anatomy("disc"), labels={1: "disc"}))
    assert cases["dice"].tolist() == [1.0, 18 / 32]
    assert dice_of(cases)["mean"] == (1 + 18 / 32) / 2


def test_a_cohort_without_second_rater_is_refused(two_raters):
    table = pd.read_csv(two_raters / "cohort.csv").drop(columns="second_rater")
    table.to_csv(two_raters / "cohort.csv", index=False)
    with pytest.raises(ValueError, match=r"'p0'.*second_rater"):
        second_rater_cases(Cohort(name="two", root=two_raters, anatomy=anatomy("disc"), labels={1: "disc"}))


def test_published_numbers_are_read_and_have_sources():
    entries = read_published()
    (psoas,) = [e for e in entries if (e.structure, e.levels, e.sd) == ("psoas", ("L3/4",), 441)]
    assert (psoas.mean, psoas.kind, psoas.view) == (1474, "source", "axial")
    assert all(entry.source and (np.isfinite(entry.mean) or entry.low <= entry.high) for entry in entries)
    assert {entry.kind for entry in entries} == {"source", "measured", "recall", "derived"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("psoas,area,L3/4,each,axial,,,,ten,,,,source,,S1", "mean is 'ten'"),
        ("psoas,area,L3/4,each,axial,,,,10,,5,20,source,,S1", "no number or two"),
        ("psoas,area,L3/4,each,axial,,,,,,,,source,,S1", "no number or two"),
        ("psoas,area,L3/4,each,axial,,,,10,,,,rumour,,S1", "kind is 'rumour'"),
        ("psoas,area,L3/4,each,axial,,,,10,,,,source,,", "line 2 has no source"),
    ],
)
def test_wrong_published_numbers_are_refused(tmp_path, row, message):
    (tmp_path / "published.csv").write_text(HEADER + row + "\n")
    with pytest.raises(ValueError, match=message):
        read_published(tmp_path / "published.csv")


def published(tmp_path, row):
    (tmp_path / "published.csv").write_text(HEADER + row + "\n")
    return read_published(tmp_path / "published.csv")[0]


def measured(*rows):
    columns = ["case", "patient", "level", "structure", "quantity", "value", "age", "sex"]
    return pd.DataFrame(rows, columns=columns)


AREAS = measured(
    ("a3", "a", "L3/4", "psoas_left", "area", 900.0, 30, "F"),
    ("a3", "a", "L3/4", "psoas_right", "area", 1100.0, 30, "F"),
    ("a4", "a", "L4/5", "psoas_left", "area", 1300.0, 30, "F"),
    ("a4", "a", "L4/5", "psoas_right", "area", 0.0, 30, "F"),
    ("b3", "b", "L3/4", "psoas_left", "area", 2000.0, 70, "M"),
    ("b3", "b", "L3/4", "psoas_left", "fat_fraction_signal", 0.1, 70, "M"),
    ("b3", "b", "L3/4", "multifidus_left", "area", 1000.0, 70, "M"),
    ("b3", "b", "L3/4", "multifidus_left", "fat_fraction_signal", 0.4, 70, "M"),
    ("b3", "b", "", "L3", "vertebra_height", 27.0, 70, "M"),
    ("b4", "b", "", "L3", "vertebra_height", 27.0, 70, "M"),
)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("psoas,area,L3/4,each,axial,,,,1,,,,source,,S", [900, 1100, 2000]),
        ("psoas,area,L3/4,both,axial,,,,1,,,,source,,S", [2000, 2000]),
        ("psoas,area,L3/4;L4/5,each,axial,F,,,1,,,,source,,S", [1100, 1100]),  # mean over levels, none where absent
        ("psoas,area,L3/4,each,axial,,40,,1,,,,source,,S", [2000]),
        ("psoas+multifidus,area,L3/4,each,axial,M,,,1,,,,source,,S", [3000]),
        ("psoas+multifidus,fat_fraction_signal,L3/4,each,axial,,,,1,,,,source,,S", [0.2]),
        ("vertebra,vertebra_height,L3,each,sagittal,,,,1,,,,source,,S", [27]),
        ("lamina,area,L3/4,each,axial,,,,1,,,,source,,S", []),
        ("psoas,length,L3/4,each,axial,,,,1,,,,source,,S", []),
    ],
)
def test_drawn_values_are_those_that_the_published_number_is_about(tmp_path, row, expected):
    assert sorted(drawn_values(published(tmp_path, row), AREAS)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("numbers", "values", "mean", "sd"),
    [
        ("100,20,,", [95, 125], "yes", "yes"),  # 110 ± 21
        ("100,20,,", [95, 127], "no", "yes"),
        ("100,20,,", [99, 101], "yes", "no"),
        ("100,,,", [95, 125], "yes", "-"),
        (",,90,110", [80, 100], "yes", "-"),
        (",,95,110", [80, 100], "no", "-"),
        ("100,20,,", [], "-", "-"),
    ],
)
def test_agreement_of_mean_and_spread(tmp_path, numbers, values, mean, sd):
    row = compare(published(tmp_path, f"psoas,area,L3/4,each,axial,,,,{numbers},source,,S"), values)
    assert (row["mean"], row["SD"]) == (mean, sd)


def case_table(dice):
    """Rows of (patient, level, structure, Dice) as a case table."""
    rows = [
        {"case": f"{p}{level}", "patient": p, "level": level, "slice": 0, "structure": s, "status": "scored", "dice": d}
        for p, level, s, d in dice
    ]
    return pd.DataFrame(rows)


def test_fattest_third_gap_compares_back_muscles_only():
    dice = [(p, "L3/4", s, d) for p, d in zip("abc", (0.9, 0.8, 0.94), strict=True) for s in ("multifidus_left",)]
    dice += [(p, "L3/4", "disc", d) for p, d in zip("abc", (0.1, 0.9, 0.5), strict=True)]
    assert fattest_third_gap(case_table(dice), {"a": 0.1, "b": 0.5, "c": 0.2}) == pytest.approx(0.92 - 0.8)


def test_level_correlation_is_the_mean_over_pairs_of_levels():
    upper, middle, lower = (0.7, 0.8, 0.9), (0.5, 0.6, 0.7), (0.9, 0.8, 0.7)
    rows = [
        (patient, level, "disc", values[number])
        for level, values in (("L2/3", upper), ("L3/4", middle), ("L4/5", lower))
        for number, patient in enumerate("abc")
    ]
    assert level_correlation(case_table(rows)) == pytest.approx((1 - 1 - 1) / 3)
    with pytest.raises(ValueError, match="2 patients at 3 levels"):
        level_correlation(case_table([row for row in rows if row[0] != "c"]))


def test_order_of_structures():
    dice = {"disc": 0.97, "psoas_left": 0.96, "multifidus_left": 0.9, "canal": 0.91, "lamina": 0.8, "mean": 0.9}
    assert group_dice(dice) == pytest.approx({"disc": 0.97, "muscles": 0.93, "canal": 0.91, "lamina": 0.8})
    assert order_margin(dice) == pytest.approx(0.02)
    assert order_margin({**dice, "lamina": 0.95}) == pytest.approx(-0.04)
    with pytest.raises(ValueError, match="no Dice of lamina"):
        order_margin({"disc": 1.0, "psoas_left": 0.9, "canal": 0.8})


def test_gates_pass_and_fail_at_their_limits():
    table = gate_table({"prior_dice": 0.70, "forest_dice": 0.851, "second_rater_dice": 0.92}).set_index("key")
    assert table["passed"].to_dict() == {"prior_dice": PASSED, "forest_dice": FAILED, "second_rater_dice": FAILED}
    assert table["expected"].tolist() == ["at most 70", "at most 85", "93 to 97"]
    assert table["measured"].tolist() == ["70.0", "85.1", "92.0"], "people read percent, the JSON file has shares"
    more = gate_table({"level_correlation": 0.5634, "seconds_per_320_slices": 20.14, "fattest_third_gap": 0.023})
    assert more["measured"].tolist() == ["2.3", "0.563", "20.1"]
    assert more["expected"].tolist() == ["at least 2", "0.3 to 0.6", "at most 30"]
    text = markdown("gates", dice_table({"prior_dice_by_structure": {"psoas_left": 0.5}}))
    assert text == "### Gates\n\n| structure, Dice % | prior |\n| --- | --- |\n| psoas left | 50.0 |\n"


def test_roughness_is_noise_over_signal_and_shading_is_back_over_front():
    rng = np.random.default_rng(0)
    ramp = np.linspace(100, 200, 120)[:, None] * np.ones(120)
    everywhere = np.ones((120, 120), bool)
    assert roughness(np.full((120, 120), 150.0) + rng.normal(0, 6, (120, 120)), everywhere) == pytest.approx(
        6 / 150, rel=0.05
    )
    assert roughness(ramp, everywhere) == pytest.approx(0, abs=1e-9)
    assert shading(ramp, everywhere) == pytest.approx((100 + 500 / 6) / (100 + 100 / 6), rel=0.02)
