"""A second rater: the same structures, their borders displaced smoothly."""

import numpy as np
from jaxtyping import UInt8
from scipy.ndimage import gaussian_filter

from datamodules.phantom.body import Body
from datamodules.phantom.canvas import LABELS, Section
from datamodules.phantom.noise import Plane
from datamodules.phantom.patient import MUSCLES, SIDES
from datamodules.phantom.templates import LEVELS, VERTEBRAE

Array = np.ndarray
# Standard deviation of a border, mm: what is sharp, muscle, and more where the fascia has faded. Rest: ours.
_SHARP_MM, _MUSCLE_MM, _FADED_MM, _REST_MM = 0.5, 1.0, 1.0, 0.6
_MIX_MM = 2.0  # over which one amplitude passes into the next

_AMPLITUDE_MM = np.full(len(LABELS) + 1, _REST_MM, np.float32)
for _name in (*VERTEBRAE, *LEVELS, "dural_sac", "epidural_space", "ligamentum_flavum", "lamina", "articular_process"):
    _AMPLITUDE_MM[LABELS[_name]] = _SHARP_MM
for _name in MUSCLES:
    for _side in SIDES:
        _AMPLITUDE_MM[LABELS[f"{_name}_{_side}"]] = _MUSCLE_MM


def second_rater(section: Section, body: Body, plane: Plane) -> UInt8[Array, "h w"]:
    """What a second rater draws on a section.

    Every border moves by a field that is smooth in three dimensions, with the standard deviations above times the
    patient's `rater_noise`.
    """
    amplitude = gaussian_filter(_AMPLITUDE_MM[section.labels], _MIX_MM / plane.pixel_mm, truncate=2)
    amplitude = (amplitude + _FADED_MM * section.doubt) * (body.patient.rater_noise / plane.pixel_mm)
    rows, columns = np.indices(plane.shape)
    down, across = (amplitude * field.on(plane) for field in body.raters)
    last_row, last_column = np.array(plane.shape) - 1
    return section.labels[
        np.clip(np.rint(rows + down).astype(int), 0, last_row),
        np.clip(np.rint(columns + across).astype(int), 0, last_column),
    ]
