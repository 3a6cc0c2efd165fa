"""From runs to everything a report says of them."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from records.gaps import expected_rows
from records.row_names import by_name_and_number
from records.runs import Runs
from reports.case_tables import joined_cases
from reports.chapters.notes import write_notes
from reports.claims.judge import judge
from reports.endpoint import averaged_names, with_averaged
from reports.evidence import Evidence
from reports.papers import empty_published, load_published, method_names, place_of, proposed_row, row_label
from reports.readouts import built_tables
from reports.region_scores import region_cases
from reports.sources import Sources
from reports.statistics.comparisons import rank_probabilities
from reports.statistics.intervals import FEWEST_FOR_TEST
from reports.statistics.patients import GROUP, patient_scores, primary_values, scored_metrics
from reports.statistics.table import COLUMNS as STATISTICS_COLUMNS
from reports.statistics.table import build_statistics
from reports.summaries import TABLE_COLUMNS, build_table

RECONSTRUCTED = "reconstructed"
RANKS = ["row", "rank", "probability"]


def collect(runs: Runs, *, table: str | Sequence[str] | None, reference: str | None, margin: float) -> Evidence:
    """Everything of a report, the claims judged.

    Args:
        runs: What `load_runs` found.
        table: The paper's table in `reports/published`, or several, or None.
        reference: Row that the others are compared with; None for the paper's proposed system.
        margin: Difference of interest in Dice, 0..1.

    Raises:
        ValueError: If there is no such table or row, or the margin is not above 0.
    """
    return with_claims(gather(runs, table=table, reference=reference, margin=margin))


def with_claims(evidence: Evidence) -> Evidence:
    """The same with its claims judged."""
    return evidence.with_tables(claims=judge(evidence))


def gather(runs: Runs, *, table: str | Sequence[str] | None, reference: str | None, margin: float) -> Evidence:
    """Everything of a report but the claims; without a single model trained on all masks, what there is beside them.

    Raises:
        ValueError: As in `collect`.
    """
    if not 0 < margin < 1:
        raise ValueError(f"report.margin is {margin}, expected a difference in Dice between 0 and 1, such as 0.005")
    published = load_published(table) if table else empty_published()
    rows = ordered_rows(runs, published)
    competing = {run.row for run in runs.runs if run.competes}
    systems = tuple(row for row in rows if row in competing)  # a second rater is no competitor, nor is an oracle
    candidates = (*systems, *(row for row in rows if row not in competing))
    reference, note = _reference(candidates, published, reference) if rows else ("", ())
    cases, regions = joined_cases(runs.runs), region_cases((*runs.runs, *runs.fused))
    averaged = averaged_names(runs.structures, regions, published)
    compared = with_averaged(cases, regions.loc[regions["row"].isin(rows)], averaged)
    scores = pd.DataFrame(columns=[*GROUP, "patient", "structure", "metric", "value"])
    statistics, summary = (pd.DataFrame(columns=list(names)) for names in (STATISTICS_COLUMNS, TABLE_COLUMNS))
    if rows:
        scores = patient_scores(compared, scored_metrics(cases), averaged)
        known = {"rows": rows, "systems": systems, "reference": reference, "margin": margin, "averaged": averaged}
        statistics = build_statistics(compared, scores, **known)
        summary = build_table(runs, compared, statistics, published, rows, averaged)
    sources = Sources(
        runs=runs,
        published=published,
        rows=rows,
        reference=reference,
        averaged=averaged,
        cases=cases,
        scores=scores,
        regions=regions,
    )
    evidence = Evidence(
        runs=runs,
        published=published,
        rows=rows,
        labels=_labels((*rows, *(run.row for run in runs.everything)), published, runs),
        averaged=averaged,
        reference=reference,
        margin=margin,
        tables={
            "cases": cases,
            "scores": scores,
            "statistics": statistics,
            "table": summary,
            "ranks": _ranks(scores, systems, sources.split),
            "claims": pd.DataFrame(),
            **built_tables(sources),
        },
        notes=(),
        overlay="",
    )
    return replace(evidence, notes=(*note, *write_notes(evidence)))


def ordered_rows(runs: Runs, published: pd.DataFrame) -> tuple[str, ...]:
    """Rows with a run: the paper's in its order, each before its variants, then the others by name and number."""
    found = {run.row for run in runs.runs}
    return tuple(sorted(found, key=lambda row: (place_of(row, published), by_name_and_number(row))))


def _ranks(scores: pd.DataFrame, rows: Sequence[str], split: str) -> pd.DataFrame:
    """Rank stability on the patients that all rows have; none where they are too few to speak of a cohort."""
    shared = primary_values(scores, rows, split).dropna() if rows else pd.DataFrame()
    if len(shared) < FEWEST_FOR_TEST or shared.shape[1] < 2:
        return pd.DataFrame(columns=RANKS)
    return rank_probabilities(shared)


def _reference(rows: Sequence[str], published: pd.DataFrame, asked: str | None) -> tuple[str, tuple[str, ...]]:
    if asked is not None:
        if asked not in rows:
            raise ValueError(
                f"report.reference is {asked!r}, which no finished run is; expected one of {', '.join(rows)}"
            )
        return asked, ()
    proposed = proposed_row(published)
    if proposed in rows and proposed is not None:
        return proposed, ()
    variants = [row for row in rows if row.split(" ")[0] == proposed]
    chosen = (variants or list(rows))[0]
    if len(rows) == 1:
        return chosen, ()
    why = f"{proposed} has no finished run" if proposed and not variants else "the table names no single proposed row"
    return chosen, (f"Rows are compared with {chosen}, as {why}; report.reference=ROW chooses another.",)


def _labels(rows: Sequence[str], published: pd.DataFrame, runs: Runs) -> dict[str, str]:
    methods = method_names(published)
    labels = dict(methods)
    for row in (*rows, *expected_rows(runs.expected)):
        labels[row] = row_label(row, methods)
    # An experiment says itself that its network was put together from less than a full description.
    reconstructed = {run.row for run in runs.everything if (run.config.get("paper") or {}).get(RECONSTRUCTED)}
    unmarked = [row for row in sorted(reconstructed) if RECONSTRUCTED not in labels[row]]
    return labels | {row: f"{labels[row]} ({RECONSTRUCTED})" for row in unmarked}
