"""The line of a spine through the centres of its structures: where it leads, and how far neighbours are apart."""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

FEWEST = 2  # centres that have a direction


def spine_line(
    centres: Float[np.ndarray, "n 2"],
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
    """Direction of the spine at every structure, and the distance from one structure to the next there.

    A natural cubic spline over the structures' numbers, so that a missing structure leaves a gap of two steps.

    Args:
        centres: (x, y) in mm of structures from head to foot; NaN where one is not there.

    Returns:
        Unit vectors to the feet and distances in mm, NaN where there is no centre. With less than `FEWEST` centres
        nobody knows: straight down, and NaN.
    """
    known = np.flatnonzero(np.isfinite(centres).all(axis=1))
    tangents, steps_mm = np.full(centres.shape, np.nan), np.full(len(centres), np.nan)
    if len(known) < FEWEST:
        tangents[known] = (0.0, 1.0)
        return tangents, steps_mm
    slopes = CubicSpline(known, centres[known], bc_type="natural")(known, 1)
    steps_mm[known] = np.linalg.norm(slopes, axis=1)
    tangents[known] = slopes / np.maximum(steps_mm[known], 1e-9)[:, None]
    return tangents, steps_mm
