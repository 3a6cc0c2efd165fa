from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.phantom.acquisition import acquire
from datamodules.phantom.anatomy import section as section_of
from datamodules.phantom.block import Examination, plan, render, slice_plane
from datamodules.phantom.canvas import LABELS
from datamodules.phantom.muscles import _match_mean
from datamodules.phantom.noise import Plane, SpectralNoise
from datamodules.phantom.patient import draw_patient
from datamodules.phantom.signal import Sequence
from datamodules.phantom.surface import capsule_mm, through_contours
from datamodules.phantom.templates import ANCHOR_MM, AREA_MM2, contour_mm


def drawn(level, seed=0, patient=0, index=0, num_slices=1, size=100, spacing_mm=1.9):
    return render(Examination.of(seed, patient), level, index, num_slices=num_slices, size=size, spacing_mm=spacing_mm)


def axial_plane(z=0.0, size=64, spacing_mm=2.0):
    return Plane(
        origin=np.array([-size * spacing_mm / 2, -size * spacing_mm / 2, z]),
        row_step=np.array([0, spacing_mm, 0.0]),
        column_step=np.array([spacing_mm, 0, 0.0]),
        shape=(size, size),
    )


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
    anchor = np.tile(ANCHOR_MM[name], (4, 1))
    surface = through_contours(contour_mm(name), np.full(4, area), anchor_mm=anchor, side=side)
    x, y, _ = axial_plane(size=280, spacing_mm=1.0).coordinates()
    for level in (0.0, 1.5, 3.0):
        inside = surface.distance_mm(x, y, np.full_like(x, level)) < 0
        assert inside.sum() == pytest.approx(area, rel=0.06, abs=15)
    if name in ("psoas", "multifidus", "quadratus_lumborum"):
        assert np.sign(x[inside].mean()) == side


def test_absent_structure_encloses_nothing():
    area = np.array([400.0, 300.0, 0.0, 0.0])
    anchor = np.tile(ANCHOR_MM["quadratus_lumborum"], (4, 1))
    surface = through_contours(contour_mm("quadratus_lumborum"), area, anchor_mm=anchor)
    x, y, _ = axial_plane(size=280, spacing_mm=1.0).coordinates()
    assert not (surface.distance_mm(x, y, np.full_like(x, 2.0)) < 0).any()


def test_capsule_distance_by_hand():
    x, y = np.array([[0.0, 5.0, 12.0]]), np.array([[3.0, 0.0, 0.0]])
    np.testing.assert_allclose(capsule_mm(x, y, (0, 0), (10, 0), (1.0, 2.0)), [[2.0, -1.5, 0.0]])


# --- patient ---


def test_patient_is_a_function_of_seed_and_index():
    first, again, other = draw_patient(3, 7), draw_patient(3, 7), draw_patient(4, 7)
    assert first.area_mm2.keys() == again.area_mm2.keys()
    assert all(np.array_equal(first.area_mm2[name], again.area_mm2[name]) for name in first.area_mm2)
    assert first.weight_kg == again.weight_kg != other.weight_kg


def test_patients_have_the_published_sizes_and_share_effects_among_levels():
    patients = [draw_patient(0, index) for index in range(200)]
    for muscle in ("psoas", "multifidus", "erector_spinae"):
        area = np.array([[p.area_mm2[f"{muscle}_left"], p.area_mm2[f"{muscle}_right"]] for p in patients])
        np.testing.assert_allclose(area.mean(axis=(0, 1)), AREA_MM2[muscle], rtol=0.12)
        assert np.corrcoef(area[:, 0, 0], area[:, 0, 3])[0, 1] > 0.3
        relative = (area[:, 0] - area[:, 1]) / area.mean(axis=1)
        assert 0.05 < relative.std() < 0.15
    fat = np.array([p.fat["multifidus_left"] for p in patients])
    assert fat[:, 3].mean() > 1.3 * fat[:, 0].mean()
    assert np.corrcoef([p.age for p in patients], fat[:, 1])[0, 1] > 0.3
    assert all(p.area_mm2["quadratus_lumborum_left"][3] == 0 for p in patients)


# --- anatomy ---


@pytest.mark.parametrize("level", range(4))
def test_section_holds_every_organ_in_its_place(level):
    _, labels, fat = drawn(level)
    rows, columns = np.indices(labels.shape)

    def centre(name):
        where = labels == LABELS[name]
        assert where.any(), name
        return rows[where].mean(), columns[where].mean()

    # Rows run posterior, columns toward the patient's left.
    assert centre("disc")[0] < centre("dural_sac")[0] < centre("lamina")[0] < centre("multifidus_left")[0]
    for muscle in ("psoas", "multifidus", "erector_spinae"):
        assert centre(f"{muscle}_right")[1] < centre("dural_sac")[1] < centre(f"{muscle}_left")[1]
    assert centre("multifidus_left")[1] < centre("erector_spinae_left")[1]
    if level < 2:
        assert centre("vena_cava")[1] < centre("aorta")[1]
        assert centre("aorta")[0] < centre("disc")[0]
    assert np.isin(labels, [0, *LABELS.values()]).all()
    assert fat.min() >= 0
    assert fat.max() <= 1
    assert fat[labels == LABELS["subcutaneous_fat"]].mean() > 0.7


def test_quadratus_lumborum_is_an_upper_muscle():
    present = np.array(
        [
            [(drawn(level, patient=p)[1] == LABELS["quadratus_lumborum_left"]).any() for level in range(4)]
            for p in range(5)
        ]
    )
    assert present[:, 0].mean() >= 0.8
    assert not present[:, 3].any()


@pytest.mark.parametrize("level", range(4))
def test_drawn_areas_follow_the_patient(level):
    """On average over sides and patients: laminae, fascia and the bending of the body take or give a little."""
    ratios = {muscle: [] for muscle in ("psoas", "multifidus", "erector_spinae")}
    for index in range(4):
        area = np.bincount(drawn(level, patient=index)[1].ravel(), minlength=25) * 1.9**2
        wanted = Examination.of(0, index).patient.area_mm2
        for muscle, found in ratios.items():
            names = [f"{muscle}_left", f"{muscle}_right"]
            found.append(sum(area[LABELS[name]] for name in names) / sum(wanted[name][level] for name in names))
    assert {muscle: np.mean(found) for muscle, found in ratios.items()} == {
        muscle: pytest.approx(1, abs=0.15) for muscle in ratios
    }


def test_neighbouring_slices_agree_and_levels_do_not():
    lower, upper = (drawn(0, index=index, num_slices=2)[1] for index in (0, 1))
    far = drawn(3)[1]
    body = [LABELS[f"{m}_{s}"] for m in ("psoas", "erector_spinae") for s in ("left", "right")]

    def dice(a, b):
        a, b = np.isin(a, body), np.isin(b, body)
        return 2 * (a & b).sum() / (a.sum() + b.sum())

    assert dice(lower, upper) > 0.93
    assert dice(lower, far) < 0.8
    assert not np.array_equal(lower, upper)


@settings(deadline=None, max_examples=20)
@given(mean=st.floats(0.03, 0.7), seed=st.integers(0, 1000))
def test_fat_pattern_has_the_mean_that_was_asked_for(mean, seed):
    field = np.random.default_rng(seed).normal(size=(40, 40))
    inside = np.ones_like(field, dtype=bool)
    pattern = _match_mean(field, inside, mean)
    assert pattern.mean() == pytest.approx(mean, rel=0.15)
    assert pattern[field.argmax() // 40, field.argmax() % 40] == pattern.max()


# --- signal and acquisition ---


def test_turbo_spin_echo_signal_by_hand():
    values = {"fat": (1.0, 371.0, 133.0), "csf": (1.08, 4273.0, 1578.0), "muscle": (1.0, 1412.0, 33.0)}
    sequence = Sequence(repetition_ms=4000.0, echo_ms=110.0, values=values)
    assert sequence.signal("fat") == pytest.approx(0.437, abs=0.001)
    assert sequence.signal("csf") == pytest.approx(0.613, abs=0.002)
    assert sequence.signal("muscle") == pytest.approx(0.0336, abs=0.0005)


@pytest.mark.parametrize("patient", range(3))
def test_order_of_brightness_is_that_of_t2(patient):
    image, labels, fat = drawn(1, patient=patient, size=320, spacing_mm=0.6)
    lean = np.isin(labels, [LABELS["multifidus_left"], LABELS["multifidus_right"]]) & (fat < 0.1)
    sac = np.percentile(image[labels == LABELS["dural_sac"]], 80)
    muscle = np.median(image[lean])
    assert sac > 2.5 * muscle
    assert np.median(image[labels == LABELS["subcutaneous_fat"]]) > 3 * muscle
    assert Examination.of(0, patient).sequence.signal("fat") / Examination.of(0, patient).sequence.signal(
        "muscle"
    ) == pytest.approx(6, abs=2.8)


def test_noise_is_rician_with_the_stated_snr():
    examination = Examination.of(0, 0)
    plane = slice_plane(examination.body, plan(examination.patient, 1), 1, 0.0, 160, 1.2)
    section = section_of(examination.body, plane)
    nothing = np.zeros(section.fat.shape, np.float32)
    scanner = replace(examination.scanner, snr=10.0, scale=1e5)
    image = acquire(
        nothing,
        nothing,
        section=section,
        plane=plane,
        scanner=scanner,
        muscle_signal=0.08,
        rng=np.random.default_rng(0),
    )
    # Pure noise of standard deviation s has the mean s * sqrt(pi / 2); s = muscle / SNR.
    assert image.mean() == pytest.approx(0.08 / 10 * 1e5 * np.sqrt(np.pi / 2), rel=0.01)
