"""What a claim compares, brought to one number a patient, so that every test is one of a mean.

Differences of pairs are such numbers already. A correlation and the difference of two groups of slices are not; they
are linearised by the jackknife: the pseudo-value of a patient is n * all - (n - 1) * all without the patient (Tukey
1958), their mean estimates the quantity without its first-order bias, and their spread is its uncertainty with all
slices of a patient kept together.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from reports.claims.claim import Side
from reports.claims.values import FEWER_IS_BETTER, PatientValues


def paired(values: PatientValues, left: Side, right: Side) -> np.ndarray:
    """Differences of the patients that both sides have, signed so that positive is better for the left side."""
    return _weighed(values, [left, right], [1.0, -1.0])


def contrast(values: PatientValues, both: Side, one: Side, other: Side, neither: Side) -> np.ndarray:
    """What two changes together add beyond what each adds alone; positive is better for both together."""
    return _weighed(values, [both, one, other, neither], [1.0, -1.0, -1.0, 1.0])


def _weighed(values: PatientValues, sides: Sequence[Side], weights: Sequence[float]) -> np.ndarray:
    """Sum of the sides' values times their weights, of the patients that all have; turned where less is better."""
    table = pd.concat([values.of(side) for side in sides], axis=1, join="inner").to_numpy(dtype=float)
    sign = -1 if sides[0].metric in FEWER_IS_BETTER else 1
    return sign * (table @ np.array(weights))


def between_strata(values: PatientValues, left: Side, right: Side) -> tuple[np.ndarray, int]:
    """Pseudo-values of the difference of two means over patients that may share some, and the smaller number of them.

    Positive is better for the left side.
    """
    table = pd.concat([values.of(left), values.of(right)], axis=1, join="outer").to_numpy(dtype=float)
    smaller = int((~np.isnan(table)).sum(axis=0).min())
    sign = -1 if left.metric in FEWER_IS_BETTER else 1
    if smaller < 2:
        return np.full(len(table), np.nan), smaller
    return sign * pseudo_values(lambda kept: float(-np.diff(np.nanmean(table[kept], axis=0))[0]), len(table)), smaller


def correlation(values: PatientValues, side: Side, other_metric: str) -> np.ndarray:
    """Pseudo-values of a correlation over all slices and structures of a row; empty where it is not defined.

    Spearman's correlation within structures: ranks are taken within each structure, because one that is easy in both
    respects would correlate without any slice doing so. Their mean may leave -1..1 by a little.
    """
    cases = values.cases(side)
    if not {side.metric, other_metric} <= set(cases.columns):
        return np.empty(0)
    cases = cases.dropna(subset=[side.metric, other_metric])
    groups = [cases["seed"], cases["structure"]]
    ranks = [cases[name].groupby(groups).rank(pct=True) for name in (side.metric, other_metric)]
    x, y = (rank - rank.groupby(groups).transform("mean") for rank in ranks)
    products = pd.DataFrame({"patient": cases["patient"].astype(str), "xx": x * x, "yy": y * y, "xy": x * y})
    sums = products.groupby("patient")[["xx", "yy", "xy"]].agg("sum").to_numpy(dtype=float)
    if len(sums) < 2 or (np.ptp(x) == 0) or (np.ptp(y) == 0):
        return np.empty(0)
    found = pseudo_values(lambda kept: _correlation(sums[kept].sum(axis=0)), len(sums))
    return found if np.isfinite(found).all() else np.empty(0)


def pseudo_values(statistic: Callable[[np.ndarray], float], num_patients: int) -> np.ndarray:
    """Jackknife pseudo-values of `statistic`, which takes the Boolean mask of the patients that it may use."""
    everyone = np.ones(num_patients, dtype=bool)
    whole = statistic(everyone)
    left_out = np.array([statistic(np.arange(num_patients) != index) for index in range(num_patients)])
    return num_patients * whole - (num_patients - 1) * left_out


def _correlation(sums: np.ndarray) -> float:
    """`sums`: of x squared, y squared and x times y, both centred."""
    scale = np.sqrt(sums[0] * sums[1])
    return float(sums[2] / scale) if scale > 0 else np.nan
