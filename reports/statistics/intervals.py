"""Intervals of a mean over patients, by how many patients there are (docs/protocol.md, intervals and tests)."""

from collections.abc import Sequence
from functools import cache
from math import nan

import numpy as np
import pandas as pd
from scipy.stats import quantile, t

from metrics.resampling import CONFIDENCE, NUM_DRAWS, SEED, bca_shares

FEWEST_FOR_TEST = 6  # below, the range of the values is all that can be said
FEWEST_FOR_BCA = 20  # below, the bootstrap covers too little: 0.49, 0.82, 0.86 at n = 2, 5, 8
EQUAL = 1e-12  # values closer than that differ by the rounding of their means
COLUMNS_AT_ONCE = 200  # what the bootstrap holds in memory: that many times NUM_DRAWS means
DRAWS_AT_ONCE = 1_000
COLUMNS = ["mean", "low", "high", "interval"]
Samples = Sequence[np.ndarray] | np.ndarray  # a sample each, or [k, n]


def intervals(samples: Samples, sizes: Samples | None = None) -> pd.DataFrame:
    """95 % interval of the mean of each sample; a row per sample with COLUMNS.

    `interval` says which: "range" (smallest and largest value; n < 6), "t" (6 to 19), "BCa" (bias-corrected and
    accelerated bootstrap over patients, 10 000 draws; from 20), "" for an empty sample. The draws depend on n alone, so
    the interval of a sample does not depend on which others are asked for. A sample of equal values has the interval
    [value, value].

    Args:
        samples: One value a patient each, in an order that does not depend on anything but the patients; no NaN.
        sizes: Where several values of a patient belong together, how many these are; `samples` are their sums then, the
            mean is that of all values, a range is one of the patients' own means, t has the standard error of a ratio
            of sums, and patients without a value do not count.
    """
    found, large = [], []
    for index, sample in enumerate(samples):
        assert not np.isnan(sample).any(), "an undefined value has no place in a mean"
        found.append(_small(sample, None if sizes is None else sizes[index]))
        large += [index] if found[-1][3] == "BCa" and found[-1][1] < found[-1][2] else []
    for size in dict.fromkeys(len(samples[index]) for index in large):
        alike = [index for index in large if len(samples[index]) == size]
        for start in range(0, len(alike), COLUMNS_AT_ONCE):
            chunk = alike[start : start + COLUMNS_AT_ONCE]
            stacked = (np.stack([table[index] for index in chunk]) for table in (samples, sizes) if table is not None)
            for index, *ends in zip(chunk, *bca_intervals(*stacked), strict=True):
                found[index] = (found[index][0], float(ends[0]), float(ends[1]), "BCa")
    return pd.DataFrame(found, columns=COLUMNS).astype(dict.fromkeys(COLUMNS[:3], float))


def kind(num_patients: int) -> str:
    """Which interval that many patients allow."""
    if num_patients == 0:
        return ""
    if num_patients < FEWEST_FOR_TEST:
        return "range"
    return "t" if num_patients < FEWEST_FOR_BCA else "BCa"


def t_interval(sample: np.ndarray) -> tuple[float, float]:
    """Student's interval of a mean."""
    half = _quantile(len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return float(sample.mean() - half), float(sample.mean() + half)


def _small(sample: np.ndarray, sizes: np.ndarray | None) -> tuple[float, float, float, str]:
    """One line of `intervals`; with the ends of t where BCa is due."""
    if sizes is not None:
        sample, sizes = sample[sizes > 0], sizes[sizes > 0]
    size = len(sample)
    if not size:
        return nan, nan, nan, ""
    own = sample if sizes is None else sample / sizes
    mean = float(sample.mean() if sizes is None else sample.sum() / sizes.sum())
    if np.ptp(own) < EQUAL:
        return mean, mean, mean, kind(size)
    if size < FEWEST_FOR_TEST:
        return mean, float(own.min()), float(own.max()), "range"
    if sizes is None:
        return mean, *t_interval(sample), kind(size)
    error = np.sqrt(size / (size - 1) * ((sample - mean * sizes) ** 2).sum()) / sizes.sum()
    half = float(_quantile(size - 1) * error)
    return mean, mean - half, mean + half, kind(size)


@cache
def _quantile(freedom: int) -> float:
    """How many standard errors half an interval is long; asked thousands of times of a few numbers of patients."""
    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))


def bca_intervals(samples: np.ndarray, sizes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """BCa intervals of the means of samples [k, n], none of equal values; every sample sees the same draws of patients.

    Args:
        samples: One value a patient; the sum of several where `sizes` [k, n] says how many each patient has.
        sizes: None for one a patient.
    """
    size, rng = samples.shape[1], np.random.default_rng(SEED)

    def means(counts: np.ndarray) -> np.ndarray:
        """[k, draws], of how often each patient was drawn, [draws, n]."""
        shares = counts.T / counts[0].sum()
        return samples @ shares if sizes is None else (samples @ shares) / (sizes @ shares)

    def counts() -> np.ndarray:
        drawn = rng.integers(0, size, (DRAWS_AT_ONCE, size)) + size * np.arange(DRAWS_AT_ONCE)[:, None]
        return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)

    draws = np.concatenate([means(counts()) for _ in range(NUM_DRAWS // DRAWS_AT_ONCE)], axis=1)
    low, high = quantile(draws, bca_shares(means(np.ones((1, size)))[:, 0], draws, means(1 - np.eye(size))), axis=1).T
    return low, high
