"""Goutallier grades of patients: how predicted ones agree with true ones, and what could not be graded."""

from collections.abc import Mapping
from typing import Any

from records.readout_files import PREDICTED, TRUE
from reports.evidence import Evidence
from reports.muscles.grades import KEYS, grade_scales
from reports.page.blocks import Block, Cell, Figures, Folded, Heading, Lines, Table
from reports.page.setting import in_order, label_of
from reports.page.values import count, interval, number, pick, spoken
from reports.plots.distribution import fat_by_grade

STATES = {
    **{"lean": "no fat", "unclear": "fat and muscle hardly differ", "constant": "constant image"},
    **{"contrast": "unsuited contrast", "empty": "no mask", "few_pixels": "too few pixels", "unlabelled": "not drawn"},
}


def grades(evidence: Evidence) -> list[Block]:
    """Agreement, confusion and the share of fat by grade; nothing where no patient was graded."""
    blocks: list[Block] = []
    if len(evidence["grades"]):
        blocks += [Heading("Goutallier grades"), _agreement(evidence)]
        lines = evidence["grade_agreement"].to_dict("records")
        own, others = (
            [line for line in lines if (line["row"] == evidence.reference) == here] for here in (True, False)
        )
        blocks += [_confusion(evidence, {name: line[name] for name in KEYS}) for line in own]
        rest = [_confusion(evidence, {name: line[name] for name in KEYS}) for line in others]
        blocks += [Folded(summary="Grades of the other rows", blocks=rest)] if rest else []
        blocks += _pictures(evidence)
    return [*blocks, *_states(evidence)]


def _agreement(evidence: Evidence) -> Table:
    rows = []
    for line in in_order(evidence, evidence["grade_agreement"]).to_dict("records"):
        values = []
        for name, scale in (("accuracy", 100.0), ("kappa", 1.0), ("ac1", 1.0)):
            digits = 1 if scale > 1 else 2
            ends = interval(line[f"{name}_low"], line[f"{name}_high"], digits, scale=scale)
            values.append(Cell(text=number(line[name], digits, scale=scale), below=ends))
        name = Cell(text=label_of(evidence, line["row"]), tone="name")
        muscle = Cell(text=spoken(line["structure"]), below=spoken(line["scale"]), tone="prose")
        counts = [Cell(text=count(line[key])) for key in ("num_patients", "num_ungraded")]
        rows.append([name, muscle, *values, *counts])
    header = ["row", "muscle", "accuracy, %", "weighted kappa", "AC1", "patients", "without a grade"]
    caption = "Grades of patients, predicted against true masks, with 95 % intervals over patients."
    notes = [
        "A patient's share of fat is the mean over its slices, both sides together, of the true and the predicted mask "
        "each on its own; slices whose fat could not be told are left out.",
        "Kappa weighs steps between grades linearly; AC1 (Gwet) does not fall when one grade is rare. No interval "
        "below six patients, or where a measure is at its limit. A patient whose predicted mask allows no grade is "
        "wrong in the accuracy, and in neither of the other two.",
        *_undefined(evidence),
        *(f"{spoken(name)}: {text}." for name, text in _cutoffs(evidence).items()),
    ]
    return Table(caption=caption, header=header, rows=rows, notes=notes)


def _undefined(evidence: Evidence) -> list[str]:
    """How many resamples an interval does without, where any."""
    texts = [
        f"{label_of(evidence, line['row'])}, {spoken(line['structure'])}: kappa is not defined in "
        f"{count(line['kappa_undefined'])} resamples of the patients, which had one grade only"
        + (" and are left out." if line["kappa_interval"] else ", too many for an interval.")
        for line in evidence["grade_agreement"].to_dict("records")
        if line["kappa_undefined"]
    ]
    return list(dict.fromkeys(texts))


def _cutoffs(evidence: Evidence) -> dict[str, str]:
    """Each scale in words, from the configuration of the runs."""
    nodes = [run.config.get("morphometry") or {} for run in evidence.runs.runs]
    words = {"below": "below", "up_to": "up to"}
    found: dict[str, str] = {}
    for node in (node.get(name) for node in nodes for name in ("simplified", "five_grade")):
        if node:
            steps = []
            for cutoff in node["cutoffs"]:
                key = next(name for name in words if name in cutoff)
                steps.append(f"{cutoff['grade']} {words[key]} {number(cutoff[key], 0, scale=100)} %")
            found.setdefault(str(node["name"]), ", ".join(steps))
    return found


def _confusion(evidence: Evidence, key: Mapping[str, Any]) -> Table:
    table = pick(evidence["grade_confusion"], **key)
    names = list(dict.fromkeys(table[TRUE]))
    cells = zip(table[TRUE], table[PREDICTED], table["num_patients"], strict=True)
    counts = {(true, other): int(number_of) for true, other, number_of in cells}
    rows = []
    for true in names:
        own = [counts[true, other] for other in names]
        line = [Cell(text=count(value), bold=true == other) for other, value in zip(names, own, strict=True)]
        rows.append([Cell(text=f"truth {true}", tone="name"), *line, Cell(text=count(sum(own)))])
    totals = [sum(counts[true, other] for true in names) for other in names]
    rows.append([Cell(text="all", tone="name"), *(Cell(text=count(value)) for value in (*totals, sum(totals)))])
    header = ["", *(f"predicted {name}" for name in names), "all"]
    caption = (
        f"{label_of(evidence, key['row'])}: patients by grade of {spoken(key['structure'])}, {spoken(key['scale'])}; "
        "grades that nobody has included."
    )
    return Table(caption=caption, header=header, rows=rows)


def _pictures(evidence: Evidence) -> list[Block]:
    own = pick(evidence["grades"], row=evidence.reference)
    scales = grade_scales(evidence.runs.runs)
    if own.empty:
        return []
    keys = dict.fromkeys(zip(own["structure"], own["scale"], strict=True))
    figures = [
        fat_by_grade(pick(own, structure=name, scale=scale), scales[scale].grades, title=spoken(name))
        for name, scale in keys
    ]
    text = (
        f"{label_of(evidence, evidence.reference)}: share of fat of each patient (a point) by its grade, of predicted "
        "and true masks."
    )
    return [Figures(figures=figures, caption=text)]


def _states(evidence: Evidence) -> list[Block]:
    """Slices whose fat was not told, and why; nothing where all of it was."""
    table = pick(evidence["fat_states"], side="both")
    untold = table.loc[table["fat_state"] != "measured"] if len(table) else table
    if untold.empty:
        return []
    whole = table.groupby(["row", "structure", "source"])["num_slices"].agg("sum")
    texts = [
        f"{label_of(evidence, line['row'])}, {spoken(line['structure'])}, {line['source']}: "
        f"{STATES.get(line['fat_state'], spoken(line['fat_state']))} on {count(line['num_slices'])} of "
        f"{count(whole[line['row'], line['structure'], line['source']])} slices"
        for line in in_order(evidence, untold).to_dict("records")
    ]
    return [Heading("Slices without a measured share of fat"), Lines(lines=texts)]
