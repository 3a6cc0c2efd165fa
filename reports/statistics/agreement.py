"""How well measurements on predicted masks agree with true ones (docs/protocol.md, agreement: one value a patient)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from metrics.agreement import bland_altman, icc_2_1
from metrics.muscles import BOTH
from records.readout_files import MORPHOMETRY, PREDICTED, TRUE
from records.run import Run
from reports.statistics.intervals import intervals
from reports.statistics.patients import MEAN

PLACE = ["case", "patient", "slice", "level", "structure", "side"]
COLUMN = ["row", "measure", "structure", "side"]  # what is one line of `agreement.csv`
MEASURED = (*COLUMN, "patient", TRUE, PREDICTED)
# How the name of a measure ends, the unit that it is printed in (shares: percent), and the factor that leads there.
UNITS = {
    **{"_mm2": ("mm²", 1.0), "_mm": ("mm", 1.0), "_degrees": ("°", 1.0), "_percent": ("%", 1.0)},
    **{"_points": ("points", 1.0), "_share": ("%", 100.0), "_fraction_signal": ("%", 100.0)},
}
NAMED_BY_UNIT = ("mm2", "mm", "degrees", "percent", "points")  # endings that say the unit and nothing else
COLUMNS = (
    *COLUMN,
    *("num_patients", "num_pairs", "num_missing", "num_extra", "truth_mean", "mean_absolute"),
    *("bias", "bias_low", "bias_high", "bias_interval", "sd", "limit_low", "limit_high", "icc", "icc_low", "icc_high"),
)


def build_pairs(runs: Sequence[Run]) -> pd.DataFrame:
    """Every measure of every structure, on the true and the predicted mask: COLUMN, PLACE, seed, `truth`, `prediction`.

    NaN where one of the two has none; a measure that neither has is left out.
    """
    frames = []
    for run in runs:
        table = run.readouts.morphometry
        if run.arm or table is None:
            continue
        # Grades are texts, for a scale without distances: weighted kappa, not these.
        measures = [name for name in table.select_dtypes("number") if name not in MORPHOMETRY]
        long = table.melt([*PLACE, "source"], measures, var_name="measure")
        wide = long.pivot(index=[*PLACE, "measure"], columns="source", values="value")
        wide = wide.reindex(columns=[TRUE, PREDICTED]).dropna(how="all").reset_index()
        frames.append(wide.assign(row=run.row, seed=run.seed))
    columns = [*dict.fromkeys((*COLUMN, *PLACE)), "seed", TRUE, PREDICTED]
    return pd.concat(frames, ignore_index=True).loc[:, columns] if frames else pd.DataFrame(columns=columns)


def patient_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """One pair of values a patient, with MEASURED: means over the slices and seeds on which both are known.

    `structure` "mean" is the patient's mean over all structures that have the measure, where it is of several and none
    holds another, as both sides together hold either.
    """
    known = pairs.dropna(subset=[TRUE, PREDICTED])
    own = _means(known)
    places = own.drop_duplicates(COLUMN).groupby(["row", "measure"]).size()
    nested = set(own.loc[own["side"] == BOTH, "measure"])
    keys = zip(own["row"], own["measure"], strict=True)
    several = [measure not in nested and places.loc[row, measure] > 1 for row, measure in keys]
    means = _means(own.loc[several].assign(structure=MEAN, side=""))
    return pd.concat([means, own], ignore_index=True).loc[:, list(MEASURED)]


def build_agreement(pairs: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """`agreement.csv`: prediction minus truth, in the unit that the measure's name ends in; a line per COLUMN.

    `bias` with the interval of a mean over patients, `sd` and limits of agreement (bias +- 1.96 SD) of the patients'
    differences, `mean_absolute` their mean size, ICC(2,1) with its interval; NaN where there are too few patients.
    `num_pairs` are measurements that both have, `num_missing` those of the truth alone (a structure that was missed or
    too spoilt to be measured), `num_extra` those of the prediction alone; all seeds count.

    Args:
        pairs: `build_pairs`.
        measured: `patient_pairs` of them.
    """
    records, differences = [], []
    key: Any
    for key, part in measured.groupby(COLUMN, sort=False):
        truth, other = (part[name].to_numpy(dtype=float) for name in (TRUE, PREDICTED))
        found, agreement = bland_altman(truth, other), icc_2_1(truth, other)
        differences.append(other - truth)
        values = (found.num, truth.mean(), np.abs(other - truth).mean(), found.sd, found.low, found.high)
        records.append((*key, *values, agreement.value, agreement.low, agreement.high))
    columns = ["num_patients", "truth_mean", "mean_absolute", "sd", "limit_low", "limit_high"]
    table = pd.DataFrame(records, columns=[*COLUMN, *columns, "icc", "icc_low", "icc_high"])
    bias = intervals(differences)
    table[["bias", "bias_low", "bias_high", "bias_interval"]] = bias[["mean", "low", "high", "interval"]]
    return _counted(table, pairs).loc[:, list(COLUMNS)]


def name_and_unit(measure: str) -> tuple[str, str, float]:
    """A measure's name as one writes it, its unit, and the factor that brings its values to that unit."""
    for ending, (unit, scale) in UNITS.items():
        if measure.endswith(ending):
            name = measure.removesuffix(ending) if ending.removeprefix("_") in NAMED_BY_UNIT else measure
            return _spoken(name), unit, scale
    return _spoken(measure), "", 1.0


def _spoken(name: str) -> str:
    return " ".join("CSA" if word == "csa" else word for word in name.split("_"))


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Mean of both values of each patient."""
    return table.groupby([*COLUMN, "patient"], sort=False).agg({TRUE: "mean", PREDICTED: "mean"}).reset_index()


def _counted(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """With the numbers of measurements that both, or one of the two, have."""
    truth, other = pairs[TRUE].notna(), pairs[PREDICTED].notna()
    counts = pairs[COLUMN].assign(num_pairs=truth & other, num_missing=truth & ~other, num_extra=other & ~truth)
    whole = counts.assign(structure=MEAN, side="")
    return table.merge(pd.concat([whole, counts]).groupby(COLUMN).agg("sum").reset_index(), on=COLUMN, how="left")
