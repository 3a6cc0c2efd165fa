"""What a claim says of the Goutallier grades of patients."""

from collections.abc import Mapping
from math import isnan

import numpy as np
import pandas as pd

from metrics.goutallier import GradeScale
from records.readout_files import PREDICTED as OTHER
from records.readout_files import TRUE
from reports.claims.claim import PREDICTED, Finding, GapError, Side, too_few
from reports.readouts.grades import graded_rank
from reports.statistics.intervals import FEWEST_FOR_TEST

# One number a patient, and one of all of them.
GRADINGS = ("grade_true", "grade_pred", "highest_grade_true", "highest_grade_pred")
AGREEMENTS = ("grade_accuracy", "grade_kappa")


def grade_values(grades: pd.DataFrame, scales: Mapping[str, GradeScale], side: Side) -> pd.Series:
    """One number per patient (index: patient, sorted), on the first scale; patients without both grades left out.

    * `grade_true`, `grade_pred`: place of the grade on its scale, from 1.
    * `highest_grade_true`, `highest_grade_pred`: 1 for the last grade of the scale, else 0.

    Raises:
        GapError: If nobody was graded.
    """
    own = _of_side(grades.loc[(grades[TRUE] != "") & (grades[OTHER] != "")], side)
    scale = scales[str(own["scale"].iloc[0])]
    own = own.loc[own["scale"] == scale.name].sort_values("patient")
    true, other = graded_rank(own[TRUE], scale), graded_rank(own[OTHER], scale)
    last = len(scale.grades)
    known = {"grade_true": true, "grade_pred": other}
    known |= {"highest_grade_true": true == last, "highest_grade_pred": other == last}
    return pd.Series(known[side.metric].astype(float), index=own["patient"].astype(str).to_numpy())


def grade_level(agreement: pd.DataFrame, side: Side) -> Finding:
    """`grade_accuracy` or `grade_kappa` of the first scale, with the interval that grade_agreement.csv has.

    Where every resample has the same value, which the table gives no interval, both ends are that value.

    Raises:
        GapError: If nobody was graded, or too many resamples have no such value.
    """
    name = side.metric.removeprefix("grade_")
    line = _of_side(agreement, side).iloc[0]
    value, low, high, kind, num_patients, num_undefined = (
        line[f"{name}{end}"] for end in ("", "_low", "_high", "_interval", "_patients", "_undefined")
    )
    if num_patients < FEWEST_FOR_TEST:
        return too_few(np.array([value]), int(num_patients))
    if isnan(value) or (not kind and num_undefined):
        raise GapError(f"{name} of {side.structure} is not defined: nearly all patients have one grade")
    notes = [f"without {num_undefined} draws in which it is not defined"] if num_undefined else []
    if not kind:
        low, high, notes = value, value, ["no interval: every draw of patients has this value"]
    effect, low, high = (float(number) for number in (value, low, high))
    return Finding(effect=effect, low=low, high=high, num_patients=int(num_patients), notes=tuple(notes))


def _of_side(table: pd.DataFrame, side: Side) -> pd.DataFrame:
    own = table.loc[(table["row"] == side.row) & (table["structure"] == side.structure)]
    if own.empty or side.arm != PREDICTED or side.stratum:
        raise GapError(f"no patient of the row {side.row} has grades of {side.structure}", row=side.row)
    return own
