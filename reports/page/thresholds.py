"""Areas below a threshold: how often the truth and the predictions have them, and how well they agree."""

from typing import Any

from reports.evidence import Evidence
from reports.page.blocks import Block, Cell, Table
from reports.page.setting import in_order, label_of
from reports.page.values import count, interval, is_number, number, spoken
from reports.thresholds import NEAR, ONE_LEVEL, SLICE, TWO_LEVELS

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


def thresholds(evidence: Evidence) -> list[Block]:
    """Agreement by slice and patient and the error of areas near the threshold; nothing where there is no threshold."""
    table = evidence["thresholds"]
    if table.empty:
        return []
    found: list[Block] = []
    for unit in UNITS:
        lines: Any = in_order(evidence, table.loc[table["unit"] == unit]).to_dict("records")
        found.append(_agreement(evidence, unit, lines))
    return [*found, _errors(evidence)]


def _agreement(evidence: Evidence, unit: str, lines: list[dict[str, Any]]) -> Table:
    header = ["row", "n", "truth below", "predicted below", "both below", "truth alone"]
    header += ["prediction alone", "neither", "missed", "sensitivity, %", "specificity, %", "kappa"]
    rows = []
    for line in lines:
        counts = ("true_below", "predicted_below", "both_below", "only_truth", "only_prediction", "both_not_below")
        patients = f"{count(line['num_patients'])} patients"
        missed = Cell(
            text=count(line["missed_below"] + line["missed_not_below"]),
            below=f"{count(line['missed_below'])} below" if line["missed_below"] else "",
        )
        rows.append(
            [
                Cell(text=label_of(evidence, line["row"]), below=_limit(line), tone="name"),
                Cell(text=count(line["num_units"]), below=patients if line["num_units"] > line["num_patients"] else ""),
                *(Cell(text=count(line[name])) for name in counts),
                missed,
                _share(line, "sensitivity", "none below"),
                _share(line, "specificity", "all below"),
                _kappa(line),
            ]
        )
    notes = NOTES if unit == SLICE else ()
    return Table(caption=f"Areas below the threshold: {UNITS[unit]}.", header=header, rows=rows, notes=notes)


def _share(line: dict[str, Any], name: str, absent: str) -> Cell:
    """A share in percent, or why there is none."""
    if not is_number(line[name]):
        return Cell(text=absent if line["num_units"] else "no case")
    return Cell(
        text=number(line[name], scale=100), below=interval(line[f"{name}_low"], line[f"{name}_high"], scale=100)
    )


def _kappa(line: dict[str, Any]) -> Cell:
    """Kappa, or why there is none: where both have everything in one state, nothing is left to agree on by chance."""
    if is_number(line["kappa"]):
        return Cell(text=number(line["kappa"], 2), below=interval(line["kappa_low"], line["kappa_high"], 2))
    missed = line["missed_below"] + line["missed_not_below"]
    return Cell(text="all alike" if line["num_units"] > missed else "no case")


def _limit(line: dict[str, Any]) -> str:
    """The structure and its threshold, where a run says it."""
    below = f" below {number(line['threshold_mm2'], 0)} mm²" if is_number(line["threshold_mm2"]) else ""
    return f"{spoken(line['structure'])}{below}"


def _errors(evidence: Evidence) -> Table:
    rows = []
    for line in in_order(evidence, evidence["threshold_errors"]).to_dict("records"):
        near = f"{number(line['near_low_mm2'], 0)} to {number(line['near_high_mm2'], 0)} mm²"
        values = [
            Cell(
                text=number(line[name], 1, signed=signed) if is_number(line[name]) else "no slice",
                below=interval(line[f"{name}_low"], line[f"{name}_high"], 1, signed=signed),
            )
            for name, signed in (("bias_mm2", True), ("absolute_mm2", False))
        ]
        counts = [Cell(text=count(line[name])) for name in ("num_slices", "num_missed", "num_patients")]
        rows.append(
            [
                Cell(text=label_of(evidence, line["row"]), tone="name"),
                Cell(text=spoken(line["structure"]), below=near, tone="prose"),
                *values,
                *counts,
            ]
        )
    header = ["row", "true area", "bias, mm²", "mean absolute error, mm²", "slices", "missed", "patients"]
    caption = f"Error of the area where the true one is within {100 * NEAR:.0f} % of the threshold."
    notes = ["Prediction minus truth, mean over slices; intervals as above. Missed slices have no error."]
    return Table(caption=caption, header=header, rows=rows, notes=notes)
