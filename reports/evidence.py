"""Everything a report says, as tables: computed once, then printed, drawn and judged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from reports.comparisons import rank_probabilities
from reports.gaps import expected_rows
from reports.notes import write_notes
from reports.papers import empty_published, load_published, method_names, proposed_row
from reports.patients import MEAN, patient_scores, scored_metrics
from reports.runs import Runs
from reports.statistics import build_statistics, patient_table
from reports.summaries import build_costs, build_detection, build_folds, build_inflation, build_table, primary_split


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a report says.

    Attributes:
        runs: The runs it was made from.
        published: The paper's table in percent (`reports.papers`); empty without one.
        rows: Rows with a finished run, in the paper's order, then the others by name.
        labels: What a table prints for each row, published ones without a run included.
        reference: The proposed system, or whatever the others are compared with.
        margin: Difference of interest in Dice, 0..1.
        cases: Every case table joined, with row, split, arm, seed, fold.
        scores: One value a patient (`reports.patients.patient_scores`).
        statistics: statistics.csv.
        table: table.csv.
        costs: row, parameters, flop_per_image, ms_per_image, peak_memory_mb, peak_memory_of, training_s, num_runs.
        detection: row, box ("network" | "mask"), iou, precision, recall (0..1), num_patients.
        ranks: row, rank, probability.
        folds: split, fold, part, num_patients, num_slices, levels.
        inflation: row, structure, by_patient, as_published, difference (Dice, 0..1) and its interval.
        claims: claims.csv; empty until judged.
        notes: What is printed under the table.
    """

    runs: Runs
    published: pd.DataFrame
    rows: tuple[str, ...]
    labels: dict[str, str]
    reference: str
    margin: float
    cases: pd.DataFrame
    scores: pd.DataFrame
    statistics: pd.DataFrame
    table: pd.DataFrame
    costs: pd.DataFrame
    detection: pd.DataFrame
    ranks: pd.DataFrame
    folds: pd.DataFrame
    inflation: pd.DataFrame
    claims: pd.DataFrame
    notes: tuple[str, ...]


def collect(runs: Runs, *, table: str | None, reference: str | None, margin: float) -> Evidence:
    """Everything of a report, the claims judged.

    Args:
        runs: What `load_runs` found.
        table: The paper's table in `reports/published`, or None.
        reference: Row that the others are compared with; None for the paper's proposed system.
        margin: Difference of interest in Dice, 0..1.

    Raises:
        ValueError: If there is no such table or row, or the margin is not above 0.
    """
    return with_claims(gather(runs, table=table, reference=reference, margin=margin))


def with_claims(evidence: Evidence) -> Evidence:
    """The same with its claims judged."""
    from reports.claims.judge import judge  # it reads Evidence, so it is imported when there is some

    return replace(evidence, claims=judge(evidence))


def gather(runs: Runs, *, table: str | None, reference: str | None, margin: float) -> Evidence:
    """Everything of a report but the claims.

    Raises:
        ValueError: As in `collect`.
    """
    if not 0 < margin < 1:
        raise ValueError(f"report.margin is {margin}, expected a difference in Dice between 0 and 1, such as 0.005")
    published = load_published(table) if table else empty_published()
    rows = ordered_rows(runs, published)
    reference, note = _reference(rows, published, reference)
    cases = _joined(runs)
    scores = patient_scores(cases, scored_metrics(cases))
    scored = {run.row for run in runs.runs if run.scored}
    systems = tuple(row for row in rows if row not in scored)  # a second rater is no competitor
    statistics = build_statistics(cases, scores, rows=rows, systems=systems, reference=reference, margin=margin)
    evidence = Evidence(
        runs=runs,
        published=published,
        rows=rows,
        labels=_labels(rows, published, runs),
        reference=reference,
        margin=margin,
        cases=cases,
        scores=scores,
        statistics=statistics,
        table=build_table(runs, cases, statistics, published, rows),
        costs=build_costs(runs, rows),
        detection=build_detection(cases, rows),
        ranks=_ranks(scores, systems, primary_split(cases)),
        folds=build_folds(runs),
        inflation=build_inflation(scores, rows, runs.structures),
        claims=pd.DataFrame(),
        notes=(),
    )
    return replace(evidence, notes=(*note, *write_notes(evidence)))


def ordered_rows(runs: Runs, published: pd.DataFrame) -> tuple[str, ...]:
    """Rows with a run: the paper's in its order, each before its variants, then the others by name."""
    place = {row: number for number, row in enumerate(method_names(published))}
    present = {run.row for run in runs.runs}
    return tuple(sorted(present, key=lambda row: (place.get(row.split(" ")[0], len(place)), row)))


def primary_values(scores: pd.DataFrame, rows: Sequence[str], split: str) -> pd.DataFrame:
    """Primary endpoint (Dice, mean over structures): a patient a line, a row a column, NaN where it has none."""
    chosen = (scores["split"] == split) & (scores["arm"] == "") & (scores["metric"] == "dice")
    return patient_table(scores.loc[chosen & (scores["structure"] == MEAN)], rows)


def _ranks(scores: pd.DataFrame, rows: Sequence[str], split: str) -> pd.DataFrame:
    """Rank stability on the patients that all rows have."""
    shared = primary_values(scores, rows, split).dropna()
    if shared.empty or shared.shape[1] < 2:
        return pd.DataFrame(columns=["row", "rank", "probability"])
    return rank_probabilities(shared)


def _joined(runs: Runs) -> pd.DataFrame:
    frames = [
        run.cases.assign(row=run.row, split=run.split, arm=run.arm, seed=run.seed, fold=run.fold) for run in runs.runs
    ]
    return pd.concat(frames, ignore_index=True)


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
        first, _, rest = row.partition(" ")
        labels[row] = f"{methods.get(first, first)} {rest}".strip()
    return labels
