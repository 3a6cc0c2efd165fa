"""Values of patients that come from their Goutallier grades."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from metrics.goutallier import GradeScale
from metrics.grade_agreement import confusion_matrix, weighted_kappa
from reports.claims.jackknife import pseudo_values
from reports.claims.sides import PREDICTED, GapError, Side
from reports.muscles.grades import graded_rank
from reports.readout_files import PREDICTED as OTHER
from reports.readout_files import TRUE


def grade_values(grades: pd.DataFrame, scales: Mapping[str, GradeScale], side: Side) -> pd.Series:
    """One number per patient (index: patient, sorted), on the first scale; patients without both grades left out.

    * `grade_accuracy`: 1 where the grades are equal, else 0.
    * `grade_kappa`: pseudo-values of kappa, weighted linearly (`reports.claims.samples`).
    * `grade_true`, `grade_pred`: place of the grade on its scale, from 1.
    * `highest_grade_true`, `highest_grade_pred`: 1 for the last grade of the scale, else 0.

    Raises:
        GapError: If nobody was graded, or the grades do not vary enough for kappa.
    """
    own = grades.loc[(grades["row"] == side.row) & (grades["structure"] == side.structure)]
    # In the accuracy, no grade is a wrong one, as in `grade_agreement`.
    own = own.loc[(own[TRUE] != "") & ((own[OTHER] != "") | (side.metric == "grade_accuracy"))]
    if own.empty or side.arm != PREDICTED or side.stratum:
        raise GapError(f"no patient of the row {side.row} has grades of {side.structure}", row=side.row)
    scale = scales[str(own["scale"].iloc[0])]
    own = own.loc[own["scale"] == scale.name].sort_values("patient")
    true, other = graded_rank(own[TRUE], scale), graded_rank(own[OTHER], scale)
    if side.metric == "grade_kappa":
        values = _kappa(own, scale)
        if not np.isfinite(values).all():
            raise GapError(f"kappa of {side.structure} is not defined: nearly all patients have one grade")
    else:
        last = len(scale.grades)
        known = {"grade_accuracy": true == other, "highest_grade_true": true == last, "grade_true": true}
        values = (known | {"highest_grade_pred": other == last, "grade_pred": other})[side.metric].astype(float)
    return pd.Series(values, index=own["patient"].astype(str).to_numpy())


def _kappa(own: pd.DataFrame, scale: GradeScale) -> np.ndarray:
    true, other = own[TRUE].to_numpy(), own[OTHER].to_numpy()

    def kappa(kept: np.ndarray) -> float:
        counts, _ = confusion_matrix(list(true[kept]), list(other[kept]), scale.grades)
        return float(weighted_kappa(counts.to_numpy(dtype=float)))

    return pseudo_values(kappa, len(own))
