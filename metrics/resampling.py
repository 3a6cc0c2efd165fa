"""Intervals of what is computed from counts of patients, as docs/protocol.md allows them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import nan
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri
from scipy.stats import t

CONFIDENCE = 0.95
NUM_DRAWS = 10_000
SEED = 0
FEWEST_FOR_INTERVAL, FEWEST_FOR_BCA = 6, 20
# Resamples in which the statistic is undefined (kappa, when only one grade was drawn) are left out, if they are few.
MOST_UNDEFINED = 0.05


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and its 95 % interval over patients; NaN where there is none.

    Attributes:
        value: Estimate.
        low: Lower end.
        high: Upper end.
        kind: "BCa" from 20 patients, "t" (of the jackknife) from 6, "" where no interval is given.
        num_patients: On whom it rests.
        num_undefined: Resamples (draws of patients, or all patients but one) in which the statistic does not exist.
    """

    value: float
    low: float
    high: float
    kind: Literal["BCa", "t", ""]
    num_patients: int
    num_undefined: int = 0


def interval_of_counts(
    counts: Float[np.ndarray, "k columns"], statistic: Callable[[np.ndarray], np.ndarray]
) -> Interval:
    """Interval of a statistic of at most 1 of a table of counts, each count a patient.

    From 20 patients the bias-corrected and accelerated bootstrap (Efron 1987), with 10 000 draws of patients; from 6
    Student's interval with the standard error of the jackknife; none below, and none where the statistic hardly varies
    (it is at its limit in every draw) or is undefined in more than a twentieth of the draws.

    Args:
        counts: Patients in each cell.
        statistic: Of tables "*draws k columns", one value each.
    """
    cells = np.repeat(np.arange(counts.size), counts.ravel().astype(int))
    without = counts - np.eye(counts.size).reshape(-1, *counts.shape)[cells]
    shares = counts.ravel() / max(counts.sum(), 1)

    def draw(rng: np.random.Generator) -> np.ndarray:
        return rng.multinomial(len(cells), shares, NUM_DRAWS).reshape(-1, *counts.shape).astype(float)

    return _interval(counts, without, draw, statistic)


def interval_of_tables(
    tables: Float[np.ndarray, "n k columns"], statistic: Callable[[np.ndarray], np.ndarray]
) -> Interval:
    """Interval of a statistic of the sum of tables of counts, a table a patient, whose counts belong together.

    As `interval_of_counts`; whole patients are drawn and left out.

    Args:
        tables: What each patient has in each cell, such as slices by true and predicted state.
        statistic: As there.
    """
    size = len(tables)

    def draw(rng: np.random.Generator) -> np.ndarray:
        times = rng.multinomial(size, np.full(size, 1 / size), NUM_DRAWS).astype(float)
        return (times @ tables.reshape(size, -1)).reshape(-1, *tables.shape[1:])

    total = tables.sum(axis=0)
    return _interval(total, total - tables, draw, statistic)


def _interval(
    total: Float[np.ndarray, "k columns"],
    without: Float[np.ndarray, "n k columns"],
    draw: Callable[[np.random.Generator], np.ndarray],
    statistic: Callable[[np.ndarray], np.ndarray],
) -> Interval:
    """Interval of the statistic of all patients, from that without each of them, or from draws of them."""
    size, value = len(without), float(statistic(total))
    none = Interval(value=value, low=nan, high=nan, kind="", num_patients=size)
    if size < FEWEST_FOR_INTERVAL or np.isnan(value):
        return none
    left_out = statistic(without)
    if np.isnan(left_out).any() or np.ptp(left_out) == 0:
        return replace(none, num_undefined=int(np.isnan(left_out).sum()))
    if size < FEWEST_FOR_BCA:
        error = np.sqrt((size - 1) / size * ((left_out - left_out.mean()) ** 2).sum())
        half = float(t.ppf((1 + CONFIDENCE) / 2, size - 1) * error)
        return replace(none, low=value - half, high=min(value + half, 1.0), kind="t")
    draws = statistic(draw(np.random.default_rng(SEED)))
    num_undefined = int(np.isnan(draws).sum())
    if num_undefined > MOST_UNDEFINED * NUM_DRAWS:
        return replace(none, num_undefined=num_undefined)
    known = draws[~np.isnan(draws)]
    low, high = np.quantile(known, bca_shares(np.array([value]), known[None], left_out[None])[0])
    return replace(none, low=float(low), high=float(high), kind="BCa", num_undefined=num_undefined)


def bca_shares(
    values: Float[np.ndarray, " k"], draws: Float[np.ndarray, "k d"], left_out: Float[np.ndarray, "k n"]
) -> Float[np.ndarray, "k 2"]:
    """Shares of the draws below the ends of the bias-corrected and accelerated intervals of k statistics (Efron 1987).

    The only BCa of the suite: SciPy's bootstrap gives no interval as soon as one draw is undefined.

    Args:
        values: Each statistic of all patients.
        draws: The same of draws of patients.
        left_out: The same without each of the patients.
    """
    num_draws, size, middle = draws.shape[1], left_out.shape[1], values[:, None]
    twice_below = (draws < middle).sum(axis=1) + (draws <= middle).sum(axis=1)  # ties: tables of counts have many
    bias = ndtri(np.clip(twice_below / (2 * num_draws), 1 / NUM_DRAWS, 1 - 1 / NUM_DRAWS))
    influence = (size - 1) * (left_out.mean(axis=1, keepdims=True) - left_out)
    skewness, variance = ((influence**power).sum(axis=1) / size**power for power in (3, 2))
    acceleration = 1 / 6 * skewness / variance**1.5
    z = bias + ndtri([[(1 - CONFIDENCE) / 2], [(1 + CONFIDENCE) / 2]])
    return ndtr(bias + z / (1 - acceleration * z)).T
