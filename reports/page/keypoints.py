"""Key points and levels: how far a spine's points are off, and which structures carry another's number."""

from typing import Any

import pandas as pd

from records.readout_files import HEATMAP, MASK
from reports.evidence import Evidence
from reports.page.blocks import Block, Cell, Figure, Figures, Folded, Gap, Heading, Table
from reports.page.setting import in_order, is_sagittal, label_of, sweep
from reports.page.values import DASH, count, has_values, interval, number, percent, pick, spoken
from reports.plots.heat_map import confusion_matrix
from reports.plots.intervals import keypoint_errors
from reports.plots.style import row_styles
from reports.statistics.patients import MEAN

CONFUSION = "What is taken for what"
SOURCES = {HEATMAP: "heat map", MASK: "centre of the mask"}


def keypoints(evidence: Evidence) -> list[Block]:
    """Errors of key points, then structures that carry the number of another level, then the confusion matrix.

    What is missing is said of sagittal slices alone: others need have neither points nor levels.
    """
    parts = {
        "Key points": _errors(evidence),
        "Structures that carry the number of another level": _levels(evidence),
        CONFUSION: _confusion(evidence),
    }
    shown = [(name, part) for name, part in parts.items() if is_sagittal(evidence) or part[0].kind != "gap"]
    if [name for name, _ in shown] == [CONFUSION]:
        return [*parts[CONFUSION]]  # the title of the section says it
    return [block for name, part in shown for block in (Heading(name), *part)]


def keypoints_title(evidence: Evidence) -> str:
    """What the section is called: by its only part, where there are no points and levels."""
    spine = is_sagittal(evidence) or len(evidence["keypoints"]) or len(evidence["levels"])
    return "Key points and levels" if spine else CONFUSION


def _errors(evidence: Evidence) -> list[Block]:
    table = evidence["keypoints"]
    if table.empty or not has_values(table, "mean_mm"):
        return [Gap("No run folder has a keypoints.csv.", sweep(evidence))]
    structures = [name for name in evidence.runs.structures if name in set(table["structure"])]
    pairs = list(dict.fromkeys(zip(in_order(evidence, table)["row"], in_order(evidence, table)["source"], strict=True)))
    errors, counts = [], []
    for row, source in pairs:
        own = pick(table, row=row, source=source).set_index("structure")
        lines: list[dict[Any, Any]] = [
            own.loc[name].to_dict() if name in own.index else {} for name in (MEAN, *structures)
        ]
        name = Cell(text=label_of(evidence, row), below=SOURCES.get(str(source), str(source)), tone="name")
        errors.append([name, *(_millimetres(line) for line in lines)])
        keys = ("num_points", "num_missing", "num_one_off", "num_further_off", "num_astray")
        counts.append(
            [
                name,
                *(Cell(text=count(lines[0].get(key))) for key in keys),
                Cell(text=count(lines[0].get("num_patients"))),
            ]
        )
    caption = "Distance between predicted and true key point, mm: mean over patients, 95 % interval."
    caption_counts = "Visible key points of the truth, and what became of them; all seeds."
    header = ["row", "visible", "not found", "nearest to a neighbour", "to one farther off", "to none", "patients"]
    blocks: list[Block] = [Table(caption=caption, header=["row", "all", *map(spoken, structures)], rows=errors)]
    blocks.append(Table(caption=caption_counts, header=header, rows=counts))
    others = [row for row in dict.fromkeys(table["row"]) if row not in evidence.rows]
    styles, figures = row_styles([*evidence.rows, *others]), []
    for source, name in SOURCES.items():
        own = pick(table, source=source)
        if has_values(own, "mean_mm"):
            drawn = keypoint_errors(own.loc[own["structure"] != MEAN], evidence.labels, styles, structures)
            figures.append(Figure(source=drawn.source, alt=drawn.alt, width=drawn.width, caption=name))
    return [
        *blocks,
        Figures(figures=figures, caption="A key point that was not found is in no mean; it is counted above."),
    ]


def _millimetres(line: dict[Any, Any]) -> Cell:
    return Cell(text=number(line.get("mean_mm"), 2), below=interval(line.get("ci95_low"), line.get("ci95_high"), 2))


def _levels(evidence: Evidence) -> list[Block]:
    table = evidence["levels"]
    if table.empty or not has_values(table, "level_error"):
        text = "No run folder has a confusion.csv with structures of a series (`series` of the anatomy)."
        return [Gap(text, sweep(evidence))]
    whole = in_order(evidence, pick(table, structure=MEAN))
    keys = ("num_structures", "num_right", "num_one_off", "num_further_off", "num_other_kind", "num_missed")
    header = ["row", "wrong level, %", "true structures", "right", "one off", "farther off", "other kind", "missed"]
    rows = [
        [
            Cell(text=label_of(evidence, line["row"]), tone="name"),
            Cell(text=percent(line["level_error"]), below=interval(line["ci95_low"], line["ci95_high"], scale=100)),
            *(Cell(text=count(line[key])) for key in keys),
            Cell(text=f"{count(line['num_patients_off'])} of {count(line['num_patients'])}"),
        ]
        for line in whole.to_dict("records")
    ]
    note = (
        "A structure is called what most of its predicted pixels are called. Dice per level takes a right outline with "
        "a wrong number for a miss and an invention; here it is counted on its own."
    )
    caption = "True structures by the number that their prediction carries; share: mean over patients, 95 % interval."
    blocks: list[Block] = [Table(caption=caption, header=[*header, "patients"], rows=rows, notes=[note])]
    return [*blocks, *_levels_by_structure(evidence, table)]


def _levels_by_structure(evidence: Evidence, table: pd.DataFrame) -> list[Block]:
    structures = [name for name in evidence.runs.structures if name in set(table["structure"])]
    rows = []
    for row in dict.fromkeys(in_order(evidence, table)["row"]):
        own = pick(table, row=row).set_index("structure")
        cells = [Cell(text=count(own.loc[name, "num_one_off"]) if name in own.index else DASH) for name in structures]
        rows.append([Cell(text=label_of(evidence, row), tone="name"), *cells])
    caption = "Slices on which a structure carries the number of its neighbour."
    return [
        Folded(
            summary="By structure", blocks=[Table(caption=caption, header=["", *map(spoken, structures)], rows=rows)]
        )
    ]


def _confusion(evidence: Evidence) -> list[Block]:
    table = evidence["confusion"]
    if table.empty or not has_values(table, "share"):
        return [Gap("No run folder has a confusion.csv.", sweep(evidence))]
    rows = list(dict.fromkeys(in_order(evidence, table)["row"]))
    rows.sort(key=lambda row: row != evidence.reference)
    figures = [confusion_matrix(pick(table, row=row), title=label_of(evidence, row)) for row in rows]
    text = (
        "Percent of a true structure's pixels (line) that carry each label (column), background included; mean over "
        "the patients who have the structure, a line adds up to 100. Shares below half a percent have no number."
    )
    rest: list[Block] = [Folded(summary="The other rows", blocks=[Figures(figures=figures[1:])])] if figures[1:] else []
    return [Figures(figures=figures[:1], caption=text), *rest]
