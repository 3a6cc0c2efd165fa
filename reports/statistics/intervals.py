"""Intervals of a mean over patients, by how many patients there are (PROTOCOL.md, intervals and tests)."""

import warnings
from collections.abc import Sequence
from functools import cache
from math import nan

import numpy as np
import pandas as pd
from scipy.stats import DegenerateDataWarning, bootstrap, t

FEWEST_FOR_TEST = 6  # below, the range of the values is all that can be said
FEWEST_FOR_BCA = 20  # below, the bootstrap covers too little: 0.49, 0.82, 0.86 at n = 2, 5, 8
CONFIDENCE = 0.95
NUM_DRAWS = 10_000
SEED = 0
EQUAL = 1e-12  # values closer than that differ by the rounding of their means
COLUMNS_AT_ONCE = 200  # what the bootstrap holds in memory: that many times NUM_DRAWS means
DRAWS_AT_ONCE = 1_000


def intervals(samples: Sequence[np.ndarray]) -> pd.DataFrame:
    """95 % interval of the mean of each sample; a row per sample with `mean, low, high, interval`.

    `interval` says which: "range" (smallest and largest value; n < 6), "t" (6 to 19), "BCa" (bias-corrected and
    accelerated bootstrap over patients, 10 000 draws; from 20), "" for an empty sample. The draws depend on n alone, so
    the interval of a sample does not depend on which others are asked for. A sample of equal values has the interval
    [value, value].

    Args:
        samples: One value a patient each, in an order that does not depend on anything but the patients; no NaN.
    """
    sizes = [len(sample) for sample in samples]
    means = [float(np.mean(sample)) if len(sample) else nan for sample in samples]
    found: list[tuple[float, float, str]] = [(nan, nan, "")] * len(samples)
    large: dict[int, list[int]] = {}
    for index, sample in enumerate(samples):
        assert not np.isnan(sample).any(), "an undefined value has no place in a mean"
        if not sizes[index]:
            continue
        if np.ptp(sample) < EQUAL:
            found[index] = (means[index], means[index], kind(sizes[index]))
        elif sizes[index] < FEWEST_FOR_TEST:
            found[index] = (float(np.min(sample)), float(np.max(sample)), "range")
        elif sizes[index] < FEWEST_FOR_BCA:
            found[index] = (*t_interval(sample), "t")
        else:
            large.setdefault(sizes[index], []).append(index)
    for indices in large.values():
        for start in range(0, len(indices), COLUMNS_AT_ONCE):
            chunk = indices[start : start + COLUMNS_AT_ONCE]
            low, high = bca_intervals(np.stack([samples[index] for index in chunk]))
            for index, *ends in zip(chunk, low, high, strict=True):
                found[index] = (float(ends[0]), float(ends[1]), "BCa")
    table = pd.DataFrame(found, columns=["low", "high", "interval"])
    table.insert(0, "mean", np.array(means, dtype=float))
    return table


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


def clustered_intervals(sums: np.ndarray, sizes: np.ndarray) -> pd.DataFrame:
    """95 % interval of the mean of many values, of which those of a patient belong together.

    A row per line of `sums` with `mean, low, high, interval`, as `intervals` has them; patients without a value do not
    count. "range": of the patients' own means; "t": Student's, with the standard error of a ratio of sums.

    Args:
        sums: Sum of the values of each patient, [k, n].
        sizes: How many values these are, [k, n].
    """
    found: list[tuple[float, float, float, str]] = []
    large = []
    for index, (total, size) in enumerate(zip(sums, sizes, strict=True)):
        total, size = total[size > 0], size[size > 0]
        if not len(size):
            found.append((nan, nan, nan, ""))
            continue
        mean, own = float(total.sum() / size.sum()), total / size
        if np.ptp(own) < EQUAL:
            found.append((mean, mean, mean, kind(len(size))))
        elif len(size) < FEWEST_FOR_TEST:
            found.append((mean, float(own.min()), float(own.max()), "range"))
        else:
            error = np.sqrt(len(size) / (len(size) - 1) * ((total - mean * size) ** 2).sum()) / size.sum()
            half = float(_quantile(len(size) - 1) * error)
            found.append((mean, mean - half, mean + half, "t"))
            large += [index] if len(size) >= FEWEST_FOR_BCA else []
    for start in range(0, len(large), COLUMNS_AT_ONCE):
        chunk = large[start : start + COLUMNS_AT_ONCE]
        for index, *ends in zip(chunk, *bca_intervals(sums[chunk], sizes[chunk]), strict=True):
            found[index] = (found[index][0], float(ends[0]), float(ends[1]), "BCa")
    return pd.DataFrame(found, columns=["mean", "low", "high", "interval"])


@cache
def _quantile(freedom: int) -> float:
    """How many standard errors half an interval is long; asked thousands of times of a few numbers of patients."""
    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))


def bca_intervals(samples: np.ndarray, sizes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """BCa intervals of the means of samples [k, n], none of equal values; every sample sees the same draws.

    An end is NaN where the bootstrap distribution does not allow one.

    Args:
        samples: One value a patient; the sum of several where `sizes` [k, n] says how many each patient has.
        sizes: None for one a patient.
    """

    def means(drawn: np.ndarray, axis: int) -> np.ndarray:
        # What is drawn are patients. How often each was serves all samples, which halves the time of drawing values.
        assert axis == -1
        size = samples.shape[1]
        rows = np.arange(drawn.size // drawn.shape[-1]).reshape(*drawn.shape[:-1], 1)
        counts = np.bincount((drawn + size * rows).ravel(), minlength=rows.size * size)
        shares = counts.reshape(rows.size, size).T / drawn.shape[-1]
        found = samples @ shares if sizes is None else (samples @ shares) / (sizes @ shares)
        return found.reshape(len(samples), *drawn.shape[:-1])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # its NaN says the same
        result = bootstrap(
            (np.arange(samples.shape[1]),),
            means,
            vectorized=True,
            n_resamples=NUM_DRAWS,
            batch=DRAWS_AT_ONCE,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(SEED),
        )
    return np.asarray(result.confidence_interval.low), np.asarray(result.confidence_interval.high)
