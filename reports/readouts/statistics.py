"""What is beyond chance: comparisons with the reference, values of patients, and ranks (`reports.statistics.table`)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from reports.chapters.parts import Part
from reports.endpoint import averaged_kind, averaged_words, compared_names, single_names
from reports.evidence import Evidence
from reports.plots.distribution import boxes
from reports.plots.heat_map import ranks
from reports.plots.intervals import differences
from reports.plots.style import row_styles
from reports.render.blocks import Block, Figure, Figures, Folded, Gap, Text
from reports.render.formats import (
    count,
    has_values,
    is_number,
    listed,
    number,
    p_value,
    percent,
    pick,
    points,
    spoken,
    word,
)
from reports.render.tables import P_HOLM, PATIENTS, PERCENT, POINTS, POINTS_SD, ROW, Column, Line, Table, wide
from reports.setting import in_order, label_of, main_split, primary_comparisons, sweep
from reports.statistics.patients import MEAN, primary_values


def _note(line: Line) -> str:
    return word(line["note"]) or ("" if not line["reference"] or line["testable"] else "not testable")


COMPARISON = Table(
    title="Primary endpoint against {reference}, split {split}",
    caption="Each row minus {reference}, paired by patient: mean over {averaged}. Intervals: {kinds}.",
    main=True,
    terminal=True,
    columns=[
        Column("row", "row", kind="row", bold="bold", short=True),
        PATIENTS,
        Column("Dice, %", "mean", interval="ci95", **PERCENT),
        Column("difference, points", "difference", interval="difference", short=True, **POINTS),
        Column("Wilcoxon p", "p_wilcoxon", kind="p"),
        Column("permutation p", "p_permutation", kind="p"),
        replace(P_HOLM, short=True),
        Column("equivalence p", "p_equivalence", kind="p"),
        Column("effect size (dz)", "effect_size", digits=2, signed=True),
        Column("seed SD, points", "seed_sd", short=True, **POINTS_SD),
        Column("note", _note, kind="text", tone="prose"),
    ],
)
STRUCTURES = Table(
    title="Dice by structure in percent, mean over patients, split {split}",
    caption="Below it HD95, and the difference to the reference in points with p after Holm. Exploratory.",
    columns=[ROW],
    notes=["A miss counts in the HD95 with the diagonal of its image. Below six patients the brackets are a range."],
)
STRATA = Table(
    title="Dice in parts of the cohort in percent, mean over {averaged} (patients)",
    caption="Below it the difference to the reference in points and, where tested, p after Holm. Exploratory.",
    columns=[Column("stratum", "stratum", kind="text", tone="name")],
)
RANKS = Table(
    title="Rank by the primary endpoint when the patients are drawn again, percent of 10 000 draws", columns=[ROW]
)


def comparisons(evidence: Evidence, split: str = "") -> list[Block]:
    """The reference and what is compared with it, and the same of every structure; of the main split, drawn as well."""
    if not evidence.rows:
        return []
    main, split = not split, split or main_split(evidence)
    reference = label_of(evidence, evidence.reference)
    found = pick(evidence["statistics"], split=split, arm="", stratum="", structure=MEAN, metric="dice")
    blocks: list[Block] = []
    if len(evidence.rows) == 1:
        blocks.append(Text(f"{reference} is the only row with a finished run, so no rows are compared."))
    elif set(found["row"]) <= {evidence.reference}:
        text = f"No row can be compared with the reference {reference}: both need finished runs on the same patients."
        return [*([Gap(text, sweep(evidence))] if main else []), *_structures(evidence, split)]
    kinds = listed(word(kind) for kind in found["interval"] if word(kind)) or "none"
    words: dict[str, Any] = {
        "reference": reference,
        "split": split,
        "averaged": averaged_words(evidence),
        "kinds": kinds,
    }
    blocks.append(COMPARISON.of(in_order(evidence, found), evidence.labels, **words))
    if main and len(evidence.rows) > 1:
        blocks.append(_differences(evidence, reference))
    return [*blocks, *_structures(evidence, split)]


def _differences(evidence: Evidence, reference: str) -> Block:
    primary, table = primary_comparisons(evidence), dice_of_patients(evidence, MEAN)
    if not has_values(primary, "difference"):
        return Gap("No paired difference is defined, so there is none to draw.")

    def drawn() -> list[Figure]:
        gaps = {row: (table[row] - table[evidence.reference]).dropna().to_numpy(dtype=float) for row in primary["row"]}
        return [differences(primary, gaps, evidence.labels, row_styles(evidence.rows), evidence.margin)]

    text = (
        f"Difference to {reference}: points are patients, the marker is their mean, the bar its interval; grey band: "
        f"± {number(100 * evidence.margin, 1)} points, without interest."
    )
    return Figures(figures=drawn, caption=text)


def _structures(evidence: Evidence, split: str) -> list[Block]:
    """Dice of every structure, folded: they are exploratory."""
    keys = ["row", "structure"]
    found = pick(evidence["statistics"], split=split, arm="", stratum="")
    distances = pick(found, metric="hd95_mm").assign(hd95_mm=lambda table: table["mean"])[[*keys, "hd95_mm"]]
    table = pick(found, metric="dice").merge(distances, on=keys, how="left")
    names = [name for name in compared_names(evidence) if name in set(table["structure"])]

    def column(name: str) -> Column:
        def below(line: Line) -> str:
            known = {end: line.get(f"{name}:{end}") for end in ("hd95_mm", "difference", "p_holm")}
            distance = f"HD95 {number(known['hd95_mm'])} mm" if is_number(known["hd95_mm"]) else ""
            compared = is_number(known["difference"])
            gap = f"{points(known['difference'])}, p {p_value(known['p_holm'])}" if compared else ""
            return "; ".join(filter(None, (distance, gap)))

        ends: dict[str, Any] = {"interval": f"{name}:ci95", "bold": f"{name}:bold", **PERCENT}
        return Column(spoken(name), f"{name}:mean", below=below, **ends)

    lines = wide(in_order(evidence, table), ["row"], "structure")
    columns = [column(name) for name in names]
    grid = STRUCTURES.of(lines, evidence.labels, columns=columns, split=split)
    return [Folded(summary="Each structure", blocks=[grid])] if lines and names else []


def dice_of_patients(evidence: Evidence, structure: str = MEAN) -> pd.DataFrame:
    """Dice of the main split's own tests: a patient a line, a row a column, seeds averaged."""
    return primary_values(evidence["scores"], evidence.rows, main_split(evidence), structure)


def patients(evidence: Evidence) -> list[Block]:
    """Box plots, the mean first; structures that are in no mean are folded."""
    main, single = (
        [name for name in names if len(dice_of_patients(evidence, name))]
        for names in ((MEAN, *evidence.averaged), single_names(evidence))
    )

    def drawn(names: Sequence[str]) -> list[Figure]:
        styles, mean = row_styles(evidence.rows), f"mean over {averaged_kind(evidence)}"
        tables = {name: dice_of_patients(evidence, name) for name in names}
        return [
            boxes(table.melt(), mean if name == MEAN else name, {row: label_of(evidence, row) for row in table}, styles)
            for name, table in tables.items()
        ]

    text = (
        "Dice of each patient (a point; seeds averaged). Box: quartiles and median; whiskers: up to 1.5 times the box."
    )
    rest = Folded(summary="Single structures", blocks=[Figures(figures=lambda: drawn(single))])
    return [Figures(figures=lambda: drawn(main), caption=text), *([rest] if single else [])] if main else []


def ranking(evidence: Evidence) -> list[Block]:
    """How stable the ranking is; nothing of a single row."""
    table = evidence["ranks"]
    if not has_values(table, "probability"):
        return []
    text = (
        "In how many percent of the bootstrap draws over patients a row takes a rank. A single dark cell a row: a "
        "stable ranking."
    )
    lines = wide(in_order(evidence, table), ["row"], "rank")
    columns = [
        Column(f"rank {rank}", f"{rank}:probability", digits=0, scale=100.0) for rank in sorted(set(table["rank"]))
    ]
    grid = RANKS.of(lines, evidence.labels, columns=columns)
    drawn = Figures(figures=lambda: [ranks(table, evidence.labels)], caption=text)
    return [drawn, Folded(summary="The same as a table", blocks=[grid])]


def strata(evidence: Evidence) -> list[Block]:
    """The primary endpoint in parts of the cohort."""
    found = pick(evidence["statistics"], split=main_split(evidence), arm="", structure=MEAN, metric="dice")
    found = found.loc[found["stratum"].map(word) != ""]

    def column(row: str) -> Column:
        def text(line: Line) -> str:
            patients = f" ({count(line[f'{row}:num_patients'])})" if f"{row}:num_patients" in line else ""
            return f"{percent(line.get(f'{row}:mean'))}{patients}"

        def below(line: Line) -> str:
            gap, p = line.get(f"{row}:difference"), line.get(f"{row}:p_holm")
            return f"{points(gap)}{f', p {p_value(p)}' if is_number(p) else ''}" if is_number(gap) else ""

        return Column(label_of(evidence, row), text, kind="text", below=below)

    columns = [column(row) for row in evidence.rows if row in set(found["row"])]
    lines, words = wide(found, ["stratum"], "row"), {"averaged": averaged_words(evidence)}
    return [STRATA.of(lines, evidence.labels, columns=columns, **words)] if lines else []


def several(evidence: Evidence) -> bool:
    """Whether there is more than one row, or none."""
    return len(evidence.rows) != 1


GAP0 = "No row can be compared: two need finished runs on the same patients."
GAP2 = "Ranks need at least two rows scored on the same patients, and enough patients to draw from."
GAP3 = "No stratum is known: cases.csv has neither levels nor factors of a case (such as fat_fraction)."
PARTS = [
    Part("statistics", 0, comparisons, gap=GAP0, command="{sweep}"),
    Part("statistics", 1, patients, "Patients", gap="No patient has a defined Dice, so there is nothing to draw."),
    Part("statistics", 2, ranking, "How stable the ranking is", gap=GAP2, command="{sweep}", missed_by=several),
    Part("statistics", 3, strata, "Strata (exploratory)", gap=GAP3),
]
