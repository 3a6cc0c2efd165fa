"""Coarse slices of the phantom that its tests share."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from datamodules.phantom.canvas import LABELS
from datamodules.phantom.noise import Plane
from datamodules.phantom.patient import PARASPINAL
from datamodules.phantom.planning import placements
from datamodules.phantom.series import Examination, patient_series, render
from datamodules.phantom.settings import PhantomSettings
from datamodules.phantom.templates import LEVELS

COARSE = PhantomSettings(num_patients=20, size=100, spacing_mm=1.9)
SAGITTAL = PhantomSettings(num_patients=20, view="sagittal", size=180, spacing_mm=1.6)
examined = lru_cache(Examination.of)
DISC_IDS = [LABELS[name] for name in LEVELS]


@lru_cache
def drawn(level, patient=0, index=0, **settings):
    """Image, labels and fat map of one slice through a disc, which is drawn once and cannot be changed."""
    cohort = replace(COARSE, levels=(level,), **settings)
    examination = examined(cohort, patient)
    placement = next(placements(cohort, examination.patient, examination.body))
    images, labels, _, fat, _ = render(examination, placement, LEVELS.index(level), index)
    for array in (images["T2"], labels, fat):
        array.flags.writeable = False
    return images["T2"], labels, fat


@lru_cache
def one_series(settings, patient=0):
    """The first series of a patient, which is drawn once."""
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
