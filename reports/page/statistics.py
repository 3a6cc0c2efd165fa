"""What is beyond chance: comparisons with the reference, values of patients, ranks and strata."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.endpoint import averaged_kind, averaged_words, compared_names, single_names
from reports.evidence import Evidence
from reports.page.blocks import Block, Cell, Figure, Figures, Folded, Gap, Heading, Table, Text
from reports.page.setting import label_of, main_split, primary_comparisons, sweep
from reports.page.values import (
    DASH,
    count,
    has_values,
    interval,
    is_number,
    listed,
    number,
    p_value,
    percent,
    pick,
    points,
    record,
    spoken,
    word,
)
from reports.plots.distribution import boxes
from reports.plots.heat_map import ranks
from reports.plots.intervals import differences
from reports.plots.style import row_styles

MEAN = "mean"


def statistics(evidence: Evidence) -> list[Block]:
    """Tables and plots of the comparisons."""
    return [*_comparisons(evidence), *_patients(evidence), *_ranks(evidence), *_strata(evidence)]


def _comparisons(evidence: Evidence) -> list[Block]:
    primary = primary_comparisons(evidence)
    reference = label_of(evidence, evidence.reference)
    if len(evidence.rows) == 1:
        return [Text(f"{reference} is the only row with a finished run, so no rows are compared.")]
    if primary.empty:
        text = f"No row can be compared with the reference {reference}: both need finished runs on the same patients."
        return [Gap(text, sweep(evidence))]
    header = [
        "row",
        "patients",
        "Dice, %",
        "difference, points",
        "Wilcoxon p",
        "permutation p",
        "p after Holm",
        "effect size",
        "seed SD",
        "note",
    ]
    rows = [_comparison(evidence, entry) for entry in primary.to_dict("records")]
    caption = (
        f"Each row minus the reference {reference}, paired by patient: primary endpoint, {main_split(evidence)}. "
        f"Intervals: {listed(word(kind) for kind in primary['interval'] if word(kind)) or 'none'}."
    )
    blocks: list[Block] = [Table(caption=caption, header=header, rows=rows)]
    if not has_values(primary, "difference"):
        return [*blocks, Gap("No paired difference is defined, so there is none to draw.")]
    values = {row: paired_differences(evidence, row, MEAN) for row in primary["row"]}
    margin = number(100 * evidence.margin, 1)
    figure = differences(primary, values, evidence.labels, row_styles(evidence.rows), evidence.margin)
    text = (
        f"Difference to {reference}: points are patients, the marker is their mean, the bar its interval; grey band: "
        f"± {margin} points, without interest."
    )
    blocks.append(Figures(figures=[figure], caption=text))
    return [*blocks, *_per_structure(evidence)]


def _comparison(evidence: Evidence, entry: dict) -> list[Cell]:
    spread = f"± {percent(entry.get('seed_sd'), 2)}" if is_number(entry.get("seed_sd")) else DASH
    ends = interval(entry.get("difference_low"), entry.get("difference_high"), 2, signed=True, scale=100)
    own = interval(entry.get("ci95_low"), entry.get("ci95_high"), scale=100)
    note = word(entry.get("note")) or ("" if str(entry.get("testable", True)) == "True" else "not testable")
    return [
        Cell(text=label_of(evidence, entry["row"]), tone="name"),
        Cell(text=count(entry.get("num_patients"))),
        Cell(text=percent(entry.get("mean")), below=own),
        Cell(text=points(entry.get("difference")), below=ends),
        *(Cell(text=p_value(entry.get(name))) for name in ("p_wilcoxon", "p_permutation", "p_holm")),
        Cell(text=number(entry.get("effect_size"), 2, signed=True)),
        Cell(text=spread),
        Cell(text=note, tone="prose"),
    ]


def _per_structure(evidence: Evidence) -> list[Block]:
    """Differences on each structure, folded: they are exploratory."""
    found = pick(evidence["statistics"], split=main_split(evidence), arm="", stratum="", metric="dice")
    structures = [name for name in compared_names(evidence) if name in set(found["structure"])]
    rows = []
    for row in (row for row in evidence.rows if row != evidence.reference and row in set(found["row"])):
        entries = [record(found, row=row, structure=name) for name in structures]
        cells = [
            Cell(text=points(entry.get("difference")), below=f"p {p_value(entry.get('p_holm'))}") for entry in entries
        ]
        rows.append([Cell(text=label_of(evidence, row), tone="name"), *cells])
    if not rows or not structures:
        return []
    caption = (
        "Difference to the reference in Dice points, below it p after Holm over the rows of the column. Exploratory."
    )
    table = Table(caption=caption, header=["", *(spoken(name) for name in structures)], rows=rows)
    return [Folded(summary="Differences on each structure", blocks=[table])]


def paired_differences(evidence: Evidence, row: str, structure: str) -> np.ndarray:
    """Row minus reference of each patient that both have, seeds averaged; a share of 1."""
    values = _patient_values(evidence, structure)
    if values.empty:
        return np.zeros(0)
    table = values.pivot_table(index="patient", columns="row", values="value", aggfunc="mean")
    if not {row, evidence.reference} <= set(table.columns):
        return np.zeros(0)
    return (table[row] - table[evidence.reference]).dropna().to_numpy(dtype=float)


def _patient_values(evidence: Evidence, structure: str) -> pd.DataFrame:
    return pick(evidence["scores"], split=main_split(evidence), arm="", structure=structure, metric="dice").dropna(
        subset=["value"]
    )


def _patients(evidence: Evidence) -> list[Block]:
    """Box plots, the mean first; structures that are in no mean are folded."""
    figures = _boxes(evidence, (MEAN, *evidence.averaged))
    singles = _boxes(evidence, single_names(evidence))
    heading = Heading("Patients")
    if not figures:
        return [heading, Gap("No patient has a defined Dice, so there is nothing to draw.")]
    text = (
        "Dice of each patient (a point; seeds averaged). Box: quartiles and median; whiskers: up to 1.5 times the box."
    )
    folded = [Folded(summary="Single structures", blocks=[Figures(figures=singles)])] if singles else []
    return [heading, Figures(figures=figures, caption=text), *folded]


def _boxes(evidence: Evidence, names: Sequence[str]) -> list[Figure]:
    styles, figures = row_styles(evidence.rows), []
    for structure in names:
        values = _patient_values(evidence, structure)
        if len(values):
            means = values.pivot_table(index=["row", "patient"], values="value", aggfunc="mean").reset_index()
            labels = {row: label_of(evidence, row) for row in evidence.rows if row in set(means["row"])}
            name = f"mean over {averaged_kind(evidence)}" if structure == MEAN else structure
            figures.append(boxes(means, name, labels, styles))
    return figures


def _ranks(evidence: Evidence) -> list[Block]:
    if len(evidence.rows) == 1:
        return []
    blocks: list[Block] = [Heading("How stable the ranking is")]
    if evidence["ranks"].empty or not has_values(evidence["ranks"], "probability"):
        text = "Ranks need at least two rows scored on the same patients, and enough patients to draw from."
        return [*blocks, Gap(text, sweep(evidence))]
    text = (
        "In how many percent of the bootstrap draws over patients a row takes a rank. A single dark cell a row: a "
        "stable ranking."
    )
    return [*blocks, Figures(figures=[ranks(evidence["ranks"], evidence.labels)], caption=text)]


def _strata(evidence: Evidence) -> list[Block]:
    blocks: list[Block] = [Heading("Strata (exploratory)")]
    found = pick(evidence["statistics"], split=main_split(evidence), arm="", structure=MEAN, metric="dice")
    strata = [name for name in dict.fromkeys(found["stratum"]) if word(name)] if len(found) else []
    if not strata:
        text = "No stratum is known: cases.csv has neither levels nor factors of a case (such as fat_fraction)."
        return [*blocks, Gap(text)]
    rows_of = [row for row in evidence.rows if row in set(found["row"])]
    rows = [[Cell(text=name, tone="name"), *_stratum(found, name, rows_of)] for name in strata]
    header = ["stratum", *(label_of(evidence, row) for row in rows_of)]
    caption = f"Dice in percent, mean over {averaged_words(evidence)} (patients)"
    if len(rows_of) > 1:
        caption += "; below: difference to the reference in points and, where tested, p after Holm"
    caption += "."
    return [*blocks, Table(caption=caption, header=header, rows=rows)]


def _stratum(found: pd.DataFrame, stratum: str, rows: Sequence[str]) -> list[Cell]:
    cells = []
    for row in rows:
        entry = record(found, stratum=stratum, row=row)
        tested = f", p {p_value(entry['p_holm'])}" if is_number(entry.get("p_holm")) else ""
        below = f"{points(entry.get('difference'))}{tested}" if is_number(entry.get("difference")) else ""
        patients = f" ({count(entry.get('num_patients'))})" if entry else ""
        cells.append(Cell(text=f"{percent(entry.get('mean'))}{patients}", below=below))
    return cells
