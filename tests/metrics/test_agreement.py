"""Bland-Altman and ICC(2,1) against hand-computed values, another implementation, and what n allows."""

import numpy as np
import pandas as pd
import pytest

from metrics.agreement import bland_altman, icc_2_1, icc_agreement

# Shrout and Fleiss 1979, table 2: six targets, four judges; they print ICC(2,1) = .29.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)


def drawn(num, *, noise=1.0, bias=0.0, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(30, 5, num)
    return truth, truth + bias + rng.normal(0, noise, num)


def test_bland_altman_by_hand():
    truth = np.array([10.0, 20, 30, 40, 50, 60])
    found = bland_altman(truth, truth + np.array([1.0, 3, 1, 3, 1, 3]))
    assert (found.bias, found.num) == (2.0, 6)
    assert found.sd == pytest.approx(np.sqrt(6 / 5))
    assert (found.low, found.high) == pytest.approx((2 - 1.96 * np.sqrt(1.2), 2 + 1.96 * np.sqrt(1.2)))


def test_limits_hold_95_percent_of_normal_differences():
    truth, other = drawn(4000, noise=2.0, bias=-1.0)
    found = bland_altman(truth, other)
    assert np.mean((other - truth > found.low) & (other - truth < found.high)) == pytest.approx(0.95, abs=0.01)


def test_the_example_of_shrout_and_fleiss():
    found = icc_agreement(SHROUT_FLEISS)
    assert (found.value, found.low, found.high) == pytest.approx((0.2898, 0.0188, 0.7611), abs=5e-4)


def test_the_mean_squares_are_those_of_an_analysis_of_variance():
    from statsmodels.formula.api import ols  # here, as the import takes seconds
    from statsmodels.stats.anova import anova_lm

    truth, other = drawn(15, noise=3.0, bias=2.0)
    table = pd.DataFrame({"value": [*truth, *other], "patient": [*range(15)] * 2, "rater": [0] * 15 + [1] * 15})
    found = anova_lm(ols("value ~ C(patient) + C(rater)", data=table).fit())["sum_sq"] / [14, 1, 14]
    rows, columns, error = found.to_numpy()
    expected = (rows - error) / (rows + error + 2 / 15 * (columns - error))
    assert icc_2_1(truth, other).value == pytest.approx(expected)


def test_the_interval_covers_the_true_correlation():
    """Variance 25 between patients, 4 of either measurement, no bias: the true ICC is 25 / 29."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        level = rng.normal(30, 5, 20)
        found = icc_2_1(level + rng.normal(0, 2, 20), level + rng.normal(0, 2, 20))
        covered.append(found.low <= 25 / 29 <= found.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)


def test_a_bias_lowers_absolute_agreement_and_a_shift_of_both_does_not():
    truth, other = drawn(30)
    own = icc_2_1(truth, other)
    assert icc_2_1(truth, other + 5).value < own.value - 0.2
    moved = icc_2_1(1000 + 3 * truth, 1000 + 3 * other)
    assert (moved.value, moved.low, moved.high) == pytest.approx((own.value, own.low, own.high))


def test_identical_values_agree_fully_and_a_constant_says_nothing():
    truth, _ = drawn(8)
    perfect = icc_2_1(truth, truth)
    assert (perfect.value, perfect.low, perfect.high) == (1.0, 1.0, 1.0)
    same = bland_altman(truth, truth)
    assert (same.bias, same.sd, same.low, same.high) == (0.0, 0.0, 0.0, 0.0)
    assert np.isnan(icc_2_1(np.full(8, 0.1), np.full(8, 0.1)).value)


def test_a_constant_offset_is_no_division_by_zero():
    truth, _ = drawn(8)
    found = icc_2_1(truth, truth + 4.0)
    assert 0 < found.value < 1
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("num", "defined"), [(0, 0), (1, 1), (2, 2), (5, 2), (6, 4)])
def test_what_n_does_not_allow_is_nan(num, defined):
    truth, other = drawn(num)
    found = bland_altman(truth, other)
    assert np.isfinite([found.bias, found.sd, found.low, found.high]).sum() == defined
    assert found.num == num
    agreement = icc_2_1(truth, other)
    assert np.isfinite([agreement.value, agreement.low, agreement.high]).all() == (num >= 6)


def test_an_undefined_value_is_our_mistake():
    truth, other = drawn(8)
    other[3] = np.nan
    with pytest.raises(AssertionError, match="leave its patient out"):
        bland_altman(truth, other)
