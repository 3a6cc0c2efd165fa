"""A statement of a paper, what it compares, and what testing it hands back."""

from dataclasses import dataclass, replace
from itertools import pairwise
from math import isnan, nan

import numpy as np

from reports.statistics.intervals import FEWEST_FOR_TEST, intervals

PREDICTED = "predicted"  # the run's own test, whose arm is ""
REPRODUCED, WITHIN_NOISE, NOT_TESTABLE = "reproduced", "within noise", "not testable"
NOT_REACHED = "not reached"  # what is stated is excluded, its reverse is not shown
CONTRADICTED = "contradicted"  # the reverse is shown


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one side of a comparison is measured on: `arm` "predicted" is the own test, `stratum` "" all slices."""

    row: str
    metric: str
    structure: str
    arm: str = PREDICTED
    stratum: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement of a paper, in our words, and how it is tested.

    `value` is NaN where the test needs none, and the lower end of a range with `upper`; `margin` is NaN where none is
    stated. `family` names the superiority tests that share one Holm correction; `cost` is the part of a command that
    provides the data; `remark` is always printed, `otherwise` is what it means if it is not so.
    """

    id: str
    paper: str
    section: str
    claim: str
    test: str
    family: str
    row: str
    other_row: str
    arm: str
    other_arm: str
    stratum: str
    other_stratum: str
    metric: str
    other_metric: str
    structure: str
    value: float
    upper: float
    margin: float
    cost: str
    remark: str
    otherwise: str

    def sides(self) -> list[tuple[Side, Side]]:
        """The pairs (left, right) that are compared: one for each row on the right, or for each link of a chain."""
        rows, structures = self.row.split(";"), self.structure.split(";")
        where = {"arm": self.arm or PREDICTED, "stratum": self.stratum}
        left = Side(row=rows[0], metric=self.metric, structure=structures[0], **where)
        if len(rows) > 1:
            return list(pairwise([replace(left, row=row) for row in rows]))
        if len(structures) > 1:
            return list(pairwise([replace(left, structure=name) for name in structures]))
        changed = {"arm": self.other_arm, "stratum": self.other_stratum, "metric": self.other_metric}
        right = replace(left, **{name: value for name, value in changed.items() if value})
        return [(left, replace(right, row=row or left.row)) for row in self.other_row.split(";")]


class GapError(Exception):
    """Something that a claim needs is not in the evidence.

    Args:
        missing: What, in words.
        row: Row that would have to be run, "" if none would help.
        more: What to add to its command line.
    """

    def __init__(self, missing: str, *, row: str = "", more: str = "") -> None:
        super().__init__(missing)
        self.row, self.more = row, more


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a test found.

    Attributes:
        verdict: One of the five, or "" while the test is not done.
        effect: In the unit of the metric, positive in the direction of the claim; `low` and `high`: its 95 % interval.
        num_patients: Patients that the test is made on.
        notes: To be printed.
    """

    verdict: str = ""
    effect: float = nan
    low: float = nan
    high: float = nan
    num_patients: int = 0
    notes: tuple[str, ...] = ()

    def judged(
        self, reproduced: bool, *, missed: bool = False, reversed_: bool = False, p: float = nan, notes: tuple = ()
    ) -> "Finding":
        """The same with its verdict; one that has a verdict is left alone.

        Args:
            reproduced: Whether what is stated is shown.
            missed: Whether what is stated is excluded.
            reversed_: Whether the reverse of what is stated is shown.
            p: Of the test, for the notes.
            notes: What else there is to say.
        """
        if self.verdict:
            return self
        verdict = REPRODUCED if reproduced else CONTRADICTED if reversed_ else NOT_REACHED if missed else WITHIN_NOISE
        tested = () if isnan(p) else (f"p = {p:.2g}, one-sided",)
        return replace(self, verdict=verdict, notes=(*tested, *self.notes, *notes))

    def within(self, limit: float) -> "Finding":
        """The same with effect and interval cut at -limit and limit."""
        effect, low, high = np.clip([self.effect, self.low, self.high], -limit, limit).tolist()
        return replace(self, effect=effect, low=low, high=high)


def estimate(sample: np.ndarray, num_patients: int | None = None) -> Finding:
    """Mean and interval of one number a patient; not testable with too few patients, which is the only verdict here.

    `num_patients` is the number that counts where it is not the length of the sample.
    """
    count = len(sample) if num_patients is None else num_patients
    if count < FEWEST_FOR_TEST:
        return too_few(sample, count)
    mean, low, high = intervals([sample]).loc[0, ["mean", "low", "high"]]
    return Finding(effect=float(mean), low=float(low), high=float(high), num_patients=count)


def too_few(sample: np.ndarray, num_patients: int) -> Finding:
    """Not testable, with the mean, for what it is worth."""
    effect = float(sample.mean()) if len(sample) else nan
    counted = f"n = {num_patients} patient{'s' * (num_patients != 1)}"
    note = f"{counted}, a test takes {FEWEST_FOR_TEST}: more folds or a larger cohort"
    return Finding(verdict=NOT_TESTABLE, effect=effect, num_patients=num_patients, notes=(note,))


def missing(claim: Claim, gap: GapError) -> Finding:
    """Not testable, with what is missing and the command that provides it.

    The `cost` of a claim may name several parts, joined by `;`; one that names a row in `row=` is for that row alone.
    """
    parts = [part.strip() for part in claim.cost.split(";")]
    own = [part for part in parts if f"row={gap.row}" in part.split()]
    command = own[0] if own else f"{parts[0]} experiment={gap.row}{gap.more}"
    return Finding(verdict=NOT_TESTABLE, notes=(f"{gap}{f'; run: python run.py {command}' if gap.row else ''}",))
