"""What is said of the grades of patients: agreement, who was graded as what, and what could not be graded."""

import pandas as pd

from records.readout_files import PREDICTED, TRUE
from reports.chapters.parts import Part, nobody
from reports.evidence import Evidence
from reports.plots.distribution import fat_by_grade
from reports.readouts.grades import KEYS, grade_scales
from reports.render.blocks import Block, Figure, Figures, Folded, Grid, Lines
from reports.render.formats import count, number, pick, spoken
from reports.render.tables import PERCENT, ROW, Column, Table, counts
from reports.setting import in_order, label_of

STATES = {
    **{"lean": "no fat", "unclear": "fat and muscle hardly differ", "constant": "constant image"},
    **{"contrast": "unsuited contrast", "empty": "no mask", "few_pixels": "too few pixels", "unlabelled": "not drawn"},
}
TABLE = Table(
    title="Grades of patients, predicted against true masks",
    caption="Intervals are over patients.",
    main=True,
    columns=[
        ROW,
        *(Column(name, name if name == "scale" else "structure", kind="words") for name in ("muscle", "scale")),
        Column("accuracy, %", "accuracy", interval="accuracy", **PERCENT),
        Column("weighted kappa", "kappa", digits=2, interval="kappa"),
        Column("AC1", "ac1", digits=2, interval="ac1"),
        *counts(num_patients="patients", num_ungraded="without a grade"),
    ],
    notes=[
        "A patient's share of fat is the mean over its slices, both sides together, of the true and the predicted mask "
        "each on its own; slices whose fat could not be told are left out.",
        "Kappa weighs steps between grades linearly; AC1 (Gwet) does not fall when one grade is rare. No interval "
        "below six patients, or where a measure is at its limit. A patient whose predicted mask allows no grade is "
        "wrong in the accuracy, and in neither of the other two.",
    ],
)
CONFUSION = Table(
    title="{label}: patients by grade of {muscle}, {scale}",
    caption="Grades that nobody has included.",
    columns=[Column("", "name", kind="text", tone="name")],
)


def grades(evidence: Evidence) -> list[Block]:
    """Agreement, confusion and the share of fat by grade; nothing where no patient was graded."""
    agreement = evidence["grade_agreement"]
    if evidence["grades"].empty:
        return []
    notes = [*_undefined(evidence), *(f"{spoken(name)}: {text}." for name, text in _cutoffs(evidence).items())]
    tables = [table for _, table in evidence["grade_confusion"].groupby(KEYS, sort=False)]
    own, others = (
        [_confusion(evidence, table) for table in tables if (table["row"].iloc[0] == evidence.reference) == here]
        for here in (True, False)
    )
    text = (
        f"{label_of(evidence, evidence.reference)}: share of fat of each patient (a point) by its grade, of predicted "
        "and true masks."
    )
    return [
        TABLE.of(in_order(evidence, agreement), evidence.labels, notes=notes),
        *own,
        *([Folded(summary="Grades of the other rows", blocks=others)] if others else []),
        Figures(figures=lambda: _figures(evidence), caption=text),
    ]


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


def _confusion(evidence: Evidence, table: pd.DataFrame) -> Grid:
    names, keys = list(dict.fromkeys(table[TRUE])), table.iloc[0]
    counted = table.pivot(index=TRUE, columns=PREDICTED, values="num_patients").reindex(index=names, columns=names)
    counted = counted.assign(all=counted.sum(axis=1))
    counted.loc["all"] = counted.sum()
    lines = [{"name": name if name == "all" else f"truth {name}", **line} for name, line in counted.iterrows()]
    columns = [
        Column(
            name if name == "all" else f"predicted {name}",
            name,
            digits=0,
            bold=lambda line, name=name: line["name"] == f"truth {name}",
        )
        for name in counted
    ]
    words = {
        "label": label_of(evidence, keys["row"]),
        "muscle": spoken(keys["structure"]),
        "scale": spoken(keys["scale"]),
    }
    return CONFUSION.of(lines, evidence.labels, columns=columns, **words)


def _figures(evidence: Evidence) -> list[Figure]:
    own, scales = pick(evidence["grades"], row=evidence.reference), grade_scales(evidence.runs.runs)
    keys = dict.fromkeys(zip(own["structure"], own["scale"], strict=True))
    return [
        fat_by_grade(pick(own, structure=name, scale=scale), scales[scale].grades, title=spoken(name))
        for name, scale in keys
    ]


def states(evidence: Evidence) -> list[Block]:
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
    return [Lines(lines=texts)]


PARTS = [
    Part("muscles", 1, grades, "Goutallier grades", missed_by=nobody),
    Part("muscles", 1, states, "Slices without a measured share of fat", missed_by=nobody),
]
