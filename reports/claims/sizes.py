"""Tests of claims about a setting that a paper varies, and about small structures."""

from dataclasses import replace

import numpy as np
import pandas as pd

from reports.claims.findings import (
    NOT_REACHED,
    NOT_TESTABLE,
    REPRODUCED,
    WITHIN_NOISE,
    Finding,
    estimate,
    judged,
    margin_of,
    sides,
)
from reports.claims.ledger import Claim
from reports.claims.values import GapError, PatientValues
from reports.evidence import Evidence
from reports.readouts.gains import patient_areas, rank_correlations
from reports.statistics.comparisons import ALPHA


def beyond_seeds(claim: Claim, evidence: Evidence) -> Finding:
    """Whether the values of a setting that the paper varies in the row differ by more than seeds do.

    The effect is the range of their means (`reports.readouts.varied.build_noise`); `value` is the paper's own range.
    """
    values, noise = evidence["varied"], evidence["varied_noise"]
    paths = values.loc[values["row"].str.split(" ").str[0] == claim.row, "path"]
    found = noise.loc[noise["path"].isin(paths)]
    if found.empty:
        raise GapError(f"fewer than two values of what is varied in {claim.row} have a finished run", row=claim.row)
    line = {str(key): value for key, value in found.iloc[0].items()}
    patients = int(values.loc[values["path"] == line["path"], "num_patients"].to_numpy().min())
    finding = Finding(effect=float(line["range"]), num_patients=patients)
    if np.isnan(line["p"]):
        return replace(finding, verdict=NOT_TESTABLE, notes=("one seed; a test takes two: seed=0,1",))
    limit, p = float(line["noise_range"]), float(line["p"])
    verdict = REPRODUCED if p < ALPHA else NOT_REACHED if limit < claim.value else WITHIN_NOISE
    notes = (
        f"p = {p:.2g}, values dealt anew among the trainings of each fold",
        f"95 % of such draws stay below {limit:.4f}",
        f"{line['num_values']} values, {line['num_seeds']} seeds",
    )
    return replace(finding, verdict=verdict, notes=notes)


def smaller_gains_more(claim: Claim, values: PatientValues) -> Finding:
    """Whether the left side gains the more over the right one the smaller a structure is.

    The effect is minus Spearman's correlation of a patient's gain and true area over the structures, mean over
    patients.
    """
    (left, right), margin = sides(claim)[0], margin_of(claim)
    gains = {
        name: values.of(replace(left, structure=name)) - values.of(replace(right, structure=name))
        for name in values.structures(left)
    }
    sample = -rank_correlations(pd.DataFrame(gains), patient_areas(values.cases(left)))
    finding = estimate(sample)
    if finding.verdict:
        return finding
    effect, low, high = np.clip([finding.effect, finding.low, finding.high], -1, 1).tolist()
    finding = replace(finding, effect=effect, low=low, high=high)
    return judged(finding, low > margin, missed=high < margin, reversed_=high < 0)
