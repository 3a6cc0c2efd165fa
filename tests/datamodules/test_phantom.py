import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.phantom.anatomy import section as section_of
from datamodules.phantom.noise import Plane, SpectralNoise
from datamodules.phantom.patient import draw_patient
from datamodules.phantom.settings import Population
from datamodules.phantom.surface import capsule_mm, through_contours
from datamodules.phantom.templates import ANCHOR_MM, AREA_MM2, NUM_LEVELS, contour_mm
from tests.made.phantom_slices import COARSE, axial_plane, examined

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
