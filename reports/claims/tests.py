"""The tests that a claim may name, each with what it needs and the rule that is printed; more in `run_tests`."""

from collections.abc import Callable
from dataclasses import replace
from math import nan
from typing import NamedTuple

import numpy as np

from metrics.aggregate import METRICS
from reports.case_tables import READOUTS
from reports.claims.claim import NOT_TESTABLE, Claim, Finding, GapError, estimate
from reports.claims.grades import AGREEMENTS, GRADINGS
from reports.claims.samples import between_strata, correlation, paired
from reports.claims.values import PatientValues
from reports.statistics.comparisons import ALPHA, compare
from reports.statistics.intervals import FEWEST_FOR_TEST

# What `reports.claims.values` derives from cases.csv beside the metrics of a summary.
DERIVED = (
    *("detection_precision", "detection_recall", "found_share", "missed_share", "false_alarm_share", "dice_spread"),
    *("preliminary_dice", "preliminary_ceiling_dice", "saliency_inside", "area_inside", "saliency_enrichment"),
    *("area_true_mm2", "area_pred_mm2", "csa_error_mm2", "csa_bias_percent", "segmented_percent"),
    *READOUTS,
)
OF_PATIENTS = (*METRICS, *DERIVED, *GRADINGS, *AGREEMENTS)
LEVELS = ("at_least", "at_most")  # tests of a level, which need not be a mean over patients


Judge = Callable[[Claim, PatientValues], Finding]


class Test(NamedTuple):
    """How a claim is tested.

    `needs` are the columns of the file of claims that must not be empty; `rule` is what the report prints ("": said
    with an earlier test); `judge` is None for what is judged a family at once (`reports.claims.superiority`).
    """

    needs: tuple[str, ...]
    rule: str = ""
    judge: Judge | None = None
    metrics: tuple[str, ...] = OF_PATIENTS


PAIRED = ("row", "metric", "structure", "family", "cost")
WITH_MARGIN = ("row", "metric", "structure", "margin", "cost")
TESTS = {
    "none": Test(("remark",)),
    "superior": Test(
        PAIRED,
        "superior, ordered: reproduced if Wilcoxon's signed-rank test gives p < 0.05 in the claimed direction after "
        "Holm over the superiority tests of the same family; contradicted if it does so in the other direction; not "
        "reached if the interval excludes an improvement of the margin (for Dice half the published difference, at "
        "most the margin of interest; for other metrics ours) and neither is shown; else within noise. Mean, its "
        "interval and ranks must point the same way.",
    ),
    "ordered": Test(
        PAIRED,
        "superior over several rows, ordered: every pair must be shown (largest p); one pair is enough to contradict.",
    ),
}


def claim_test(*needs: str, rule: str = "", metrics: tuple[str, ...] = OF_PATIENTS):
    """Makes a function the test of its name."""

    def register(judge: Judge) -> Judge:
        TESTS[judge.__name__] = Test(needs, rule, judge, metrics)
        return judge

    return register


@claim_test(
    *WITH_MARGIN,
    rule="equivalent, non_inferior: reproduced if two one-sided t tests, or one, show at 5 % that the difference is "
    "within the margin, or above minus the margin; contradicted if the interval lies outside.",
)
def equivalent(claim: Claim, values: PatientValues) -> Finding:
    """Whether the two sides differ by less than the margin: two one-sided t tests."""
    finding, p = _against_margin(claim, values, "p_equivalence")
    outside = finding.low > claim.margin or finding.high < -claim.margin
    return finding.judged(p < ALPHA, reversed_=outside, p=p)


@claim_test(*WITH_MARGIN)
def non_inferior(claim: Claim, values: PatientValues) -> Finding:
    """Whether the left side is worse by less than the margin: a one-sided t test."""
    finding, p = _against_margin(claim, values, "p_noninferiority")
    return finding.judged(p < ALPHA, reversed_=finding.high < -claim.margin, p=p)


@claim_test(
    *WITH_MARGIN,
    "value",
    rule="at_least: reproduced if the interval's lower end is not below the stated value by more than the margin; not "
    "reached if its upper end is. at_most: the same the other way round. even: reproduced if no stratum is below the "
    "mean of all slices by more than the margin; contradicted if one is shown to be. Accuracy and kappa of grades "
    "have the interval that the table of grades prints.",
)
def at_least(claim: Claim, values: PatientValues) -> Finding:
    """Whether the mean reaches a stated value, less the margin; the effect is the mean itself."""
    finding, bar = values.level(claim.sides()[0][0]), claim.value - claim.margin
    return finding.judged(finding.low >= bar, missed=finding.high < bar)


@claim_test(*WITH_MARGIN, "value")
def at_most(claim: Claim, values: PatientValues) -> Finding:
    """Whether the mean stays below a stated value and the margin; the effect is the mean itself."""
    finding, bar = values.level(claim.sides()[0][0]), claim.value + claim.margin
    return finding.judged(finding.high <= bar, missed=finding.low > bar)


@claim_test(*WITH_MARGIN, "stratum")
def even(claim: Claim, values: PatientValues) -> Finding:
    """Whether in no stratum of a kind (`level`: every level) the mean is below that of all slices by the margin.

    The effect is that of the weakest stratum. Every stratum must be tested for the claim to be reproduced.
    """
    side, margin = claim.sides()[0][0], claim.margin
    found = {
        name: estimate(*between_strata(values, replace(side, stratum=name), replace(side, stratum="")))
        for name in values.strata(claim.stratum)
    }
    tested = {name: finding for name, finding in found.items() if not finding.verdict}
    if not tested:
        return Finding(verdict=NOT_TESTABLE, notes=(f"no {claim.stratum} with {FEWEST_FOR_TEST} patients",))
    weakest = min(tested, key=lambda name: tested[name].effect)
    short = _short(found)
    every_one = not short and all(finding.low > -margin for finding in tested.values())
    one_below = any(finding.high < -margin for finding in tested.values())
    notes = (f"the weakest is {weakest}", *short)
    return tested[weakest].judged(every_one, reversed_=one_below, notes=notes)


@claim_test(
    *WITH_MARGIN,
    "other_metric",
    rule="correlated: Spearman's correlation within structures over slices, its interval over patients (jackknife); "
    "reproduced above the margin, not reached below, contradicted below 0.",
)
def correlated(claim: Claim, values: PatientValues) -> Finding:
    """Whether two metrics of a row's slices rise together: Spearman's correlation within structures."""
    left = claim.sides()[0][0]
    sample = correlation(values, left, claim.other_metric)
    if not len(sample):
        what = f"no correlation of {claim.metric} and {claim.other_metric}: one of them is empty or constant"
        raise GapError(what, row=left.row, more=" retrain=true")
    return above(estimate(sample).within(1), claim.margin)


@claim_test(
    *WITH_MARGIN,
    *("other_row", "value"),
    rule="gains: as at_least, of the difference. gains_within: reproduced if on every structure the interval of the "
    "difference lies in the stated range, widened by the margin; not reached if on one it lies outside. Both are "
    "contradicted where the interval lies below 0: the other side is better.",
)
def gains(claim: Claim, values: PatientValues) -> Finding:
    """Whether the left side is better by a stated value, less the margin."""
    finding, bar = estimate(*_difference(claim, values)), claim.value - claim.margin
    return finding.judged(finding.low >= bar, missed=finding.high < bar, reversed_=finding.high < min(bar, 0))


@claim_test(*WITH_MARGIN, "other_row", "value")
def gains_within(claim: Claim, values: PatientValues) -> Finding:
    """Whether on every structure the left side is better by a value of the stated range, widened by the margin.

    The effect is that of the structure whose gain is farthest from the middle of the range.
    """
    pairs = values.by_structure(*claim.sides()[0])
    low, high = claim.value - claim.margin, claim.upper + claim.margin
    found = {name: estimate(paired(values, left, right)) for name, (left, right) in pairs.items()}
    farthest = max(found, key=lambda name: abs(found[name].effect - (low + high) / 2))
    if short := _short(found):
        return replace(found[farthest], verdict=NOT_TESTABLE, notes=short)
    inside = all(low <= finding.low and finding.high <= high for finding in found.values())
    outside = any(finding.high < low or finding.low > high for finding in found.values())
    worse = any(finding.high < min(low, 0) for finding in found.values())
    notes = (f"farthest from the range is {farthest}",)
    return found[farthest].judged(inside, missed=outside, reversed_=worse, notes=notes)


def _difference(claim: Claim, values: PatientValues) -> tuple[np.ndarray, int]:
    """One number a patient for the difference of the two sides, and how many patients count."""
    left, right = claim.sides()[0]
    if left.stratum != right.stratum:
        return between_strata(values, left, right)
    sample = paired(values, left, right)
    return sample, len(sample)


def _against_margin(claim: Claim, values: PatientValues, name: str) -> tuple[Finding, float]:
    """Estimate of the difference, and p of a t test against the margin; NaN where there is none."""
    sample, num_patients = _difference(claim, values)
    finding = estimate(sample, num_patients)
    return finding, nan if finding.verdict else float(compare([sample], claim.margin).loc[0, name])


def above(finding: Finding, margin: float) -> Finding:
    """Reproduced above the margin, not reached below, contradicted below 0."""
    return finding.judged(finding.low > margin, missed=finding.high < margin, reversed_=finding.high < 0)


def _short(found: dict[str, Finding]) -> tuple[str, ...]:
    short = [name for name, finding in found.items() if finding.verdict]
    return tuple(f"{name} has fewer than {FEWEST_FOR_TEST} patients" for name in short)
