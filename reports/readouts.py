"""The tables of a report that come from other records than the scores of the runs in its table."""

from collections.abc import Sequence

import pandas as pd

from metrics.cases import CASE_COLUMNS
from records.runs import Run, Runs
from reports.convergence import build_convergence, build_trainings
from reports.endpoint import with_averaged
from reports.spines.curve import build_curve, curve_cases, patient_values
from reports.spines.fusion import build_fusion
from reports.spines.keypoints import build_confusion, build_keypoints, build_levels
from reports.spines.levels import LABEL, OFFSET, READOUTS, with_readouts
from reports.statistics.agreement import build_agreement, build_pairs, patient_pairs
from reports.summaries import primary_split
from reports.thresholds import build_threshold_errors, build_thresholds, threshold_slices

CASES = (*CASE_COLUMNS, *READOUTS, LABEL, OFFSET, "row", "split", "arm", "seed", "fold")


def joined_cases(runs: Sequence[Run]) -> pd.DataFrame:
    """Case tables of runs in one, with row, split, arm, seed, fold and the columns of `reports.spines.levels`."""
    frames = [
        with_readouts(run).assign(row=run.row, split=run.split, arm=run.arm, seed=run.seed, fold=run.fold)
        for run in runs
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(CASES))


def read_out(
    runs: Runs,
    cases: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    regions: pd.DataFrame,
    averaged: Sequence[str],
    rows: Sequence[str],
    reference: str,
) -> dict[str, pd.DataFrame]:
    """The tables of an Evidence that come from other records than the scores of the table's runs.

    Args:
        runs: All of them.
        cases: Case tables of the table's runs joined.
        scores: One value a patient of each.
        regions: `reports.muscles.regions.region_cases` of all runs.
        averaged: What the primary endpoint is the mean of.
        rows: Rows of the table.
        reference: The one that the others are compared with.
    """
    split = primary_split(cases)
    own = [run for run in runs.runs if run.split == split]
    fused = joined_cases(runs.fused)
    fused_regions = regions.loc[regions["row"].isin([run.row for run in runs.fused])]
    beside = [*own, *runs.fused, *runs.keypoint_only]
    every_case = pd.concat([cases.loc[cases["split"] == split], fused, joined_cases(runs.keypoint_only)])
    every_case = every_case.loc[every_case["arm"] == ""]
    series = next((run.series for run in runs.everything if run.series), {})
    numbered = [name for name in runs.structures if any(name in names for names in series.values())]
    trainings = build_trainings(own)
    pairs = build_pairs([*own, *runs.fused])
    measured = patient_pairs(pairs)
    compared = threshold_slices([*own, *runs.fused])
    return {
        "keypoints": build_keypoints(beside, every_case, runs.structures),
        "levels": build_levels(
            every_case.loc[~every_case["row"].isin({run.row for run in runs.keypoint_only})], numbered
        ),
        "confusion": build_confusion([*own, *runs.fused], runs.structures),
        "trainings": trainings,
        "convergence": build_convergence(trainings, rows, reference),
        "measured": measured,
        "agreement": build_agreement(pairs, measured),
        "thresholds": build_thresholds(compared),
        "threshold_errors": build_threshold_errors(compared),
        "curve": build_curve(runs.curve, patient_values(runs.curve)),
        "fusion": build_fusion(
            with_averaged(fused, fused_regions, averaged), scores.loc[scores["split"] == split], rows, averaged
        ),
        "beside": pd.concat([fused, curve_cases(runs.curve)]),
    }
