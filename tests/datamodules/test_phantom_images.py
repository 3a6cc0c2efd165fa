from dataclasses import replace

import numpy as np
import pytest

from datamodules.phantom.acquisition import acquire
from datamodules.phantom.anatomy import section as section_of
from datamodules.phantom.body import Body
from datamodules.phantom.canvas import LABELS
from datamodules.phantom.patient import PARASPINAL
from datamodules.phantom.planning import placements
from datamodules.phantom.second_rater import second_rater
from datamodules.phantom.signal import Sequence
from datamodules.phantom.templates import NUM_LEVELS
from tests.made.phantom_slices import COARSE, drawn, examined, inside_ids, one_series

# --- second rater ---


@pytest.mark.slow
def test_second_rater_departs_farther_where_the_fascia_has_faded():
    examination = examined(COARSE, 1)

    def moved(contrast):
        patient = replace(examination.patient, fascia_contrast=np.full(NUM_LEVELS, contrast))
        body = Body(patient)
        found = []
        for placement in placements(replace(COARSE, size=200, spacing_mm=0.95), patient, body):
            plane = placement.plane(0)
            section = section_of(body, plane)
            again = second_rater(section, body, plane)
            muscles = [[LABELS[f"{m}_{side}"] for side in ("left", "right")] for m in ("multifidus", "erector_spinae")]
            swapped = [np.isin(section.labels, a) & np.isin(again, b) for a, b in (muscles, muscles[::-1])]
            found.append(sum(part.sum() for part in swapped))
        return np.sum(found)

    assert moved(0.03) > 1.3 * moved(1.0)


@pytest.mark.slow
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


@pytest.mark.parametrize("patient", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 2))])
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
