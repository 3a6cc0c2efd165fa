"""Intervals against textbook formulas, and how often they cover the truth."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, norm

from reports.statistics.intervals import NUM_DRAWS, SEED, bca_intervals, intervals, kind, t_interval

SKEWED = (12.0, 1.5)  # of a beta distribution: like Dice, near 1 with a tail to the left
SKEWED_MEAN = SKEWED[0] / sum(SKEWED)


@pytest.mark.parametrize(
    ("size", "expected"), [(0, ""), (1, "range"), (5, "range"), (6, "t"), (19, "t"), (20, "BCa"), (150, "BCa")]
)
def test_the_number_of_patients_decides_which_interval_there_is(size, expected):
    sample = np.random.default_rng(size).beta(*SKEWED, size)
    found = intervals([sample]).iloc[0]
    assert found["interval"] == kind(size) == expected
    if expected == "range":
        assert (found["low"], found["high"]) == (sample.min(), sample.max())
    assert np.isnan(found["low"]) == (size == 0)


def test_t_interval_by_hand():
    sample = np.array([0.90, 0.92, 0.85, 0.88, 0.95, 0.91, 0.87, 0.89, 0.93, 0.90])
    error = np.sqrt(((sample - 0.9) ** 2).sum() / 9 / 10)
    # 2.262157 is the 0.975 quantile of Student's t with 9 degrees of freedom, from a printed table.
    assert t_interval(sample) == pytest.approx((0.9 - 2.262157 * error, 0.9 + 2.262157 * error), abs=1e-7)


def test_bca_is_that_of_the_textbook():
    """Efron and Tibshirani, eqs. 14.10, 14.14 and 14.15, on draws of our own."""
    sample = np.random.default_rng(3).beta(*SKEWED, 30)
    draws = np.random.default_rng(99).choice(sample, (200_000, 30)).mean(axis=1)
    bias = norm.ppf(np.mean(draws < sample.mean()))
    jackknife = np.array([np.delete(sample, index).mean() for index in range(30)])
    away = jackknife.mean() - jackknife
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    z = norm.ppf([0.025, 0.975])
    shares = norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
    low, high = bca_intervals(sample[None])
    width = high[0] - low[0]
    assert [low[0], high[0]] == pytest.approx(np.quantile(draws, shares), abs=0.03 * width)
    # The percentile interval, without bias and skewness, is another one.
    assert abs(low[0] - np.quantile(draws, 0.025)) > 0.03 * width


def test_bca_of_many_samples_is_scipys_of_each():
    samples = np.random.default_rng(1).beta(*SKEWED, (3, 25))
    low, high = bca_intervals(samples)
    for index, sample in enumerate(samples):
        own = bootstrap(
            (sample,), np.mean, n_resamples=NUM_DRAWS, batch=1_000, method="BCa", rng=np.random.default_rng(SEED)
        )
        assert (low[index], high[index]) == pytest.approx(tuple(own.confidence_interval), abs=1e-12)


@pytest.mark.parametrize("size", [1, 5, 6, 19, 20, 40])
def test_ties_everywhere_give_a_point(size):
    found = intervals([np.full(size, 0.9)]).iloc[0]
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((0.9, 0.9, 0.9))


def coverage(low, high, truth):
    return float(np.mean((low <= truth) & (truth <= high)))


def test_t_covers_at_ten_patients():
    samples = np.random.default_rng(5).normal(0.9, 0.03, (400, 10))
    found = intervals(list(samples))
    assert set(found["interval"]) == {"t"}
    assert 0.92 <= coverage(found["low"], found["high"], 0.9) <= 0.98


def test_bca_covers_at_forty_patients():
    samples = np.random.default_rng(6).beta(*SKEWED, (400, 40))
    found = intervals(list(samples))
    assert set(found["interval"]) == {"BCa"}
    assert 0.90 <= coverage(found["low"], found["high"], SKEWED_MEAN) <= 0.98


def test_bca_would_cover_too_little_at_five_which_is_why_it_is_not_used():
    samples = np.random.default_rng(7).beta(*SKEWED, (400, 5))
    assert coverage(*bca_intervals(samples), SKEWED_MEAN) < 0.88


@settings(deadline=None, max_examples=15)
@given(
    size=st.sampled_from([3, 8, 25]),
    seed=st.integers(0, 1000),
    scale=st.floats(0.1, 100),
    shift=st.floats(-5, 5),
)
def test_the_unit_of_a_metric_does_not_matter(size, seed, scale, shift):
    sample = np.random.default_rng(seed).beta(*SKEWED, size)
    one, other = (intervals([values]).iloc[0] for values in (sample, scale * sample + shift))
    for name in ("mean", "low", "high"):
        assert other[name] == pytest.approx(scale * one[name] + shift, abs=1e-7 * scale)


def test_an_interval_does_not_depend_on_what_else_is_asked_for():
    rng = np.random.default_rng(8)
    samples = [rng.beta(*SKEWED, size) for size, _ in product([4, 10, 30, 31], range(3))]
    together = intervals(samples)
    alone = [intervals([sample]).iloc[0] for sample in samples]
    assert together["low"].to_numpy() == pytest.approx([line["low"] for line in alone], abs=1e-12)


def test_the_order_of_patients_moves_a_bootstrap_interval_by_noise_alone():
    sample = np.random.default_rng(9).beta(*SKEWED, 40)
    one, other = (intervals([values]).iloc[0] for values in (sample, sample[::-1]))
    width = one["high"] - one["low"]
    assert other["low"] == pytest.approx(one["low"], abs=0.05 * width)
