"""Tests of claims about a setting that a paper varies, about small structures, and about what a training costs."""

from dataclasses import replace
from math import nan

import numpy as np
import pandas as pd

from reports.claims.claim import NOT_TESTABLE, Claim, Finding, GapError, estimate
from reports.claims.tests import PAIRED, TESTS, WITH_MARGIN, Test, above, claim_test
from reports.claims.values import PatientValues
from reports.readouts.gains import patient_areas, rank_correlations
from reports.statistics.comparisons import ALPHA
from reports.statistics.intervals import FEWEST_FOR_TEST

TESTS["synergistic"] = Test(
    (*PAIRED, "other_row"),
    "synergistic: as superior, of what two changes together add beyond the sum of what each adds alone.",
)


@claim_test(
    *("row", "metric", "value", "cost"),
    rule="beyond_seeds: the range of the means of a setting's values; reproduced if fewer than 5 % of draws that deal "
    "the values anew among the trainings of each fold reach it, not reached if not although they stay below the "
    "paper's range.",
)
def beyond_seeds(claim: Claim, values: PatientValues) -> Finding:
    """Whether the values of a setting that the paper varies in the row differ by more than seeds do.

    The effect is the range of their means (`reports.readouts.varied.build_noise`); `value` is the paper's own range.
    """
    varied, noise = values.evidence["varied"], values.evidence["varied_noise"]
    paths = varied.loc[varied["row"].str.split(" ").str[0] == claim.row, "path"]
    found = noise.loc[noise["path"].isin(paths)]
    if found.empty:
        raise GapError(f"fewer than two values of what is varied in {claim.row} have a finished run", row=claim.row)
    line = {str(key): value for key, value in found.iloc[0].items()}
    patients = int(varied.loc[varied["path"] == line["path"], "num_patients"].to_numpy().min())
    finding = Finding(effect=float(line["range"]), num_patients=patients)
    if np.isnan(line["p"]):
        return replace(finding, verdict=NOT_TESTABLE, notes=("one seed; a test takes two: seed=0,1",))
    limit, p = float(line["noise_range"]), float(line["p"])
    notes = (
        f"p = {p:.2g}, values dealt anew among the trainings of each fold",
        f"95 % of such draws stay below {limit:.4f}",
        f"{line['num_values']} values, {line['num_seeds']} seeds",
    )
    return finding.judged(p < ALPHA, missed=limit < claim.value, notes=notes)


@claim_test(
    *WITH_MARGIN,
    "other_row",
    rule="smaller_gains_more: minus the rank correlation of gain and true area over a patient's structures; reproduced "
    "if the interval of its mean lies above the margin, not reached if below, contradicted if below 0.",
)
def smaller_gains_more(claim: Claim, values: PatientValues) -> Finding:
    """Whether the left side gains the more over the right one the smaller a structure is.

    The effect is minus Spearman's correlation of a patient's gain and true area over the structures, mean over
    patients.
    """
    pairs = values.by_structure(*claim.sides()[0])
    gained = {name: values.of(left) - values.of(right) for name, (left, right) in pairs.items()}
    areas = patient_areas(values.cases(claim.sides()[0][0]))
    finding = estimate(-rank_correlations(pd.DataFrame(gained), areas))
    return above(finding if finding.verdict else finding.within(1), claim.margin)


@claim_test(
    *("row", "other_row", "metric", "margin", "cost"),
    rule="faster: the share of epochs saved until 95 % of the final validation Dice, paired by fold and seed; "
    "reproduced if its interval lies above the margin, not reached if below, contradicted if below 0.",
    metrics=("epochs_to_95",),
)
def faster(claim: Claim, values: PatientValues) -> Finding:
    """Whether trainings get near their end in fewer epochs; the effect is the share saved, paired by fold and seed."""
    own = values.evidence["trainings"].dropna(subset=[claim.metric]).set_index(["fold", "seed"])
    epochs = {row: own.loc[own["row"] == row, claim.metric] for row in (claim.row, claim.other_row)}
    for row in (row for row in epochs if epochs[row].empty):
        raise GapError(f"no training of the row {row} with validation", row=row)
    saved = (1 - epochs[claim.row] / epochs[claim.other_row]).dropna().to_numpy(dtype=float)
    finding, counted = replace(estimate(saved), num_patients=0), f"n = {len(saved)} trainings, paired by fold and seed"
    if finding.verdict:
        return replace(finding, notes=(f"{counted}; a test takes {FEWEST_FOR_TEST}: more seeds (seed=0,1)",))
    notes = (counted, "they share patients, so the interval is too narrow")
    return above(replace(finding, notes=notes), claim.margin)


@claim_test(
    *("row", "other_row", "metric", "margin", "cost"),
    rule="cheaper: a cost, not a sample; reproduced if lower by the margin, contradicted if higher by it.",
    metrics=("parameters", "flop_per_image", "ms_per_image", "peak_memory_mb", "training_s"),
)
def cheaper(claim: Claim, values: PatientValues) -> Finding:
    """Whether a cost is lower than the other row's by the margin (a share); the effect is the share saved."""
    costs = values.evidence["costs"]
    known = dict(zip(costs["row"], costs[claim.metric], strict=True)) if claim.metric in costs.columns else {}
    for row in (claim.row, claim.other_row):
        if not known.get(row, nan) > 0:
            raise GapError(f"no {claim.metric} of the row {row}", row=row)
    finding = Finding(effect=float(1 - known[claim.row] / known[claim.other_row]), notes=("a cost, not a sample",))
    return finding.judged(finding.effect > claim.margin, reversed_=finding.effect < -claim.margin)
