"""The claims ledger: every testable statement of a paper, judged on the evidence at hand.

The rules, which the report prints (`RULES`), follow docs/protocol.md, "Intervals and tests" and "Claims".
"""

from dataclasses import asdict

import pandas as pd

from reports.claims.claim import CONTRADICTED, NOT_REACHED, NOT_TESTABLE, PREDICTED, Claim, Finding, GapError, missing
from reports.claims.ledger import CLAIMS_FILE, load_claims, published_structures
from reports.claims.run_tests import TESTS
from reports.claims.superiority import judge_superiority
from reports.claims.values import PatientValues
from reports.evidence import Evidence

RULES = (
    "The unit is the patient, averaged over slices and seeds; only runs with folds by patient count.",
    "Effects are signed so that positive is what the paper says; intervals are 95 %, not corrected for multiplicity.",
    *(test.rule for test in TESTS.values() if test.rule),
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
    findings = judge_superiority([claim for claim in claims if "family" in TESTS[claim.test].needs], values)
    findings |= {claim.id: _judge(claim, values) for claim in claims if claim.id not in findings}
    records = [_record(claim, findings[claim.id], values) for claim in claims]
    return pd.DataFrame(records, columns=list(COLUMNS))


def _judge(claim: Claim, values: PatientValues) -> Finding:
    """Finding of a claim that is judged by itself."""
    test = TESTS[claim.test].judge
    try:
        return test(claim, values) if test else Finding(verdict=NOT_TESTABLE)
    except GapError as gap:
        return missing(claim, gap)


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
