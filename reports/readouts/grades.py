"""Goutallier grades of patients, of true and predicted masks, and how well they agree (Baur et al., methods).

What is said of them is in `reports.readouts.grade_tables`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import pandas as pd

from metrics.goutallier import GradeScale, patient_share
from metrics.grade_agreement import confusion_matrix, grade_agreement
from metrics.muscles import BOTH
from records.readout_files import PREDICTED, TRUE
from records.run import Run
from reports.sources import Sources

SCALES = ("simplified", "five_grade")  # nodes of conf/morphometry/grades
SHARE = "fat_pixel_share"  # what the scales grade
KEYS = ["row", "structure", "scale"]
GRADE_COLUMNS = (*KEYS, "patient", "truth_share", "prediction_share", TRUE, PREDICTED)
CONFUSION_COLUMNS = (*KEYS, TRUE, PREDICTED, "num_patients")
MEASURES = ("accuracy", "kappa", "ac1")
ENDS = ("", "_low", "_high", "_interval", "_patients", "_undefined")
AGREEMENT_COLUMNS = (
    *(*KEYS, "num_patients", "num_ungraded"),
    *(f"{measure}{end}" for measure in MEASURES for end in ENDS),
)
STATE_COLUMNS = ("row", "structure", "side", "source", "fat_state", "num_slices")
FILES = {
    "grades": "Grades of patients (`build_grades`).",
    "grade_confusion": "Patients of each pair of grades (`build_grade_confusion`).",
    "grade_agreement": "Accuracy, kappa and AC1 of the grades (`build_grade_agreement`).",
    "fat_states": "Slices by whether their fat could be told (`build_states`).",
}


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """FILES."""
    own = [run for run in sources.with_fusions if run.split == sources.split and not run.arm]
    scales = grade_scales(own)
    grades = build_grades(own, scales)
    return {
        "grades": grades,
        "grade_confusion": build_grade_confusion(grades, scales),
        "grade_agreement": build_grade_agreement(grades, scales),
        "fat_states": build_states(own),
    }


def grade_scales(runs: Sequence[Run]) -> dict[str, GradeScale]:
    """The scales of the runs' own configuration, by name; {} where nothing was graded."""
    nodes: list[Mapping[str, Any]] = [run.config.get("morphometry") or {} for run in runs]
    found = [node[name] for node in nodes for name in SCALES if node.get(name)]
    scales: dict[str, GradeScale] = {}
    for node in found:
        scales.setdefault(
            str(node["name"]), GradeScale(name=str(node["name"]), cutoffs=[dict(cutoff) for cutoff in node["cutoffs"]])
        )
    return scales


def build_grades(runs: Sequence[Run], scales: Mapping[str, GradeScale]) -> pd.DataFrame:
    """`grades.csv`: a line per row, muscle, scale and patient with GRADE_COLUMNS.

    A patient's share of fat is the mean over its slices whose share was told, of each source on its own, and over
    seeds; its grade is that of the share, "" where no slice has one.
    """
    shares = _patient_shares(runs)
    frames = []
    for name, scale in scales.items():
        grades = {source: [scale.grade(share) for share in shares[f"{source}_share"]] for source in (TRUE, PREDICTED)}
        frames.append(shares.assign(scale=name, **grades))
    table = pd.concat(frames, ignore_index=True) if frames else shares
    return table.reindex(columns=list(GRADE_COLUMNS)) if len(table) else pd.DataFrame(columns=list(GRADE_COLUMNS))


def build_grade_confusion(grades: pd.DataFrame, scales: Mapping[str, GradeScale]) -> pd.DataFrame:
    """`grade_confusion.csv`: patients of every pair of grades, those that nobody has included."""
    records = []
    key: Any
    for key, part in grades.groupby(KEYS, sort=False):
        counts, _ = confusion_matrix(list(part[TRUE]), list(part[PREDICTED]), scales[key[2]].grades)
        records += [
            (*key, true, other, int(counts.loc[true, other])) for true in counts.index for other in counts.columns
        ]
    return pd.DataFrame(records, columns=list(CONFUSION_COLUMNS))


def build_grade_agreement(grades: pd.DataFrame, scales: Mapping[str, GradeScale]) -> pd.DataFrame:
    """`grade_agreement.csv`: accuracy, linearly weighted kappa and AC1 over patients with 95 % intervals.

    `*_patients` is on how many a measure rests: one without a predicted grade is in the accuracy alone. `*_undefined`
    counts the resamples behind its interval in which it does not exist.
    """
    records = []
    key: Any
    for key, part in grades.groupby(KEYS, sort=False):
        found = grade_agreement(list(part[TRUE]), list(part[PREDICTED]), scales[key[2]].grades)
        ends = [astuple(getattr(found, measure)) for measure in MEASURES]
        records.append((*key, found.num_pairs, found.num_ungraded, *(cell for end in ends for cell in end)))
    return pd.DataFrame(records, columns=list(AGREEMENT_COLUMNS))


def build_states(runs: Sequence[Run]) -> pd.DataFrame:
    """Slices of each muscle by whether its fat could be told (`metrics.fat.FatState`), of all seeds."""
    frames = [_measured(run).assign(row=run.row) for run in runs]
    table = pd.concat(frames) if frames else pd.DataFrame()
    if table.empty or "fat_state" not in table:
        return pd.DataFrame(columns=list(STATE_COLUMNS))
    known = table.loc[table["fat_state"] != ""]
    return known.groupby(list(STATE_COLUMNS[:-1]), sort=False).size().rename("num_slices").reset_index()


def _patient_shares(runs: Sequence[Run]) -> pd.DataFrame:
    """row, structure, patient, truth_share, prediction_share; both sides together."""
    tables = [_measured(run) for run in runs]
    frames = [
        table.loc[table["side"] == BOTH].assign(row=run.row, seed=run.seed)
        for run, table in zip(runs, tables, strict=True)
        if SHARE in table
    ]
    if not frames:
        return pd.DataFrame(columns=["row", "structure", "patient", "truth_share", "prediction_share"])
    records = []
    key: Any
    for key, part in pd.concat(frames).groupby(["row", "structure", "patient", "source", "seed"], sort=False):
        values, areas = (part[name].to_numpy(dtype=float) for name in (SHARE, "csa_mm2"))
        records.append((*key, patient_share(values, areas)))
    names = ["row", "structure", "patient", "source", "seed", "share"]
    table: Any = pd.DataFrame(records, columns=names).groupby(names[:4], sort=False)["share"].agg("mean")
    table = table.unstack("source")
    table = table.reindex(columns=[TRUE, PREDICTED]).rename(columns=lambda name: f"{name}_share").reset_index()
    muscles = {part for run_table in tables for part in _with_fat(run_table)}
    return table.loc[table["structure"].isin(sorted(muscles))].sort_values(["row", "structure", "patient"])


def _measured(run: Run) -> pd.DataFrame:
    table = run.readouts.morphometry
    return pd.DataFrame() if run.arm or table is None else table


def _with_fat(table: pd.DataFrame) -> set[str]:
    """Structures that are muscles: fat was looked for in them."""
    return set(table.loc[table["fat_method"] != "", "structure"]) if "fat_method" in table else set()


def graded_rank(grades: pd.Series, scale: GradeScale) -> np.ndarray:
    """Place of each grade on its scale, from 1; NaN where there is none."""
    place = {grade: float(number) for number, grade in enumerate(scale.grades, start=1)}
    return np.array([place.get(str(grade), np.nan) for grade in grades])
