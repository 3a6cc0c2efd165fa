"""The tests that a claim may name beside superiority."""

from collections.abc import Callable
from dataclasses import replace
from math import nan

import numpy as np

from reports.claims.findings import NOT_TESTABLE, Finding, estimate, judged, margin_of, missing, sides
from reports.claims.ledger import Claim
from reports.claims.samples import between_strata, correlation, paired
from reports.claims.sides import GapError
from reports.claims.sizes import beyond_seeds, smaller_gains_more
from reports.claims.values import PatientValues
from reports.evidence import Evidence
from reports.statistics.comparisons import ALPHA, compare
from reports.statistics.intervals import FEWEST_FOR_TEST


def judge_one(claim: Claim, values: PatientValues, evidence: Evidence) -> Finding:
    """Finding of a claim whose test is none of superiority."""
    if claim.test == "none":
        return Finding(verdict=NOT_TESTABLE)
    try:
        if claim.test in TESTS_OF_RUNS:
            return TESTS_OF_RUNS[claim.test](claim, evidence)
        return TESTS[claim.test](claim, values)
    except GapError as gap:
        return missing(claim, gap)


def equivalent(claim: Claim, values: PatientValues) -> Finding:
    """Whether the two sides differ by less than the margin: two one-sided t tests."""
    sample, finding = _two_sided(claim, values)
    margin = margin_of(claim)
    p = float(compare([sample], margin).loc[0, "p_equivalence"]) if not finding.verdict else nan
    return judged(finding, p < ALPHA, reversed_=finding.low > margin or finding.high < -margin, p=p)


def non_inferior(claim: Claim, values: PatientValues) -> Finding:
    """Whether the left side is worse by less than the margin: a one-sided t test."""
    sample, finding = _two_sided(claim, values)
    margin = margin_of(claim)
    p = float(compare([sample], margin).loc[0, "p_noninferiority"]) if not finding.verdict else nan
    return judged(finding, p < ALPHA, reversed_=finding.high < -margin, p=p)


def at_least(claim: Claim, values: PatientValues) -> Finding:
    """Whether the mean reaches a stated value, less the margin; the effect is the mean itself."""
    (left, _), bar = sides(claim)[0], claim.value - margin_of(claim)
    finding = values.level(left)
    return judged(finding, finding.low >= bar, missed=finding.high < bar)


def at_most(claim: Claim, values: PatientValues) -> Finding:
    """Whether the mean stays below a stated value and the margin; the effect is the mean itself."""
    (left, _), bar = sides(claim)[0], claim.value + margin_of(claim)
    finding = values.level(left)
    return judged(finding, finding.high <= bar, missed=finding.low > bar)


def even(claim: Claim, values: PatientValues) -> Finding:
    """Whether in no stratum of a kind (`level`: every level) the mean is below that of all slices by the margin.

    The effect is that of the weakest stratum. Every stratum must be tested for the claim to be reproduced.
    """
    side, _ = sides(claim)[0]
    everything = replace(side, stratum="")
    strata = values.strata(claim.stratum)
    gaps = {name: between_strata(values, replace(side, stratum=name), everything) for name in strata}
    found = {name: estimate(sample, smaller) for name, (sample, smaller) in gaps.items()}
    tested = {name: finding for name, finding in found.items() if not finding.verdict}
    if not tested:
        return Finding(verdict=NOT_TESTABLE, notes=(f"no {claim.stratum} with {FEWEST_FOR_TEST} patients",))
    weakest = min(tested, key=lambda name: tested[name].effect)
    short = [f"{name} has fewer than {FEWEST_FOR_TEST} patients" for name in strata if name not in tested]
    margin = margin_of(claim)
    every_one = not short and all(finding.low > -margin for finding in tested.values())
    one_below = any(finding.high < -margin for finding in tested.values())
    finding = replace(tested[weakest], notes=(f"the weakest is {weakest}", *short))
    return judged(finding, every_one, reversed_=one_below)


def correlated(claim: Claim, values: PatientValues) -> Finding:
    """Whether two metrics of a row's slices rise together: Spearman's correlation within structures."""
    (left, _), margin = sides(claim)[0], margin_of(claim)
    sample = correlation(values, left, claim.other_metric)
    if not len(sample):
        what = f"no correlation of {claim.metric} and {claim.other_metric}: one of them is empty or constant"
        raise GapError(what, row=left.row, more=" retrain=true")
    finding = estimate(sample)
    effect, low, high = np.clip([finding.effect, finding.low, finding.high], -1, 1).tolist()
    finding = replace(finding, effect=effect, low=low, high=high)
    return judged(finding, finding.low > margin, missed=finding.high < margin, reversed_=finding.high < 0)


def cheaper(claim: Claim, evidence: Evidence) -> Finding:
    """Whether a cost is lower than the other row's by the margin (a share); the effect is the share saved."""
    costs = evidence["costs"]
    known = dict(zip(costs["row"], costs[claim.metric], strict=True)) if claim.metric in costs.columns else {}
    for row in (claim.row, claim.other_row):
        if not known.get(row, nan) > 0:
            raise GapError(f"no {claim.metric} of the row {row}", row=row)
    saved, margin = float(1 - known[claim.row] / known[claim.other_row]), margin_of(claim)
    return judged(Finding(effect=saved, notes=("a cost, not a sample",)), saved > margin, reversed_=saved < -margin)


def gains(claim: Claim, values: PatientValues) -> Finding:
    """Whether the left side is better by a stated value, less the margin."""
    _, finding = _two_sided(claim, values)
    bar = claim.value - margin_of(claim)
    return judged(finding, finding.low >= bar, missed=finding.high < bar, reversed_=finding.high < min(bar, 0))


def gains_within(claim: Claim, values: PatientValues) -> Finding:
    """Whether on every structure the left side is better by a value of the stated range, widened by the margin.

    The effect is that of the structure whose gain is farthest from the middle of the range.
    """
    left, right = sides(claim)[0]
    margin = margin_of(claim)
    low, high = claim.value - margin, claim.upper + margin
    pairs = {
        name: paired(values, replace(left, structure=name), replace(right, structure=name))
        for name in values.structures(left)
    }
    found = {name: estimate(sample) for name, sample in pairs.items()}
    farthest = max(found, key=lambda name: abs(found[name].effect - (low + high) / 2))
    short = [f"{name} has fewer than {FEWEST_FOR_TEST} patients" for name in found if found[name].verdict]
    if short:
        return replace(found[farthest], verdict=NOT_TESTABLE, notes=tuple(short))
    inside = all(low <= finding.low and finding.high <= high for finding in found.values())
    outside = any(finding.high < low or finding.low > high for finding in found.values())
    worse = any(finding.high < min(low, 0) for finding in found.values())
    finding = replace(found[farthest], notes=(f"farthest from the range is {farthest}",))
    return judged(finding, inside, missed=outside, reversed_=worse)


def faster(claim: Claim, evidence: Evidence) -> Finding:
    """Whether trainings get near their end in fewer epochs; the effect is the share saved, paired by fold and seed."""
    table = evidence["trainings"].dropna(subset=[claim.metric])
    own = table.set_index(["fold", "seed"])
    left, right = (own.loc[own["row"] == row, claim.metric] for row in (claim.row, claim.other_row))
    for row, epochs in ((claim.row, left), (claim.other_row, right)):
        if epochs.empty:
            raise GapError(f"no training of the row {row} with validation", row=row)
    saved = (1 - left / right).dropna().to_numpy(dtype=float)
    finding = estimate(saved)
    counted = f"n = {len(saved)} trainings, paired by fold and seed"
    if finding.verdict:
        note = f"{counted}; a test takes {FEWEST_FOR_TEST}: more seeds (seed=0,1)"
        return replace(finding, num_patients=0, notes=(note,))
    margin = margin_of(claim)
    finding = replace(finding, num_patients=0, notes=(counted, "they share patients, so the interval is too narrow"))
    return judged(finding, finding.low > margin, missed=finding.high < margin, reversed_=finding.high < 0)


TESTS_OF_RUNS: dict[str, Callable[[Claim, Evidence], Finding]] = {
    "cheaper": cheaper,
    "faster": faster,
    "beyond_seeds": beyond_seeds,
}
TESTS: dict[str, Callable[[Claim, PatientValues], Finding]] = {
    "gains": gains,
    "gains_within": gains_within,
    "equivalent": equivalent,
    "non_inferior": non_inferior,
    "at_least": at_least,
    "at_most": at_most,
    "even": even,
    "correlated": correlated,
    "smaller_gains_more": smaller_gains_more,
}


def _two_sided(claim: Claim, values: PatientValues) -> tuple[np.ndarray, Finding]:
    """One number a patient for the difference of the two sides, and its estimate."""
    left, right = sides(claim)[0]
    if left.stratum == right.stratum:
        sample = paired(values, left, right)
        return sample, estimate(sample)
    sample, smaller = between_strata(values, left, right)
    return sample, estimate(sample, smaller)
