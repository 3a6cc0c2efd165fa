"""Superiority: is one side better than the other, over all such claims of a family."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from reports.claims.claim import NOT_REACHED, REPRODUCED, Claim, Finding, GapError, Side, missing, too_few
from reports.claims.samples import contrast, paired
from reports.claims.values import PatientValues
from reports.statistics.comparisons import ALPHA, compare, holm, smallest_p
from reports.statistics.intervals import FEWEST_FOR_TEST


@dataclass(frozen=True, kw_only=True)
class _Test:
    """One superiority test before Holm: its pairs brought to one.

    `direction` is 1 as claimed, -1 the other way, 0 where mean, its interval and ranks disagree; `excluded` says that
    the interval rules out an improvement of the margin.
    """

    finding: Finding
    p: float
    direction: int
    excluded: bool


def judge_superiority(claims: Sequence[Claim], values: PatientValues) -> dict[str, Finding]:
    """Findings of the claims `superior`, `ordered` and `synergistic`, by id.

    A claim with several pairs is an intersection-union test: p is the largest if all point the claimed way, else the
    smallest of those that point the other way times the number of pairs; effect and interval are those of the pair with
    the smallest difference. Holm then runs over the claims of each family.
    """
    found: dict[str, Finding] = {}
    samples: dict[str, list[np.ndarray]] = {}
    for claim in claims:
        try:
            pairs = _samples(claim, values)
        except GapError as gap:
            found[claim.id] = missing(claim, gap)
            continue
        shortest = min(pairs, key=len)
        if len(shortest) < FEWEST_FOR_TEST:
            found[claim.id] = too_few(shortest, len(shortest))
        else:
            samples[claim.id] = pairs
    # Every comparison at once, because that shares the permutations.
    table = compare([sample for pairs in samples.values() for sample in pairs], 0.0)
    owner = np.repeat(list(samples), [len(pairs) for pairs in samples.values()]) if samples else []
    by_id = {claim.id: claim for claim in claims}
    tests = {str(name): _joined(by_id[str(name)], part) for name, part in table.groupby(owner, sort=False)}
    for family in dict.fromkeys(by_id[name].family for name in tests):
        ids = [name for name in tests if by_id[name].family == family]
        adjusted = holm(np.array([tests[name].p for name in ids]))
        found |= {name: _verdict(tests[name], p, family, len(ids)) for name, p in zip(ids, adjusted, strict=True)}
    return found


def _samples(claim: Claim, values: PatientValues) -> list[np.ndarray]:
    """One number a patient for each thing that must be above 0."""
    pairs = claim.sides()
    if claim.test == "synergistic":
        return [contrast(values, pairs[0][0], *(right for _, right in pairs))]
    return [paired(values, left, right) for left, right in pairs]


def _joined(claim: Claim, pairs: pd.DataFrame) -> _Test:
    """One test of the comparisons of a claim."""
    names = ["difference", "difference_low", "difference_high", "rank_biserial", "p_wilcoxon"]
    differences, lows, highs, ranks, p_values = pairs[names].to_numpy(dtype=float).T
    agree = (np.sign(differences) == np.sign(ranks)) & ((lows > 0) | (highs < 0))
    signs = np.where(agree, np.sign(differences), 0)
    against = p_values[signs < 0]
    if (signs > 0).all():
        p, direction = float(p_values.max()), 1
    elif len(against):
        p, direction = min(1.0, len(pairs) * float(against.min())), -1
    else:
        p, direction = 1.0, 0
    hardest = int(differences.argmin())
    left, right = claim.sides()[hardest]
    which = f"the smallest difference is {_named(left, right)} against {_named(right, left)}"
    finding = Finding(
        effect=float(differences[hardest]),
        low=float(lows[hardest]),
        high=float(highs[hardest]),
        num_patients=int(pairs["num_pairs"].to_numpy().min()),
        notes=(which,) if len(pairs) > 1 else (),
    )
    return _Test(finding=finding, p=p, direction=direction, excluded=bool((highs < claim.margin).any()))


def _named(side: Side, other: Side) -> str:
    """What tells a side from the other one of its pair."""
    return side.row if side.row != other.row else side.structure


def _verdict(test: _Test, p: float, family: str, num_tests: int) -> Finding:
    shown = p < ALPHA
    found = test.finding.judged(
        shown and test.direction > 0, missed=test.excluded, reversed_=shown and test.direction < 0
    )
    tests = f" after Holm over {num_tests} tests of the family {family}" if num_tests > 1 else ""
    known = f"p = {p:.2g}{tests}" if test.direction else "mean, its interval and ranks do not point the same way"
    notes = [known, *found.notes]
    if test.excluded and found.verdict == REPRODUCED:
        notes.append("a real difference, but smaller than the margin")
    elif found.verdict == NOT_REACHED:
        notes.append("not significant, but the interval excludes an improvement of the margin")
    smallest = smallest_p(found.num_patients) * num_tests
    if smallest >= ALPHA:
        notes.append(f"the smallest p that {found.num_patients} patients allow here is {min(smallest, 1.0):.2g}")
    return replace(found, notes=tuple(notes))
