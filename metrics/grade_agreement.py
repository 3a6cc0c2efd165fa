"""How well two sets of ordered grades agree: confusion matrix, accuracy, weighted kappa and Gwet's AC1."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from metrics.resampling import Interval, interval_of_counts

Weights = Literal["none", "linear", "quadratic"]
Grade = str | float  # "" or NaN where nobody could tell; tables read an empty cell as NaN
Table = Float[np.ndarray, "*draws k k"]


@dataclass(frozen=True, kw_only=True)
class GradeAgreement:
    """How the grades of one source compare with those of another, a pair a patient.

    Attributes:
        confusion: Counts, a row per true grade, a column per other grade; grades that nobody has included.
        num_pairs: Patients graded by both.
        num_ungraded: Patients whom one of the two left without a grade; counted, and compared in accuracy alone.
        accuracy: Share of equal grades among patients with a true one; one whom the other left without is wrong.
        kappa: Weighted kappa.
        ac1: Gwet's AC1, unweighted.
    """

    confusion: pd.DataFrame
    num_pairs: int
    num_ungraded: int
    accuracy: Interval
    kappa: Interval
    ac1: Interval


def grade_agreement(
    truth: Sequence[Grade], other: Sequence[Grade], grades: Sequence[str], weights: Weights = "linear"
) -> GradeAgreement:
    """Compares grades pair by pair, with 95 % intervals over the pairs (`metrics.resampling.interval_of_counts`).

    Args:
        truth: A grade per patient; "" (or NaN, as a table reads it) where there is none.
        other: The same patients' in the same order.
        grades: All grades of the scale, from the lowest to the highest.
        weights: Of kappa's disagreements: by steps between grades, by their square, or all alike.

    Raises:
        ValueError: If the lists differ in length, or a grade is not of the scale.
    """
    confusion, num_ungraded = confusion_matrix(truth, other, grades)
    counts = confusion.to_numpy(dtype=float)
    pairs = list(zip(truth, other, strict=True))
    missed = [[float(sum(one == grade and _is_none(two) for one, two in pairs))] for grade in grades]

    def kappa(tables: Table) -> Float[np.ndarray, "*draws"]:
        return weighted_kappa(tables, weights)

    measures: dict[str, Callable[[Table], np.ndarray]] = {"kappa": kappa, "ac1": gwet_ac1}
    return GradeAgreement(
        confusion=confusion,
        num_pairs=int(counts.sum()),
        num_ungraded=num_ungraded,
        accuracy=interval_of_counts(np.hstack([counts, np.array(missed)]), accuracy),
        **{name: interval_of_counts(counts, measure) for name, measure in measures.items()},
    )


def confusion_matrix(truth: Sequence[Grade], other: Sequence[Grade], grades: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """Counts of each pair of grades, and the number of pairs of which one has no grade.

    Raises:
        ValueError: As `grade_agreement`.
    """
    if len(truth) != len(other):
        raise ValueError(f"{len(truth)} true grades and {len(other)} others; give one of each a patient")
    pairs = pd.DataFrame({"truth": list(truth), "other": list(other)}, dtype=object).replace("", np.nan)
    unknown = sorted({str(grade) for grade in pairs.to_numpy().ravel() if not pd.isna(grade)} - {*grades})
    if unknown:
        raise ValueError(f"grade {', '.join(unknown)} is not of the scale {', '.join(grades)}; compare one scale")
    both = pairs.dropna()
    counts = pd.crosstab(both["truth"], both["other"]).reindex(index=list(grades), columns=list(grades), fill_value=0)
    return counts.astype(int), len(pairs) - len(both)


def _is_none(grade: Grade) -> bool:
    return bool(grade == "" or pd.isna(grade))


def accuracy(tables: Float[np.ndarray, "*draws k columns"]) -> Float[np.ndarray, "*draws"]:
    """Share of the pairs with equal grades; NaN without pairs. A column beyond the grades is of those without one."""
    return np.asarray(_shares(tables).trace(axis1=-2, axis2=-1))


def weighted_kappa(tables: Table, weights: Weights = "linear") -> Float[np.ndarray, "*draws"]:
    """Cohen's kappa (1968): one minus the disagreement over that of independent grades with the same margins.

    NaN where both gave everybody the same grade, for then no disagreement is to be expected.
    """
    shares = _shares(tables)
    steps = np.abs(np.subtract.outer(*[np.arange(shares.shape[-1])] * 2)).astype(float)
    cost = {"none": steps > 0, "linear": steps, "quadratic": steps**2}[weights].astype(float)
    expected = shares.sum(axis=-1)[..., :, None] * shares.sum(axis=-2)[..., None, :]
    seen, chance = ((part * cost).sum(axis=(-2, -1)) for part in (shares, expected))
    return np.asarray(1 - np.divide(seen, chance, out=np.full(np.shape(seen), np.nan), where=chance > 0))


def gwet_ac1(tables: Table) -> Float[np.ndarray, "*draws"]:
    """Gwet's first-order agreement coefficient (2008), which a rare grade does not push towards zero as it does kappa.

    Chance agreement is that of raters who grade at random in the cases that are hard to tell: the mean over grades of
    p (1 - p) times k / (k - 1), p being the mean of both margins. NaN without pairs.
    """
    shares = _shares(tables)
    num_grades = shares.shape[-1]
    prevalence = (shares.sum(axis=-1) + shares.sum(axis=-2)) / 2
    chance = (prevalence * (1 - prevalence)).sum(axis=-1) / (num_grades - 1)
    return np.asarray((shares.trace(axis1=-2, axis2=-1) - chance) / (1 - chance))


def _shares(tables: Float[np.ndarray, "*draws k columns"]) -> Float[np.ndarray, "*draws k columns"]:
    total = tables.sum(axis=(-2, -1), keepdims=True)
    return np.divide(tables, total, out=np.full(np.shape(tables), np.nan), where=total > 0)
