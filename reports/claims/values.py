"""One value a patient for either side of a claim, from the joined case tables."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from metrics.aggregate import patient_means
from metrics.cases import DETECTION_IOU
from records.runs import BY_PATIENT
from reports.claims.claim import PREDICTED, Finding, GapError, Side, estimate
from reports.claims.grades import AGREEMENTS, GRADINGS, grade_level, grade_values
from reports.evidence import Evidence
from reports.readouts.grades import grade_scales
from reports.statistics.patients import LOWER_IS_BETTER
from reports.statistics.strata import SLICE, strata

# Share of the rows of the first statuses among those of all: docs/protocol.md, "Detection", misses and false alarms.
_STATUS_SHARES = {
    "found_share": (("scored",), ("scored", "missed")),
    "missed_share": (("missed",), ("scored", "missed")),
    "false_alarm_share": (("false_alarm",), ("false_alarm", "absent")),
}
_DETECTION = {"detection_precision": ("scored", "false_alarm"), "detection_recall": ("scored", "missed")}
SALIENCY = ("saliency_inside", "area_inside", "saliency_enrichment")
FEWER_IS_BETTER = (*LOWER_IS_BETTER, "missed_share", "false_alarm_share", "dice_spread")


class PatientValues:
    """Values per patient of any `Side`, each computed once: the mean over seeds of the patient's mean over slices."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        cases = evidence["cases"] if evidence["beside"].empty else pd.concat([evidence["cases"], evidence["beside"]])
        self._by_patient = bool((cases["split"] == BY_PATIENT).any())
        drawn: Any = _keyed(cases)
        self._tables = {(str(row), str(arm)): table for (row, arm), table in drawn.groupby(["row", "arm"], sort=False)}
        self._strata = {name: set(part["slice_key"]) for name, part in strata(drawn.loc[drawn["arm"] == ""])}
        self._regions = _keyed(evidence["region_cases"])
        self._grades, self._scales = evidence["grades"], grade_scales(evidence.runs.runs)
        self._agreement = evidence["grade_agreement"]
        self._known: dict[Side, pd.Series] = {}
        self.num_patients = drawn["patient"].nunique()

    def arms(self, row: str) -> list[str]:
        """Names of the arms in which a row was tested beside its own test."""
        return sorted(arm for known, arm in self._tables if known == row and arm)

    def strata(self, kind: str) -> list[str]:
        """Names of the strata that begin with a word, such as `level`."""
        return [name for name in self._strata if name.startswith(f"{kind} ")]

    def structures(self, side: Side) -> list[str]:
        """Names of the structures that a side is measured on.

        Raises:
            GapError: If there are none.
        """
        return list(dict.fromkeys(self.cases(side)["structure"]))

    def by_structure(self, left: Side, right: Side) -> dict[str, tuple[Side, Side]]:
        """Both sides on each structure that the left one is measured on."""
        names = self.structures(left)
        return {name: (replace(left, structure=name), replace(right, structure=name)) for name in names}

    def cases(self, side: Side) -> pd.DataFrame:
        """The rows of the case tables that a side is measured on; one per seed, slice and structure.

        Raises:
            GapError: If there are none.
        """
        arm = "" if side.arm == PREDICTED else side.arm
        if side.row not in {row for row, _ in self._tables}:
            raise GapError(f"no finished run of the row {side.row}{self._hint(side.row)}", row=side.row)
        if (side.row, arm) not in self._tables:
            raise GapError(f"the row {side.row} has no result of the arm {side.arm}", row=side.row)
        cases = self._tables[side.row, arm]
        regions = self._regions.loc[(self._regions["row"] == side.row) & (self._regions["arm"] == arm)]
        if side.structure in set(regions["structure"]):  # a region, not the structures whose names begin like it
            cases = regions.loc[regions["structure"] == side.structure]
        else:
            cases = cases.loc[[in_group(name, side.structure) for name in cases["structure"]]]
        if cases.empty:
            raise GapError(f"the cohort has no structure {side.structure}")
        if side.stratum:
            cases = cases.loc[cases["slice_key"].isin(self._strata.get(side.stratum, set()))]
            if cases.empty:
                where = "the cohort does not say it or has none; cohort=phantom with the preset bs_esnet does and has"
                raise GapError(f"no slice of the stratum {side.stratum}: {where}")
        return cases

    def _hint(self, row: str) -> str:
        """Why a row may not be there though something like it was run."""
        if not self._by_patient:
            return " with folds by patient"
        variants = sorted({known for known, _ in self._tables if known.startswith(f"{row} ")})
        return f" (but of {', '.join(variants)}; report one set of settings at a time)" if variants else ""

    def level(self, side: Side) -> Finding:
        """Mean over patients and its interval, without a verdict; of an agreement of grades the printed one.

        Raises:
            GapError: If there is none.
        """
        if side.metric in AGREEMENTS:
            return grade_level(self._agreement, side)
        return estimate(self.of(side).to_numpy(dtype=float))

    def of(self, side: Side) -> pd.Series:
        """One value per patient (index: patient, sorted), patients without a value left out.

        Raises:
            GapError: If no patient has a value.
        """
        if side not in self._known and side.metric in GRADINGS:
            self._known[side] = grade_values(self._grades, self._scales, side)
        if side not in self._known:
            cases = self.cases(side)
            seeds = [_values(table, side.metric) for _, table in cases.groupby("seed")]
            values = pd.concat(seeds, axis=1).mean(axis=1).dropna().sort_index()
            assert isinstance(values, pd.Series)
            if values.empty:
                raise GapError(
                    f"no value of {side.metric} for the row {side.row}: its network has none, its records are of an "
                    "older version, or no slice allows one",
                    row=side.row,
                    more=" retrain=true",
                )
            self._known[side] = values
        return self._known[side]


def _keyed(cases: pd.DataFrame) -> pd.DataFrame:
    """Rows of slices that were annotated, of runs with folds by patient, with a key of the slice."""
    drawn = cases.loc[(cases["split"] == BY_PATIENT) & (cases["status"] != "unlabelled")]
    columns = [drawn[name].to_numpy() for name in SLICE]
    return drawn.assign(slice_key=[f"{case}#{number}" for case, number in zip(*columns, strict=True)])


def _values(cases: pd.DataFrame, metric: str) -> pd.Series:
    """Value per patient of one seed; NaN or left out where there is none."""
    statuses, patients = cases["status"].to_numpy(dtype=str), cases["patient"].to_numpy(dtype=str)
    if metric in _STATUS_SHARES:
        part, whole = _STATUS_SHARES[metric]
        return _means(np.where(np.isin(statuses, whole), np.isin(statuses, part), np.nan), patients)
    if metric in _DETECTION:
        right = cases["box_iou"].to_numpy(dtype=float) >= DETECTION_IOU
        return _means(np.where(np.isin(statuses, _DETECTION[metric]), right, np.nan), patients)
    if metric in SALIENCY:
        slices = _slice_shares(cases)
        return _means(slices[metric].to_numpy(dtype=float), slices["patient"].to_numpy(dtype=str))
    if metric == "dice_spread":
        distance = (cases["dice"] - cases.groupby("structure")["dice"].transform("median")).abs()
        cases = cases.assign(dice_spread=distance)
    if metric not in cases.columns:
        return pd.Series(dtype=float)
    values = patient_means(cases, metric).agg("mean", axis=1)
    assert isinstance(values, pd.Series)
    return values


def _means(values: np.ndarray, patients: np.ndarray) -> pd.Series:
    """Mean of the defined values of each patient."""
    means = pd.DataFrame({"patient": patients, "value": values}).groupby("patient")["value"].agg("mean")
    assert isinstance(means, pd.Series)
    return means


def _slice_shares(cases: pd.DataFrame) -> pd.DataFrame:
    """Of each slice `patient` and SALIENCY: what lies inside its structures, what they cover, the one over the other.

    Only structures with both shares count, so that the two are of the same pixels.
    """
    columns = ["saliency_share", "area_share"]
    known = cases.dropna(subset=columns) if set(columns) <= set(cases.columns) else cases.iloc[:0]
    sums = (
        known.reindex(columns=["patient", "case", "slice", *columns]).groupby(["patient", "case", "slice"]).agg("sum")
    )
    inside, area = (sums[name].to_numpy(dtype=float) for name in columns)
    shares = dict(zip(SALIENCY, (inside, area, inside / area), strict=True))
    return pd.DataFrame({"patient": sums.index.get_level_values("patient").astype(str), **shares})


def in_group(structure: str, group: str) -> bool:
    """Whether a structure belongs to a group: `mean`, its name, the beginning of its name, or several joined by `+`."""
    return any(part == "mean" or structure == part or structure.startswith(f"{part}_") for part in group.split("+"))
