"""The claims ledger: every testable statement of a paper, judged on the evidence at hand.

The rules, which the report prints (`RULES`), follow PROTOCOL, "Intervals and tests" and "Claims".
"""

from dataclasses import asdict

import pandas as pd

from reports.claims.decisions import judge_one
from reports.claims.findings import CONTRADICTED, NOT_REACHED, NOT_TESTABLE, Finding
from reports.claims.ledger import CLAIMS_FILE, Claim, load_claims, published_structures
from reports.claims.sides import PREDICTED
from reports.claims.superiority import judge_superiority
from reports.claims.values import PatientValues
from reports.evidence import Evidence

RULES = (
    "The unit is the patient, averaged over slices and seeds; only runs with folds by patient count.",
    "Effects are signed so that positive is what the paper says; intervals are 95 %, not corrected for multiplicity.",
    "superior, ordered: reproduced if Wilcoxon's signed-rank test gives p < 0.05 in the claimed direction after Holm "
    "over the superiority tests of the same family; contradicted if it does so in the other direction; not reached if "
    "the interval excludes an improvement of the margin (for Dice half the published difference, at most the margin of "
    "interest; for other metrics ours) and neither is shown; "
    "else within noise. Mean, its interval and ranks must point the same way.",
    "superior over several rows, ordered: every pair must be shown (largest p); one pair is enough to contradict.",
    "equivalent, non_inferior: reproduced if two one-sided t tests, or one, show at 5 % that the difference is within "
    "the margin, or above minus the margin; contradicted if the interval lies outside.",
    "at_least: reproduced if the interval's lower end is not below the stated value by more than the margin; not "
    "reached if its upper end is. at_most: the same the other way round. even: reproduced if no stratum is below the "
    "mean of all slices by more than the margin; contradicted if one is shown to be. "
    "Accuracy and kappa of grades have the interval that the table of grades prints.",
    "correlated: Spearman's correlation within structures over slices, its interval over patients (jackknife); "
    "reproduced above the margin, not reached below, contradicted below 0.",
    "gains: as at_least, of the difference. gains_within: reproduced if on every structure the interval of the "
    "difference lies in the stated range, widened by the margin; not reached if on one it lies outside. Both are "
    "contradicted where the interval lies below 0: the other side is better.",
    "synergistic: as superior, of what two changes together add beyond the sum of what each adds alone.",
    "beyond_seeds: the range of the means of a setting's values; reproduced if fewer than 5 % of draws that deal the "
    "values anew among the trainings of each fold reach it, not reached if not although they stay below the paper's "
    "range.",
    "smaller_gains_more: minus the rank correlation of gain and true area over a patient's structures; reproduced if "
    "the interval of its mean lies above the margin, not reached if below, contradicted if below 0.",
    "faster: the share of epochs saved until 95 % of the final validation Dice, paired by fold and seed; reproduced if "
    "its interval lies above the margin, not reached if below, contradicted if below 0.",
    "cheaper: a cost, not a sample; reproduced if lower by the margin, contradicted if higher by it.",
    "Fewer than six patients, or a row, arm, stratum or column that is not there: not testable, with the command that "
    "provides it.",
)
# Metrics in 0..1.
SHARES = ("dice", "iou", "precision", "recall", "box_iou", "mask_box_iou", "nsd_1mm", "nsd_2mm", "detected")
COLUMNS = (
    *("id", "paper", "section", "claim", "test", "margin", "verdict"),
    *("effect", "ci95_low", "ci95_high", "num_patients", "cost", "note", "metric"),
)


def judge(evidence: Evidence, claims: tuple[Claim, ...] | None = None) -> pd.DataFrame:
    """Judges every claim; one row per claim with COLUMNS, in the order of the file.

    `claims` are by default those of `reports/published/claims.csv` whose paper's system (the row named like the paper,
    or a variant of it) was run, or is in the published table that the report prints.

    Raises:
        ValueError: If the file of claims is not sound.
    """
    if claims is None:
        structures = published_structures(CLAIMS_FILE.parent)
        known = load_claims(CLAIMS_FILE, margin=evidence.margin, structures=structures)
        rows = {*evidence.rows, *evidence.published["row"]}
        claims = tuple(claim for claim in known if any(row.startswith(claim.paper) for row in rows))
    values = PatientValues(evidence)
    pairwise = [claim for claim in claims if claim.test in ("superior", "ordered", "synergistic")]
    findings = judge_superiority(pairwise, values)
    findings |= {claim.id: judge_one(claim, values, evidence) for claim in claims if claim.id not in findings}
    records = [_record(claim, findings[claim.id], values) for claim in claims]
    return pd.DataFrame(records, columns=list(COLUMNS))


def _record(claim: Claim, finding: Finding, values: PatientValues) -> dict[str, object]:
    notes = list(finding.notes)
    if claim.otherwise and finding.verdict in (NOT_REACHED, CONTRADICTED):
        notes.insert(0, claim.otherwise)
    if not claim.stratum and 0 < finding.num_patients < values.num_patients and finding.verdict != NOT_TESTABLE:
        notes.append(f"{finding.num_patients} of {values.num_patients} patients have all it takes")
    if claim.remark:
        notes.append(claim.remark)
    return asdict(claim) | {
        "test": describe(claim),
        "verdict": finding.verdict,
        "effect": finding.effect,
        "ci95_low": finding.low,
        "ci95_high": finding.high,
        "num_patients": finding.num_patients,
        "note": "; ".join(notes),
    }


def is_share(test: str, metric: str) -> bool:
    """Whether the effect of a claim is a share or a difference of shares, which people read in percent or points."""
    return metric in SHARES and test.partition(":")[0] not in ("correlated", "smaller_gains_more", "faster", "cheaper")


def describe(claim: Claim) -> str:
    """The test of a claim in words: `superior: bs_esnet over unet, dice of canal, level L4/5`."""
    if claim.test == "none":
        return "none"
    rows = claim.row.replace(";", " > ")
    changes = [claim.other_row.replace(";", ", "), claim.other_arm, claim.other_stratum, claim.other_metric]
    against = " ".join(change for change in changes if change)
    arm = "" if claim.arm in ("", PREDICTED) and not claim.other_arm else f" {claim.arm or PREDICTED}"
    parts = [f"{rows}{arm}{f' against {against}' if against else ''}"]
    parts.append(f"{claim.metric}{f' of {claim.structure}' if claim.structure not in ('', 'mean') else ''}")
    if claim.stratum:
        parts.append(claim.stratum)
    if claim.value == claim.value:
        parts.append(f"{claim.value:g}{f' to {claim.upper:g}' if claim.upper == claim.upper else ''}")
    return f"{claim.test}: {', '.join(parts)}"
