from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.phantom.acquisition import acquire
from datamodules.phantom.anatomy import section as section_of
from datamodules.phantom.anatomy import with_fat_labels
from datamodules.phantom.canvas import LABELS
from datamodules.phantom.muscles import _rise, _threshold
from datamodules.phantom.noise import Plane, SpectralNoise
from datamodules.phantom.patient import PARASPINAL, draw_patient
from datamodules.phantom.planning import placements
from datamodules.phantom.series import Examination, patient_series, render
from datamodules.phantom.settings import PhantomSettings, Population
from datamodules.phantom.signal import Sequence
from datamodules.phantom.surface import capsule_mm, through_contours
from datamodules.phantom.templates import ANCHOR_MM, AREA_MM2, LEVELS, NUM_LEVELS, contour_mm

COARSE = PhantomSettings(num_patients=20, size=100, spacing_mm=1.9)
SAGITTAL = PhantomSettings(num_patients=20, view="sagittal", size=180, spacing_mm=1.6)
examined = lru_cache(Examination.of)
DISC_IDS = [LABELS[name] for name in LEVELS]


def drawn(level, patient=0, index=0, **settings):
    """Image, labels and fat map of one slice through a disc."""
    cohort = replace(COARSE, levels=(level,), **settings)
    examination = examined(cohort, patient)
    placement = next(placements(cohort, examination.patient, examination.body))
    images, labels, _, fat = render(examination, placement, LEVELS.index(level), index)
    return images["T2"], labels, fat


def one_series(settings, patient=0):
    return next(patient_series(settings, patient))


def axial_plane(z=0.0, size=64, spacing_mm=2.0):
    return Plane(
        origin=np.array([-size * spacing_mm / 2, -size * spacing_mm / 2, z]),
        row_step=np.array([0, spacing_mm, 0.0]),
        column_step=np.array([spacing_mm, 0, 0.0]),
        shape=(size, size),
    )


def inside_ids(labels, name):
    """Pixels of a structure, the fat of a muscle and every disc included."""
    if name == "disc":
        return np.isin(labels, DISC_IDS)
    muscle, _, side = name.rpartition("_")
    return np.isin(labels, [LABELS[name], LABELS[f"{muscle}_fat_{side}"] if name in PARASPINAL else LABELS[name]])


# --- random fields and surfaces ---


def test_noise_has_unit_variance_and_is_one_field_in_three_dimensions():
    noise = SpectralNoise.draw(np.random.default_rng(0), wavelength_mm=(20.0, 60.0), num_waves=200)
    assert noise.on(axial_plane(size=512)).std() == pytest.approx(1, abs=0.15)
    sagittal = Plane(
        origin=np.array([-64.0, -64.0, 8.0]),
        row_step=np.array([0.0, 0.0, -2.0]),
        column_step=np.array([0.0, 2.0, 0.0]),
        shape=(9, 64),
    )
    # The two planes meet in a line; damping by pixel size differs a little between them.
    np.testing.assert_allclose(noise.on(axial_plane())[:, 0], noise.on(sagittal)[4], atol=0.1)


@settings(deadline=None, max_examples=20)
@given(name=st.sampled_from(sorted(ANCHOR_MM)), area=st.floats(100, 2500), side=st.sampled_from([1, -1]))
def test_surface_encloses_its_area_on_its_side(name, area, side):
    anchor = np.tile(ANCHOR_MM[name], (NUM_LEVELS, 1))
    surface = through_contours(contour_mm(name), np.full(NUM_LEVELS, area), anchor_mm=anchor, side=side)
    x, y, _ = axial_plane(size=280, spacing_mm=1.0).coordinates()
    for level in (0.0, 2.5, 5.0):
        inside = surface.distance_mm(x, y, np.full_like(x, level)) < 0
        assert inside.sum() == pytest.approx(area, rel=0.06, abs=15)
    if name in ("psoas", "multifidus", "quadratus_lumborum"):
        assert np.sign(x[inside].mean()) == side


def test_absent_structure_encloses_nothing():
    area = np.array([400.0, 400.0, 400.0, 300.0, 0.0, 0.0, 0.0])
    anchor = np.tile(ANCHOR_MM["quadratus_lumborum"], (NUM_LEVELS, 1))
    surface = through_contours(contour_mm("quadratus_lumborum"), area, anchor_mm=anchor)
    x, y, _ = axial_plane(size=280, spacing_mm=1.0).coordinates()
    assert not (surface.distance_mm(x, y, np.full_like(x, 4.0)) < 0).any()


def test_capsule_distance_by_hand():
    x, y = np.array([[0.0, 5.0, 12.0]]), np.array([[3.0, 0.0, 0.0]])
    np.testing.assert_allclose(capsule_mm(x, y, (0, 0), (10, 0), (1.0, 2.0)), [[2.0, -1.5, 0.0]])


# --- the curved spine ---


@settings(deadline=None, max_examples=15)
@given(
    patient=st.integers(0, 30),
    level=st.floats(0.0, 5.5),
    across=st.floats(-45, 45),
    behind=st.floats(-40, 38),
)
def test_place_on_the_spine_and_position_are_inverse(patient, level, across, behind):
    spine = examined(COARSE, patient).body.spine
    x, y, z = (np.array([[value]]) for value in spine.point(level, across, behind))
    found_across, found_behind, found_level = spine.locate(x, y, z)
    assert found_level.item() == pytest.approx(level, abs=0.06)
    assert found_across.item() == pytest.approx(across, abs=1.0)
    assert found_behind.item() == pytest.approx(behind, abs=2.0)


@pytest.mark.parametrize("patient", range(6))
def test_discs_lie_at_their_distances_down_a_lordotic_curve(patient):
    examination = examined(COARSE, patient)
    discs = np.array([examination.body.spine.point(disc, 0.0, -16.5) for disc in range(NUM_LEVELS)])
    steps = np.linalg.norm(np.diff(discs[:, 1:], axis=0), axis=1)
    np.testing.assert_allclose(steps, examination.patient.skeleton.gap_mm, rtol=0.05)
    assert (np.diff(discs[:, 2]) < -15).all()
    tilts = [examination.body.spine.tilt_at(disc) for disc in (1, 5)]
    assert np.degrees(tilts[1] - tilts[0]) > 15


def test_levels_never_fold_behind_the_spine():
    """Down any line in front of or behind the spine the level grows, or structures would appear twice."""
    for patient in range(8):
        level = examined(COARSE, patient).body.spine.level_of  # over y, and z upward
        assert (np.diff(level, axis=1) <= 1e-6).all()


def test_axial_and_sagittal_pictures_show_one_body():
    """The labels of a sagittal slice and of an axial block agree along the line in which they meet."""
    examination = examined(COARSE, 1)
    spine = examination.body.spine
    middle = spine.point(3, 0.0, 10.0)
    step, size = 1.0, 81
    down = Plane(  # the column x = middle of each plane is the same line, backward through disc L3/4
        origin=middle + np.array([0, -40.0, 40.0]),
        row_step=np.array([0, 0, -step]),
        column_step=np.array([0, step, 0.0]),
        shape=(size, size),
    )
    flat = Plane(
        origin=middle + np.array([-40.0, -40.0, 0]),
        row_step=np.array([0, step, 0.0]),
        column_step=np.array([step, 0, 0.0]),
        shape=(size, size),
    )
    sagittal, axial = section_of(examination.body, down), section_of(examination.body, flat)
    along, same = sagittal.labels[40], axial.labels[:, 40]
    assert (along == same).mean() > 0.9
    assert len(np.unique(along)) >= 4
    np.testing.assert_allclose(sagittal.fat[40], axial.fat[:, 40], atol=0.35)


# --- patient ---


def test_patient_is_a_function_of_seed_and_index():
    first, again, other = (draw_patient(seed, 7, Population()) for seed in (3, 3, 4))
    assert first.area_mm2.keys() == again.area_mm2.keys()
    assert all(np.array_equal(first.area_mm2[name], again.area_mm2[name]) for name in first.area_mm2)
    assert first.weight_kg == again.weight_kg != other.weight_kg


def test_patients_have_the_published_sizes_and_share_effects_among_levels():
    patients = [draw_patient(0, index, Population()) for index in range(200)]
    for muscle in ("psoas", "multifidus", "erector_spinae"):
        area = np.array([[p.area_mm2[f"{muscle}_left"], p.area_mm2[f"{muscle}_right"]] for p in patients])
        np.testing.assert_allclose(area.mean(axis=(0, 1)), AREA_MM2[muscle], rtol=0.12)
        assert np.corrcoef(area[:, 0, 2], area[:, 0, 5])[0, 1] > 0.3
        relative = (area[:, 0] - area[:, 1]) / area.mean(axis=1)
        assert 0.05 < relative.std() < 0.15
    fat = np.array([p.fat["multifidus_left"] for p in patients])
    assert fat[:, 5].mean() > 1.3 * fat[:, 2].mean()
    assert np.corrcoef([p.age for p in patients], fat[:, 3])[0, 1] > 0.3
    assert all(p.area_mm2["quadratus_lumborum_left"][5] == 0 for p in patients)


def test_some_spines_are_miscounted_bent_or_wedged_and_most_are_not():
    skeletons = [draw_patient(0, index, Population()).skeleton for index in range(400)]
    assert 0.05 < np.mean([bool(s.variant) for s in skeletons]) < 0.11
    assert 0.06 < np.mean([s.scoliosis_deg > 10 for s in skeletons]) < 0.2
    assert 0.01 < np.mean([(s.compression > 0).any() for s in skeletons]) < 0.2
    sacralised = next(s for s in skeletons if s.variant == "sacralised_L5")
    assert sacralised.disc_height_mm[5] < 0.6 * sacralised.disc_height_mm[3]


@settings(deadline=None, max_examples=20)
@given(low=st.floats(0.05, 0.65), width=st.floats(0, 0.1), patient=st.integers(0, 50))
def test_population_sets_sex_age_and_fat(low, width, patient):
    population = Population(sex="M", age_mean=25, age_sd=5, age_min=18, age_max=35, muscle_fat=(low, low + width))
    drawn_patient = draw_patient(0, patient, population)
    assert drawn_patient.sex == "M"
    assert 18 <= drawn_patient.age <= 35
    assert low - 0.01 <= drawn_patient.back_fat <= low + width + 0.01


# --- anatomy ---


@pytest.mark.parametrize("level", LEVELS[2:6])
def test_section_holds_every_organ_in_its_place(level):
    _, labels, fat = drawn(level)
    rows, columns = np.indices(labels.shape)

    def centre(name):
        where = inside_ids(labels, name)
        assert where.any(), name
        return rows[where].mean(), columns[where].mean()

    # Rows run posterior, columns toward the patient's left.
    assert centre("disc")[0] < centre("dural_sac")[0] < centre("lamina")[0] < centre("multifidus_left")[0]
    for muscle in ("psoas", "multifidus", "erector_spinae"):
        assert centre(f"{muscle}_right")[1] < centre("dural_sac")[1] < centre(f"{muscle}_left")[1]
    assert centre("multifidus_left")[1] < centre("erector_spinae_left")[1]
    assert (labels == LABELS[level]).sum() > 0.95 * np.isin(labels, DISC_IDS).sum()
    if level in ("L2/3", "L3/4"):
        assert centre("vena_cava")[1] < centre("aorta")[1]
        assert centre("aorta")[0] < centre("disc")[0]
    assert np.isin(labels, [0, *LABELS.values()]).all()
    assert fat.min() >= 0
    assert fat.max() <= 1
    assert fat[labels == LABELS["subcutaneous_fat"]].mean() > 0.7


def test_quadratus_lumborum_is_an_upper_muscle():
    present = {
        level: [(drawn(level, patient=p)[1] == LABELS["quadratus_lumborum_left"]).any() for p in range(5)]
        for level in ("L2/3", "L5/S1")
    }
    assert np.mean(present["L2/3"]) >= 0.8
    assert not any(present["L5/S1"])


@pytest.mark.parametrize("level", LEVELS[2:6])
def test_drawn_areas_and_fat_follow_the_patient(level):
    """On average over sides and patients: laminae, fascia and the bending of the body take or give a little."""
    ratios = {muscle: [] for muscle in ("psoas", "multifidus", "erector_spinae")}
    fat_ratios = {muscle: [] for muscle in ("multifidus", "erector_spinae")}
    disc = LEVELS.index(level)
    for index in range(5):
        _, labels, fat = drawn(level, patient=index, size=200, spacing_mm=0.95)
        patient = examined(COARSE, index).patient
        for muscle, found in ratios.items():
            names = [f"{muscle}_left", f"{muscle}_right"]
            inside = [inside_ids(labels, name) for name in names]
            found.append(sum(i.sum() for i in inside) * 0.95**2 / sum(patient.area_mm2[n][disc] for n in names))
            if muscle in fat_ratios:
                wanted = np.mean([patient.fat[name][disc] for name in names])
                fat_ratios[muscle].append(fat[inside[0] | inside[1]].mean() / wanted)
    assert {muscle: np.mean(found) for muscle, found in ratios.items()} == {
        muscle: pytest.approx(1, abs=0.15) for muscle in ratios
    }
    assert {muscle: np.mean(found) for muscle, found in fat_ratios.items()} == {
        muscle: pytest.approx(1.1, abs=0.25) for muscle in fat_ratios
    }


@pytest.mark.parametrize("level", LEVELS[2:6])
def test_every_slice_through_a_disc_shows_a_lamina_and_both_joints(level):
    """Just above and just below the middle of the disc alike: they belong to the vertebrae on either side."""
    for patient in range(10):
        labels = drawn(level, patient=patient)[1]
        assert (labels == LABELS["lamina"]).sum() * 1.9**2 > 100, patient
        assert (labels == LABELS["articular_process"]).sum() * 1.9**2 > 20, patient


def test_neighbouring_slices_agree_and_levels_do_not():
    lower, upper = (drawn("L2/3", index=index, slices_per_level=2)[1] for index in (0, 1))
    far = drawn("L5/S1")[1]
    names = [f"{m}_{s}" for m in ("psoas", "erector_spinae") for s in ("left", "right")]

    def dice(a, b):
        a, b = (np.any([inside_ids(labels, name) for name in names], axis=0) for labels in (a, b))
        return 2 * (a & b).sum() / (a.sum() + b.sum())

    assert dice(lower, upper) > 0.93
    assert dice(lower, far) < 0.8
    assert not np.array_equal(lower, upper)


def test_fatty_pixels_of_a_back_muscle_have_their_own_id():
    labels = np.array([[LABELS["multifidus_left"], LABELS["multifidus_left"], LABELS["psoas_left"], 0]], np.uint8)
    parted = with_fat_labels(labels, np.array([[0.4, 0.6, 0.9, 0.9]]))
    expected = [LABELS["multifidus_left"], LABELS["multifidus_fat_left"], LABELS["psoas_left"], 0]
    assert parted.tolist() == [expected]


@settings(deadline=None, max_examples=20)
@given(mean=st.floats(0.03, 0.7), seed=st.integers(0, 1000))
def test_fat_pattern_has_the_mean_that_was_asked_for(mean, seed):
    field = np.random.default_rng(seed).normal(size=1600)
    assert 0.92 * _rise(field, _threshold(field, mean)).mean() == pytest.approx(mean, rel=0.01)


# --- sagittal series ---


def test_sagittal_slice_numbers_vertebrae_and_discs_from_above():
    series = one_series(SAGITTAL, patient=2)
    labels = series.labels[0]
    rows = np.indices(labels.shape)[0]
    names = ["L1", "L1/2", "L2", "L2/3", "L3", "L3/4", "L4", "L4/5", "L5", "L5/S1"]
    centres = [rows[labels == LABELS[name]].mean() for name in names]
    assert (np.diff(centres) > 0).all()
    columns = np.indices(labels.shape)[1]
    # Anterior is on the left of the array: bodies, then canal, then laminae.
    assert columns[labels == LABELS["L3"]].mean() < columns[labels == LABELS["dural_sac"]].mean()
    assert columns[labels == LABELS["dural_sac"]].mean() < columns[labels == LABELS["lamina"]].mean()


@pytest.mark.parametrize("patient", range(8))
def test_keypoints_lie_in_their_structure_and_hidden_ones_are_left_out(patient):
    series = one_series(SAGITTAL, patient)
    found = {}
    for name, number, column, row in series.keypoints:
        found[name] = (column, row)
        assert series.labels[number, round(row), round(column)] == LABELS[name]
    for name in ("L1", "L2", "L3", "L4", "L5", "L3/4"):
        inside = series.labels[series.labels.shape[0] // 2] == LABELS[name]
        whole = not (inside[[0, -1]].any() or inside[:, [0, -1]].any())
        assert (name in found) == (whole and inside.sum() * 1.6**2 >= 30)


def test_direction_of_a_sagittal_series_is_a_rotation_and_runs_back_and_down():
    series = one_series(replace(SAGITTAL, num_slices=(3, 3)))
    axes = np.array(series.direction).reshape(3, 3)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes[1, 0] > 0.99  # columns run posterior
    assert axes[2, 1] < -0.99  # rows run down
    assert series.labels.shape[0] == 3


def test_lengths_and_areas_are_those_of_volunteers():
    rows = [row for patient in range(12) for row in one_series(SAGITTAL, patient).measurements]

    def mean(structure, quantity):
        return np.mean([r["value"] for r in rows if (r["structure"], r["quantity"]) == (structure, quantity)])

    assert mean("L3", "vertebra_height") == pytest.approx(26.8, abs=1.7)
    assert mean("L3", "vertebra_depth") == pytest.approx(32.4, abs=2.6)
    assert mean("L3", "area") == pytest.approx(841, abs=100)
    assert mean("L1-S1", "lordosis") == pytest.approx(45, abs=11)


# --- second rater ---


def test_second_rater_agrees_well_but_not_wholly_and_worse_with_more_noise():
    def dice(patient, name):
        series = one_series(replace(COARSE, levels=("L4/5",), size=200, spacing_mm=0.95), patient)
        first, second = (inside_ids(labels, name) for labels in (series.labels, series.second_rater))
        return 2 * (first & second).sum() / (first.sum() + second.sum()), series.factors["rater_noise"]

    found = np.array([dice(patient, "multifidus_left") for patient in range(8)])
    assert 0.9 < found[:, 0].mean() < 0.98
    assert found[:, 0].max() < 1
    assert np.corrcoef(found.T)[0, 1] < 0


# --- signal and acquisition ---


def test_turbo_spin_echo_signal_by_hand():
    values = {"fat": (1.0, 371.0, 133.0), "csf": (1.08, 4273.0, 1578.0), "muscle": (1.0, 1412.0, 33.0)}
    sequence = Sequence(repetition_ms=4000.0, echo_ms=110.0, values=values)
    assert sequence.signal("fat") == pytest.approx(0.437, abs=0.001)
    assert sequence.signal("csf") == pytest.approx(0.613, abs=0.002)
    assert sequence.signal("muscle") == pytest.approx(0.0336, abs=0.0005)


@pytest.mark.parametrize("patient", range(3))
def test_order_of_brightness_is_that_of_t2(patient):
    image, labels, fat = drawn("L3/4", patient=patient, size=320, spacing_mm=0.6)
    lean = np.isin(labels, [LABELS["multifidus_left"], LABELS["multifidus_right"]]) & (fat < 0.1)
    sac = np.percentile(image[labels == LABELS["dural_sac"]], 80)
    muscle = np.median(image[lean])
    assert sac > 2.5 * muscle
    assert np.median(image[labels == LABELS["subcutaneous_fat"]]) > 3 * muscle
    sequence = examined(COARSE, patient).sequence
    assert sequence.signal("fat") / sequence.signal("muscle") == pytest.approx(6, abs=2.8)


def test_contrast_turns_csf_dark_on_t1():
    signals = {c: examined(replace(COARSE, contrast=c), 0).sequence for c in ("T1", "T2")}
    assert signals["T2"].signal("csf") > 3 * signals["T2"].signal("muscle")
    assert signals["T1"].signal("csf") < signals["T1"].signal("muscle") < signals["T1"].signal("fat")


def test_dixon_parts_water_from_fat():
    series = one_series(replace(COARSE, levels=("L3/4",), contrast="dixon"), 1)
    subcutaneous = series.labels == LABELS["subcutaneous_fat"]
    lean = (series.labels == LABELS["multifidus_left"]) & (series.fat < 0.1)
    water, fat = series.images["water"].astype(float), series.images["fat"].astype(float)
    assert np.median(fat[subcutaneous]) > 3 * np.median(water[subcutaneous])
    assert np.median(water[lean]) > 3 * np.median(fat[lean])
    back = np.any([inside_ids(series.labels, name) for name in PARASPINAL], axis=0)
    # Fat is a little brighter than muscle even when weighted by density, so the signal fraction reads high.
    assert 1.0 < (fat[back] / (fat + water)[back]).mean() / series.fat[back].mean() < 1.6


def test_noise_is_rician_with_the_stated_snr():
    examination = examined(COARSE, 0)
    plane = next(placements(COARSE, examination.patient, examination.body)).plane(0)
    section = section_of(examination.body, plane)
    nothing = np.zeros(section.fat.shape, np.float32)
    image = acquire(
        nothing,
        nothing,
        section=section,
        plane=plane,
        scanner=replace(examination.scanner, snr=10.0, scale=1e5),
        muscle_signal=0.08,
        rng=np.random.default_rng(0),
    )["image"]
    # Pure noise of standard deviation s has the mean s * sqrt(pi / 2); s = muscle / SNR.
    assert image.mean() == pytest.approx(0.08 / 10 * 1e5 * np.sqrt(np.pi / 2), rel=0.01)
