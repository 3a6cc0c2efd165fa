"""Agreement of two measurements of the same patients (docs/protocol.md, "Agreement")."""

from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Float
from scipy.stats import f

FEWEST = 6  # patients; below, docs/protocol.md allows a range and no interval
CONFIDENCE = 0.95
LIMITS = 1.96  # SDs of the differences on either side of their mean: 95 % of normal ones


@dataclass(frozen=True, kw_only=True)
class BlandAltman:
    """Differences `other - truth`, in the unit of the values.

    Attributes:
        bias: Their mean; NaN without a pair.
        sd: Their SD (n - 1); NaN below two pairs.
        low: Lower limit of agreement, bias - 1.96 SD; NaN below six pairs.
        high: Upper limit.
        num: Number of pairs.
    """

    bias: float
    sd: float
    low: float
    high: float
    num: int


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its 95 % interval; all NaN where it is not defined."""

    value: float
    low: float
    high: float


def bland_altman(truth: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> BlandAltman:
    """Bias and limits of agreement (Bland and Altman 1986, doi 10.1016/S0140-6736(86)90837-8).

    Args:
        truth: One value a patient, no NaN.
        other: The same patients in the same order.
    """
    difference = _checked(truth, other) @ np.array([-1.0, 1.0])
    num = len(difference)
    bias = float(difference.mean()) if num else nan
    sd = float(difference.std(ddof=1)) if num > 1 else nan
    half = LIMITS * sd if num >= FEWEST else nan
    return BlandAltman(bias=bias, sd=sd, low=bias - half, high=bias + half, num=num)


def icc_2_1(truth: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> Interval:
    """Intraclass correlation ICC(2,1) of two measurements: see `icc_agreement`.

    Args:
        truth: One value a patient, no NaN.
        other: The same patients in the same order.
    """
    return icc_agreement(_checked(truth, other))


def icc_agreement(ratings: Float[np.ndarray, "n k"]) -> Interval:
    """ICC(2,1): two-way random effects, absolute agreement, one rater; a bias between the columns lowers it.

    Shrout and Fleiss 1979 (doi 10.1037/0033-2909.86.2.420); the interval by Satterthwaite's degrees of freedom as in
    McGraw and Wong 1996, ICC(A,1) (doi 10.1037/1082-989X.1.1.30). NaN below six rows, or where all values are the same.

    Args:
        ratings: A row a patient, a column a rater.
    """
    num_rows, num_raters = ratings.shape
    # Neither the scale nor the origin matters; without this, rounding alone would be the variance of equal values.
    spread = float(np.ptp(ratings)) if ratings.size else 0.0
    if num_rows < FEWEST or spread <= 1e-12 * max(1.0, float(np.abs(ratings).max())):
        return Interval(value=nan, low=nan, high=nan)
    rows, columns, error = _mean_squares((ratings - ratings.min()) / spread)
    denominator = rows + (num_raters - 1) * error + num_raters / num_rows * (columns - error)
    value = (rows - error) / denominator
    if value > 1 - 1e-12:
        return Interval(value=1.0, low=1.0, high=1.0)
    a = num_raters * value / (num_rows * (1 - value))
    b = 1 + (num_rows - 1) * a
    parts = (a * columns) ** 2 / (num_raters - 1) + (b * error) ** 2 / ((num_rows - 1) * (num_raters - 1))
    freedom = (a * columns + b * error) ** 2 / parts
    tail = (1 + CONFIDENCE) / 2
    lower, upper = float(f.ppf(tail, num_rows - 1, freedom)), float(f.ppf(tail, freedom, num_rows - 1))
    rest = num_raters * columns + (num_raters * num_rows - num_raters - num_rows) * error
    return Interval(
        value=value,
        low=num_rows * (rows - lower * error) / (lower * rest + num_rows * rows),
        high=num_rows * (upper * rows - error) / (rest + num_rows * upper * rows),
    )


def _mean_squares(ratings: Float[np.ndarray, "n k"]) -> tuple[float, float, float]:
    """Of rows, of columns, and of what neither explains."""
    num_rows, num_raters = ratings.shape
    centre = ratings.mean()
    row_means, column_means = ratings.mean(axis=1), ratings.mean(axis=0)
    rest = ratings - row_means[:, None] - column_means + centre
    rows = num_raters * ((row_means - centre) ** 2).sum() / (num_rows - 1)
    columns = num_rows * ((column_means - centre) ** 2).sum() / (num_raters - 1)
    return float(rows), float(columns), float((rest**2).sum() / ((num_rows - 1) * (num_raters - 1)))


def _checked(truth: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    pairs = np.stack([truth, other], axis=1).astype(float)
    assert np.isfinite(pairs).all(), "an undefined value agrees with nothing; leave its patient out and count it"
    return pairs
