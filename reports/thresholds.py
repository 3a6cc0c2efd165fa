"""Areas below a threshold, such as a narrow dural sac: whether predicted masks find them, by slice and by patient."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from metrics.grade_agreement import weighted_kappa
from metrics.resampling import interval_of_tables
from records.readout_files import PREDICTED, TRUE
from records.run import Run
from reports.statistics.intervals import intervals

THRESHOLD = "area_threshold"  # column of morphometry.csv
BELOW, NOT_BELOW, MISSED = "below", "not below", "missed"
SLICE, ONE_LEVEL, TWO_LEVELS = "slice", "patient, one level", "patient, two levels"
LEVELS_BELOW: Mapping[str, int] = {ONE_LEVEL: 1, TWO_LEVELS: 2}  # how many make a patient below
NEAR = 0.25  # ours: areas within a quarter of the threshold are near it
KEYS = ["row", "structure", "threshold_mm2"]
PLACE = ["row", "seed", "structure", "patient", "case", "slice", "level"]
COUNTS = ("both_below", "only_truth", "missed_below", "only_prediction", "both_not_below", "missed_not_below")
MEASURES = ("sensitivity", "specificity", "kappa")
AREAS = ("bias_mm2", "absolute_mm2")
AGREEMENT_COLUMNS = (
    *(*KEYS, "unit", "num_patients", "num_units", "true_below", "predicted_below", *COUNTS),
    *(f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high", "_interval")),
)
ERROR_COLUMNS = (
    *(*KEYS, "near_low_mm2", "near_high_mm2", "num_patients", "num_slices", "num_missed"),
    *(f"{area}{end}" for area in AREAS for end in ("", "_low", "_high", "_interval")),
)


def threshold_slices(runs: Sequence[Run]) -> pd.DataFrame:
    """PLACE, threshold_mm2, `truth_mm2` and `prediction_mm2` (0 where missed), `truth` and `prediction`: their states.

    Of slices on which the true structure is, and has a threshold. A prediction without an area is MISSED.
    """
    frames = []
    for run in runs:
        table = run.readouts.morphometry
        if run.arm or table is None or THRESHOLD not in table:
            continue
        told = table.loc[table[THRESHOLD].isin([BELOW, NOT_BELOW])]
        own = table.loc[table["structure"].isin(list(told["structure"]))].assign(row=run.row, seed=run.seed)
        wide = own.pivot(index=PLACE, columns="source", values=["csa_mm2", THRESHOLD])
        wide = wide.reindex(columns=pd.MultiIndex.from_product([["csa_mm2", THRESHOLD], [TRUE, PREDICTED]]))
        flat = pd.DataFrame({name: wide[column] for name, column in _COLUMNS.items()}).reset_index()
        thresholds = (run.config.get("morphometry") or {}).get("narrow_below_mm2") or {}
        frames.append(flat.assign(threshold_mm2=[float(thresholds.get(name, nan)) for name in flat["structure"]]))
    if not frames:
        return pd.DataFrame(columns=[*PLACE, *_COLUMNS, "threshold_mm2"])
    slices = pd.concat(frames, ignore_index=True)
    slices = slices.loc[slices[TRUE].isin([BELOW, NOT_BELOW])].reset_index(drop=True)
    areas = {name: np.nan_to_num(slices[name].to_numpy(dtype=float)) for name in ("truth_mm2", "prediction_mm2")}
    states = slices[PREDICTED].where(slices[PREDICTED].isin([BELOW, NOT_BELOW]), MISSED)
    return slices.assign(**areas, **{PREDICTED: states})


_COLUMNS = {
    **{"truth_mm2": ("csa_mm2", TRUE), "prediction_mm2": ("csa_mm2", PREDICTED)},
    **{TRUE: (THRESHOLD, TRUE), PREDICTED: (THRESHOLD, PREDICTED)},
}


def patient_states(slices: pd.DataFrame, num_levels: int) -> pd.DataFrame:
    """State of each patient and seed by truth and prediction: below where at least `num_levels` of its levels are.

    A level is below where any of its slices is, as the narrowest place of it counts, and missed where no slice of it
    has a prediction. A patient whose missed levels could make the number up is MISSED. Patients with fewer levels are
    left out; slices without a level are of one and the same.
    """
    levels: Any = slices.groupby([*PLACE[:4], "level"], sort=False)[[TRUE, PREDICTED]].agg(_level_state)
    own = [levels.index.get_level_values(name) for name in PLACE[:4]]
    below, missed, every = (found.groupby(own).sum() for found in (levels == BELOW, levels == MISSED, levels != ""))
    states = np.select([below >= num_levels, below + missed >= num_levels], [BELOW, MISSED], NOT_BELOW)
    table = pd.DataFrame(states, index=below.index.set_names(PLACE[:4]), columns=[TRUE, PREDICTED])
    return table.loc[every[TRUE] >= num_levels].reset_index()


def _level_state(states: pd.Series) -> str:
    found = set(states)
    return next(state for state in (BELOW, NOT_BELOW, MISSED) if state in found)


def build_thresholds(slices: pd.DataFrame) -> pd.DataFrame:
    """`thresholds.csv`: how often truth and prediction are below, with AGREEMENT_COLUMNS.

    Units are slices, and patients in two readings (`patient_states`), of all seeds. Counts are the 2 x 2 table and, in
    `missed_*`, truths without a prediction. `sensitivity` is the share of the true ones below that the prediction has
    below, `specificity` that of the others it has not below; a missed one is right in neither. `kappa` is Cohen's, of
    those with a prediction. Intervals keep what is of a patient together; none where a measure is at its limit, NaN
    without a case.
    """
    records = []
    key: Any
    for key, part in slices.groupby(KEYS, sort=False, dropna=False):
        units = {SLICE: part} | {name: patient_states(part, number) for name, number in LEVELS_BELOW.items()}
        for unit, states in units.items():
            tables = _tables(states)
            counts = dict(zip(COUNTS, tables.sum(axis=0).ravel().astype(int).tolist(), strict=True))
            known = {"unit": unit, "num_patients": len(tables), "num_units": len(states)}
            known |= {"true_below": sum(states[TRUE] == BELOW), "predicted_below": sum(states[PREDICTED] == BELOW)}
            records.append({**dict(zip(KEYS, key, strict=True)), **known, **counts, **_measures(tables)})
    return pd.DataFrame(records, columns=list(AGREEMENT_COLUMNS))


def _tables(states: pd.DataFrame) -> np.ndarray:
    """Counts of each patient, [n, truth below or not, prediction below, not below or missed], in COUNTS' order."""
    patients = {name: number for number, name in enumerate(sorted(set(states["patient"])))}
    tables = np.zeros((len(patients), 2, 3))
    order = (BELOW, NOT_BELOW, MISSED)
    for patient, true, other in zip(states["patient"], states[TRUE], states[PREDICTED], strict=True):
        tables[patients[patient], order.index(true), order.index(other)] += 1
    return tables


def _measures(tables: np.ndarray) -> dict[str, Any]:
    right = np.stack([tables[:, place, place] for place in (0, 1)])
    shares = intervals(right, tables.sum(axis=2).T)
    found: dict[str, Any] = {}
    lines: Any = shares.to_dict("records")
    for name, line in zip(MEASURES, lines, strict=False):
        limit = line["low"] == line["high"]  # all or none, in every patient
        low, high = (nan, nan) if limit else (max(line["low"], 0.0), min(line["high"], 1.0))
        found |= {name: line["mean"], f"{name}_low": low, f"{name}_high": high}
        found[f"{name}_interval"] = "" if limit else line["interval"]
    compared = tables[:, :, :2]
    kappa = interval_of_tables(compared[compared.any(axis=(1, 2))], lambda counts: weighted_kappa(counts, "none"))
    ends = {"kappa_low": kappa.low, "kappa_high": kappa.high, "kappa_interval": kappa.kind}
    return found | {"kappa": kappa.value} | ends


def build_threshold_errors(slices: pd.DataFrame) -> pd.DataFrame:
    """`threshold_errors.csv`: prediction minus truth where the true area is near the threshold, with ERROR_COLUMNS.

    Means over slices with intervals by patient; slices without a prediction are counted and have no error.
    """
    records = []
    key: Any
    for key, part in slices.groupby(KEYS, sort=False):
        low, high = ((1 + sign * NEAR) * key[KEYS.index("threshold_mm2")] for sign in (-1, 1))
        near = part.loc[part["truth_mm2"].between(low, high)]
        found = near.loc[near[PREDICTED] != MISSED]
        error = found["prediction_mm2"] - found["truth_mm2"]
        sums: Any = found.assign(bias_mm2=error, absolute_mm2=error.abs()).groupby("patient")[list(AREAS)]
        totals, sizes = sums.sum().to_numpy(dtype=float).T, sums.count().to_numpy(dtype=float).T
        record: dict[str, Any] = dict(zip(KEYS, key, strict=True))
        record |= {"near_low_mm2": low, "near_high_mm2": high, "num_patients": sizes.shape[1]}
        record |= {"num_slices": len(near), "num_missed": len(near) - len(found)}
        for area, line in zip(AREAS, intervals(totals, sizes).to_dict("records"), strict=True):
            record |= {area: line["mean"], **{f"{area}_{end}": line[end] for end in ("low", "high", "interval")}}
        records.append(record)
    return pd.DataFrame(records, columns=list(ERROR_COLUMNS))
