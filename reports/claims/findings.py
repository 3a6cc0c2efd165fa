"""What a test of the claims ledger hands back, and what it compares."""

from dataclasses import dataclass, replace
from itertools import pairwise
from math import nan

import numpy as np

from reports.claims.ledger import Claim
from reports.claims.sides import PREDICTED, GapError, Side
from reports.statistics.intervals import FEWEST_FOR_TEST, intervals

REPRODUCED, WITHIN_NOISE, NOT_TESTABLE = "reproduced", "within noise", "not testable"
NOT_REACHED = "not reached"  # what is stated is excluded, its reverse is not shown
CONTRADICTED = "contradicted"  # the reverse is shown


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


def sides(claim: Claim) -> list[tuple[Side, Side]]:
    """The pairs (left, right) that a claim compares: one for each row on the right, or for each link of a chain."""
    rows, structures = claim.row.split(";"), claim.structure.split(";")
    left = Side(
        row=rows[0],
        metric=claim.metric,
        structure=structures[0],
        arm=claim.arm or PREDICTED,
        stratum=claim.stratum,
    )
    if len(rows) > 1:
        return [(replace(left, row=better), replace(left, row=worse)) for better, worse in pairwise(rows)]
    if len(structures) > 1:
        return list(pairwise([replace(left, structure=name) for name in structures]))
    right = replace(
        left,
        arm=claim.other_arm or left.arm,
        stratum=claim.other_stratum or left.stratum,
        metric=claim.other_metric or left.metric,
    )
    return [(left, replace(right, row=row or left.row)) for row in claim.other_row.split(";")]


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


def margin_of(claim: Claim) -> float:
    """The margin of a test that needs one."""
    assert claim.margin is not None, f"{claim.id} has no margin, which load_claims refuses"
    return claim.margin


def judged(
    finding: Finding, reproduced: bool, *, missed: bool = False, reversed_: bool = False, p: float = nan
) -> Finding:
    """The finding with its verdict, and p in its notes where there is one; one that has a verdict is left alone.

    Args:
        finding: Effect and interval.
        reproduced: Whether what is stated is shown.
        missed: Whether what is stated is excluded.
        reversed_: Whether the reverse of what is stated is shown.
        p: Of the test.
    """
    if finding.verdict:
        return finding
    verdict = REPRODUCED if reproduced else CONTRADICTED if reversed_ else NOT_REACHED if missed else WITHIN_NOISE
    notes = finding.notes if np.isnan(p) else (f"p = {p:.2g}, one-sided", *finding.notes)
    return replace(finding, verdict=verdict, notes=notes)
