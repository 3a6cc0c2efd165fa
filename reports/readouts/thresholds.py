"""Areas below a threshold: how often the truth and the predictions have them, and how well they agree."""

import pandas as pd

from reports.chapters.parts import Part, nobody
from reports.evidence import Evidence
from reports.render.blocks import Block
from reports.render.formats import count, is_number, number, pick, spoken
from reports.render.tables import PERCENT, ROW, Column, Line, Table, counts
from reports.setting import in_order
from reports.sources import Sources
from reports.thresholds import (
    NEAR,
    ONE_LEVEL,
    SLICE,
    TWO_LEVELS,
    build_threshold_errors,
    build_thresholds,
    threshold_slices,
)

UNITS = {SLICE: "slices", ONE_LEVEL: "patients, at least one level", TWO_LEVELS: "patients, at least two levels"}
NOTES = (
    "Slices on which the true mask has the structure, of all seeds; truth and prediction each by the area of their own "
    "mask. A structure without a prediction is missed, not narrow, and is right in neither sensitivity nor "
    "specificity; kappa (Cohen's) is of those with a prediction.",
    "A level is below where its narrowest slice is; a patient is below where at least one level is, or, in the second "
    "reading, at least two are. Who has fewer levels, or slices without a stated level, is left out there. A patient "
    "whose missed levels could make up the number counts as missed.",
    "95 % intervals keep the slices (and seeds) of a patient together. Below six patients they are ranges of the "
    "patients' own shares, and kappa has none; nor has a measure at its limit.",
)
FILES = {
    "thresholds": "Areas below a threshold (`reports.thresholds.build_thresholds`).",
    "threshold_errors": "Errors of areas near it (`build_threshold_errors`).",
}


def _missed(line: Line) -> float:
    return line["missed_below"] + line["missed_not_below"]


def _share(name: str, absent: str) -> Column:
    """A share in percent, or why there is none."""

    def why(line: Line) -> str:
        return absent if line["num_units"] else "no case"

    return Column(f"{name}, %", name, interval=name, absent=why, **PERCENT)


def _kappa_absent(line: Line) -> str:
    """Where both have everything in one state, nothing is left to agree on by chance."""
    return "all alike" if line["num_units"] > _missed(line) else "no case"


def _limit(line: Line) -> str:
    """The structure and its threshold, where a run says it."""
    below = f" below {number(line['threshold_mm2'], 0)} mm²" if is_number(line["threshold_mm2"]) else ""
    return f"{spoken(line['structure'])}{below}"


TABLE = Table(
    title="Areas below a threshold: {unit}",
    columns=[
        Column("row", "row", kind="row", below=_limit),
        Column(
            "n",
            "num_units",
            digits=0,
            below=lambda line: (
                f"{count(line['num_patients'])} patients" if line["num_units"] > line["num_patients"] else ""
            ),
        ),
        *counts(true_below="truth below", predicted_below="predicted below", both_below="both below"),
        *counts(only_truth="truth alone", only_prediction="prediction alone", both_not_below="neither"),
        Column(
            "missed",
            _missed,
            digits=0,
            below=lambda line: f"{count(line['missed_below'])} below" if line["missed_below"] else "",
        ),
        _share("sensitivity", "none below"),
        _share("specificity", "all below"),
        Column("kappa", "kappa", digits=2, interval="kappa", absent=_kappa_absent),
    ],
)
ERRORS = Table(
    title=f"Error of the area where the true one is within {100 * NEAR:.0f} % of the threshold",
    columns=[
        ROW,
        Column(
            "true area",
            "structure",
            kind="words",
            below=lambda line: f"{number(line['near_low_mm2'], 0)} to {number(line['near_high_mm2'], 0)} mm²",
        ),
        Column("bias, mm²", "bias_mm2", signed=True, interval="bias_mm2", absent="no slice"),
        Column("mean absolute error, mm²", "absolute_mm2", interval="absolute_mm2", absent="no slice"),
        *counts(num_slices="slices", num_missed="missed", num_patients="patients"),
    ],
    notes=["Prediction minus truth, mean over slices; intervals as above. Missed slices have no error."],
)


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`thresholds` and `threshold_errors`."""
    slices = threshold_slices(sources.with_fusions)
    return {"thresholds": build_thresholds(slices), "threshold_errors": build_threshold_errors(slices)}


def thresholds(evidence: Evidence) -> list[Block]:
    """Agreement by slice and patient and the error of areas near the threshold; nothing where there is no threshold."""
    table = in_order(evidence, evidence["thresholds"])
    if table.empty:
        return []
    found: list[Block] = [
        TABLE.of(pick(table, unit=unit), evidence.labels, notes=NOTES if unit == SLICE else (), unit=name)
        for unit, name in UNITS.items()
    ]
    return [*found, ERRORS.of(in_order(evidence, evidence["threshold_errors"]), evidence.labels)]


PARTS = [Part("thresholds", 0, thresholds, missed_by=nobody)]
