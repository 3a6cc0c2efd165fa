from collections import Counter
from dataclasses import replace

import pytest

from datamodules.phantom import PhantomSettings, Population

BLOCKS = PhantomSettings(num_patients=6)
SAGITTAL = PhantomSettings(num_patients=6, view="sagittal", size=300, spacing_mm=0.8)
DEALT = {"L2/3": 3, "L3/4": 4, "L4/5": 6, "L5/S1": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_patients": 0}, "num_patients is 0"),
        ({"num_patients": 2.5}, "num_patients is 2.5"),
        ({"seed": -1}, "seed is -1"),
        ({"slices_per_level": 0}, "slices_per_level is 0"),
        ({"slices_per_level": 20}, "slices_per_level 20 .*76 mm, expected at most 60"),
        ({"slice_distance_mm": -4}, "slice_distance_mm is -4"),
        ({"size": -3}, "size is -3"),
        ({"size": True}, "size is True"),
        ({"spacing_mm": 0.0}, "spacing_mm is 0.0"),
        ({"spacing_mm": float("nan")}, "spacing_mm is nan"),
        ({"spacing_mm": 12.0}, "spacing_mm is 12.0"),
        ({"spacing_mm": "wide"}, "spacing_mm is 'wide'"),
        ({"view": "coronal"}, "view is 'coronal', expected one of axial_blocks"),
        ({"contrast": "T3"}, "contrast is 'T3', expected one of T2"),
        ({"levels": ("L2/3", "L6/S1")}, "levels are .*L6/S1.*expected some of T12/L1"),
        ({"levels": ()}, "levels are"),
        ({"levels": ("L2/3", "L2/3")}, "each once"),
        ({"size": 64, "spacing_mm": 0.6}, "size 64 at spacing_mm 0.6 shows 38 mm, .*150 mm; raise size"),
        ({"slices_at_levels": {"L2/3": 6}}, "slices_at_levels names L2/3, levels are"),
        ({"slices_at_levels": {**DEALT, "L4/5": 7}}, r"slices_at_levels\[L4/5\] is 7, but 6 patients"),
        ({"slices_at_levels": {**DEALT, "L4/5": 0}}, r"slices_at_levels\[L4/5\] is 0"),
        ({"slices_at_levels": dict.fromkeys(DEALT, 1)}, "are 4 slices, too few for 6 patients"),
        ({"slices_at_levels": DEALT, "slices_per_level": 2}, "slices_per_level is 2, but slices_at_levels"),
        ({"num_slices": (2, 5)}, "num_slices belongs to view axial_stack or sagittal, the view is axial_blocks"),
        ({"masked_patients": 3}, "masked_patients belongs to view sagittal"),
        ({"weak_contrast": "T1"}, "weak_contrast belongs to view sagittal"),
        ({"body": "half"}, "body is 'half', expected one of posterior, whole"),
        ({"field_mm": (420, 300)}, r"field_mm is \[420, 300\], expected \[lower, upper\]"),
        ({"field_mm": (100, 300)}, r"field_mm \[100.0, 300.0\] shows 100 mm, .*150 mm; raise it"),
        ({"field_mm": (300, 420), "spacing_mm": 1.0}, "field_mm and spacing_mm both say"),
        ({"offset_mm": 80}, "offset_mm is 80"),
        ({"tilt_share": (0.0, 9.0)}, "tilt_share is 9.0"),
        ({"view": "axial_stack", "tilt_share": (0, 1)}, "tilt_share belongs to view axial_blocks"),
        ({"view": "axial_stack", "slices_per_level": 2}, "slices_per_level belongs to view axial_blocks"),
        ({"view": "axial_stack", "levels": ("L3/4",)}, "levels belongs to view axial_blocks"),
    ],
)
def test_impossible_settings_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        replace(BLOCKS, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 240}, "shows 192 mm, the lumbar spine needs 200 mm"),
        ({"num_slices": (0, 3)}, "num_slices is 0"),
        ({"num_slices": (5, 3)}, r"num_slices is \[5, 3\]"),
        ({"num_slices": 3}, "num_slices is 3, expected two"),
        ({"num_slices": (5, 50)}, "num_slices 50 .* at most 150 mm"),
        ({"masked_patients": 7}, "masked_patients is 7, more than num_patients 6"),
        ({"masked_patients": -1}, "masked_patients is -1"),
        ({"weak_contrast": "T1"}, "say by masked_patients"),
        ({"masked_patients": 2, "weak_contrast": "T7"}, "weak_contrast is 'T7'"),
        ({"masked_patients": 2, "weak_contrast": "dixon"}, "dixon has two images"),
        ({"masked_patients": 2, "weak_spacing_mm": 0.0}, "weak_spacing_mm is 0.0"),
        ({"masked_patients": 2, "weak_spacing_mm": 0.5}, "weak_spacing_mm 0.5 shows 150 mm"),
    ],
)
def test_impossible_sagittal_settings_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SAGITTAL, **change)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sex": "male"}, "population.sex is 'male', expected one of any, F, M"),
        ({"age_sd": -2}, "population.age_sd is -2"),
        ({"age_min": 0}, "population.age_min is 0"),
        ({"age_max": 400}, "population.age_max is 400"),
        ({"age_min": 60, "age_max": 30}, "age_min 60, age_mean 52, age_max 30, expected in ascending order"),
        ({"muscle_fat": (0.2, 1.2)}, "population.muscle_fat is 1.2"),
        ({"muscle_fat": (0.4, 0.2)}, r"population.muscle_fat is \[0.4, 0.2\]"),
        ({"muscle_fat": 0.3}, "population.muscle_fat is 0.3, expected two"),
    ],
)
def test_impossible_populations_are_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        Population(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_patient": 3}, "unknown setting num_patient; known are num_patients"),
        ({"population": {"gender": "F"}}, "unknown setting population.gender; known are sex"),
        ({"population": "F"}, "population is 'F'"),
    ],
)
def test_unknown_settings_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        PhantomSettings.from_mapping(values)


def test_settings_name_the_cohort():
    changes = [{}, {"seed": 1}, {"size": 300}, {"population": Population(sex="F")}, {"levels": ("L4/5",)}]
    assert len({replace(BLOCKS, **change).digest for change in changes}) == len(changes)
    from_yaml = PhantomSettings.from_mapping(
        {"num_patients": 6, "levels": ["L2/3", "L3/4", "L4/5", "L5/S1"], "population": {"age_mean": 52}}
    )
    assert from_yaml == BLOCKS
    assert from_yaml.digest == BLOCKS.digest


@pytest.mark.parametrize("seed", [0, 1])
def test_single_slices_are_dealt_to_every_patient_and_no_level_twice(seed):
    settings = replace(BLOCKS, slices_at_levels=DEALT, seed=seed)
    levels = [settings.levels_of(index) for index in range(6)]
    assert Counter(level for dealt in levels for level in dealt) == DEALT
    assert sorted(map(len, levels)) == [2, 2, 2, 3, 3, 3]
    assert all(len(set(dealt)) == len(dealt) for dealt in levels)
    assert levels != [replace(settings, seed=2).levels_of(index) for index in range(6)]
    assert levels == [settings.levels_of(index) for index in range(6)]


def test_patients_without_masks_may_be_on_another_scanner():
    settings = replace(SAGITTAL, masked_patients=4, weak_contrast="T1", weak_spacing_mm=0.9)
    facts = [
        (settings.has_masks(i), settings.contrast_of(i), settings.spacing_of(i), settings.site_of(i)) for i in (3, 4)
    ]
    assert facts == [(True, "T2", 0.8, "scanner_1"), (False, "T1", 0.9, "scanner_2")]
    same = replace(SAGITTAL, masked_patients=4)
    assert (same.contrast_of(5), same.spacing_of(5), same.site_of(5)) == ("T2", 0.8, "scanner_1")
    assert SAGITTAL.has_masks(5)


def test_settings_younger_than_a_cohort_leave_its_name_and_its_card_alone():
    assert PhantomSettings().digest == "27f2ecc5521e"
    younger = {"body": "whole", "field_mm": [300, 420], "offset_mm": 4, "tilt_share": [0, 1]}
    assert not set(younger) & set(BLOCKS.written)
    changed = PhantomSettings.from_mapping({**BLOCKS.written, **younger})
    assert set(changed.written) - set(BLOCKS.written) == set(younger)
    assert PhantomSettings.from_mapping(changed.written) == changed
    assert changed.digest != BLOCKS.digest


def test_a_range_of_fields_gives_every_patient_a_pixel():
    settings = replace(BLOCKS, field_mm=(300, 420), size=300)
    pixels = [settings.spacing_of(index) for index in range(50)]
    assert 1.0 <= min(pixels) < 1.05 < 1.35 < max(pixels) <= 1.4
    assert pixels == [settings.spacing_of(index) for index in range(50)]
