"""Everything a report says, as tables; `reports.collect` computes it once, then it is printed, drawn and judged."""

from dataclasses import dataclass

import pandas as pd

from records.runs import Runs

STRUCTURES, AGREEMENT = "structures", "agreement"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a report says.

    Attributes:
        runs: The runs it was made from.
        published: The paper's table in percent (`reports.papers`); empty without one.
        rows: Rows with a finished run, in the paper's order, then the others by name.
        labels: What a table prints for each row, published ones without a run included.
        averaged: What the primary endpoint is the mean of (`reports.endpoint.averaged_names`).
        reference: The proposed system, or whatever the others are compared with.
        margin: Difference of interest in Dice, 0..1.
        cases: Every case table joined, with row, split, arm, seed, fold.
        scores: One value a patient (`reports.patients.patient_scores`).
        statistics: statistics.csv.
        table: table.csv.
        costs: row, parameters, flop_per_image, ms_per_image, peak_memory_mb, peak_memory_of, training_s, num_runs,
            encoder_weights, cells_mm, paper_cells_mm, steps, num_masked, num_keypoint_only
            (`reports.costs.build_costs`).
        detection: row, box ("network" | "mask"), iou, precision, recall (0..1), num_patients.
        ranks: row, rank, probability.
        folds: split, fold, part, num_patients, num_slices, levels.
        inflation: row, structure, by_patient, as_published, difference (Dice, 0..1) and its interval.
        keypoints: keypoints.csv (`reports.spines.keypoints.build_keypoints`), of fusions and runs without masks, too.
        levels: levels.csv (`build_levels`).
        confusion: confusion.csv (`build_confusion`).
        trainings: Epochs that each training took to get near its end (`reports.convergence.build_trainings`).
        convergence: convergence.csv (`build_convergence`).
        measured: One pair of measurements a patient (`reports.agreement.patient_pairs`).
        agreement: agreement.csv (`build_agreement`).
        thresholds: thresholds.csv (`reports.thresholds.build_thresholds`).
        threshold_errors: threshold_errors.csv (`build_threshold_errors`).
        curve: curve.csv (`reports.spines.curve.build_curve`).
        fusion: fusion.csv (`reports.spines.fusion.build_fusion`).
        region_cases: Scores of every slice's regions (`reports.muscles.regions.region_cases`).
        regions: regions.csv (`reports.muscles.areas.build_regions`).
        region_outputs: region_outputs.csv, the same of outputs that overlap, each on its own.
        region_strata: region_strata.csv (`build_region_strata`), of the reference.
        grades: grades.csv (`reports.muscles.grades.build_grades`).
        grade_confusion: grade_confusion.csv (`build_grade_confusion`).
        grade_agreement: grade_agreement.csv (`build_grade_agreement`).
        fat_states: fat_states.csv (`build_states`).
        beside: Case tables of curve and fusions, joined as `cases` are, for the claims alone.
        varied: varied.csv, settings that the paper varies (`reports.varied.tables.build_values`).
        varied_noise: varied_noise.csv (`build_noise`).
        varied_gains: varied_gains.csv (`reports.varied.gains.build_gains`).
        claims: claims.csv; empty until judged.
        notes: What is printed under the table.
        overlay: STRUCTURES or AGREEMENT, how pictures show masks; "" for as the runs drew theirs.
    """

    runs: Runs
    published: pd.DataFrame
    rows: tuple[str, ...]
    labels: dict[str, str]
    averaged: tuple[str, ...]
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
    keypoints: pd.DataFrame
    levels: pd.DataFrame
    confusion: pd.DataFrame
    trainings: pd.DataFrame
    convergence: pd.DataFrame
    measured: pd.DataFrame
    agreement: pd.DataFrame
    thresholds: pd.DataFrame
    threshold_errors: pd.DataFrame
    curve: pd.DataFrame
    fusion: pd.DataFrame
    region_cases: pd.DataFrame
    regions: pd.DataFrame
    region_outputs: pd.DataFrame
    region_strata: pd.DataFrame
    grades: pd.DataFrame
    grade_confusion: pd.DataFrame
    grade_agreement: pd.DataFrame
    fat_states: pd.DataFrame
    beside: pd.DataFrame
    varied: pd.DataFrame
    varied_noise: pd.DataFrame
    varied_gains: pd.DataFrame
    claims: pd.DataFrame
    notes: tuple[str, ...]
    overlay: str
