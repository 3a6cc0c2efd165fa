"""What is no mean over patients, brought to one number a patient."""

from collections.abc import Callable

import numpy as np


def pseudo_values(statistic: Callable[[np.ndarray], float], num_patients: int) -> np.ndarray:
    """Jackknife pseudo-values of `statistic`, which takes the Boolean mask of the patients that it may use."""
    everyone = np.ones(num_patients, dtype=bool)
    whole = statistic(everyone)
    left_out = np.array([statistic(np.arange(num_patients) != index) for index in range(num_patients)])
    return num_patients * whole - (num_patients - 1) * left_out
