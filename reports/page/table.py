"""The paper's table with ours beside it, for either split, and what the published split adds."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from reports.costs import encoder_weights
from reports.endpoint import averaged_kind, averaged_words, averages_regions, compared_names, single_names
from reports.evidence import Evidence
from reports.page.blocks import Block, Cell, Gap, Heading, Table, Text
from reports.page.setting import label_of, main_split, prints_boxes, sweep
from reports.page.values import DASH, count, has_values, interval, is_number, number, pick, points, record, spoken

MEAN = "mean"


def paper_table(evidence: Evidence) -> list[Block]:
    """Tables of the main split, then of the published one."""
    main = main_split(evidence)
    blocks: list[Block] = [*_tables(evidence, main)]
    other = "as published"
    if main == other or (not prints_boxes(evidence) and pick(evidence["table"], split=other).empty):
        return blocks  # of the papers, that with boxes has a split by image
    blocks.append(Heading("Split as published"))
    if pick(evidence["table"], split=other).empty:
        text = "No run was split as the paper did (by image, so that a patient may be in training and test)."
        return [*blocks, Gap(text, f"{sweep(evidence)} split=as_published")]
    return [*blocks, *_tables(evidence, other), *_inflation(evidence)]


def _tables(evidence: Evidence, split: str) -> list[Block]:
    table = pick(evidence["table"], split=split)
    if table.empty:
        return [Gap(f"There is no result with the split {split}.", sweep(evidence))]
    structures = _structures(evidence, table)
    return [_layout(evidence, table, structures, split), _endpoint(evidence, table, split)]


def _structures(evidence: Evidence, table: pd.DataFrame) -> list[str]:
    known = [name for name in evidence.averaged if name in set(table["structure"])]
    return known or [name for name in dict.fromkeys(table["structure"]) if name != MEAN]


def _layout(evidence: Evidence, table: pd.DataFrame, structures: Sequence[str], split: str) -> Table:
    """The paper's layout: a row a system, a column a structure; the paper's number below ours."""
    rows = []
    for row in dict.fromkeys(table["row"]):
        entries = [record(table, row=row, structure=name) for name in structures]
        name = Cell(text=label_of(evidence, row), below=_state(evidence, row, entries), tone="name")
        rows.append([name, *(_published_and_ours(entry) for entry in entries)])
    has_paper = has_values(table, "published_mean")
    notes = ["In brackets: the paper's number."] if has_paper else []
    notes += ["No published table is beside ours (report.table)."] if evidence.published.empty else []
    notes += (
        _notes(evidence) if split == main_split(evidence) else ["What is said under the first table holds here too."]
    )
    caption = f"Dice in percent, mean ± SD over slices as the paper prints it; split {split}."
    return Table(caption=caption, header=["", *(spoken(name) for name in structures)], rows=rows, notes=notes)


def _notes(evidence: Evidence) -> list[str]:
    """What has to be read with the table; gaps are listed in the last section and only counted here."""
    problems = {problem.rstrip(".").lower() for problem in evidence.runs.problems}
    notes = [note for note in evidence.notes if note.rstrip(".").lower() not in problems]
    counted = f"{len(problems)} gaps or folders left out: listed under protocol, the last section."
    return [*notes, counted] if problems else notes


def _state(evidence: Evidence, row: str, entries: Sequence[dict[str, Any]]) -> str:
    """What a reader must know of a row's numbers; empty if all folds are there."""
    if row not in evidence.rows:
        return "no finished run"
    return "" if all(entry.get("complete", True) for entry in entries) else "folds are missing"


def _published_and_ours(entry: dict[str, Any]) -> Cell:
    ours = _with_sd(entry.get("slice_mean"), entry.get("slice_sd"))
    paper = _with_sd(entry.get("published_mean"), entry.get("published_sd"))
    return Cell(
        text=ours,
        below="" if paper == DASH else f"({paper})",
        bold=entry.get("bold") is True or str(entry.get("bold")) == "True",
    )


def _with_sd(mean: Any, sd: Any) -> str:
    spread = f" ± {number(sd)}" if is_number(sd) else ""
    return f"{number(mean)}{spread}"


def _endpoint(evidence: Evidence, table: pd.DataFrame, split: str) -> Block:
    """The primary endpoint of each row, with what does not show in a mean."""
    own = pick(table, structure=MEAN)
    if own.empty:
        return Gap(f"The table has no mean over {averaged_kind(evidence)} for the split {split}.")
    header = [
        "row",
        "paper",
        "Dice, %",
        "interval",
        "patients",
        "slices",
        "missed",
        "false alarms",
        "undefined",
    ]
    distances = has_values(own, "hd95_mm")
    header += ["HD95, mm"] if distances else []
    weights = encoder_weights(evidence["costs"])
    header += ["encoder weights"] if weights else []
    rows = []
    for row in dict.fromkeys(own["row"]):
        entry = record(own, row=row)
        ends = interval(entry.get("ci95_low"), entry.get("ci95_high")) or DASH
        dice = Cell(text=number(entry.get("patient_mean")), bold=str(entry.get("bold")) == "True")
        counts = [
            Cell(text=count(entry.get(name)))
            for name in ("num_patients", "num_slices", "missed", "false_alarms", "undefined")
        ]
        name = Cell(text=label_of(evidence, row), tone="name")
        paper = Cell(text=number(entry.get("published_mean")))
        cells = [name, paper, dice, Cell(text=ends), *counts]
        cells += [Cell(text=number(entry.get("hd95_mm"), 1))] if distances else []
        rows.append([*cells, *([Cell(text=weights.get(row) or DASH)] if weights else [])])
    caption = f"Primary endpoint: Dice, patient mean over {averaged_words(evidence)}; split {split}."
    notes = []
    if averages_regions(evidence):
        notes.append("Missed, false alarms, undefined: of all regions together, a slice once for each region.")
    if has_values(own, "published_mean"):
        notes.append("Paper: mean of its printed means, which are over slices.")
    return Table(caption=caption, header=header, rows=rows, notes=notes)


def single_structures(evidence: Evidence) -> list[Block]:
    """Structures that the primary endpoint does not average; nothing where it averages all of them."""
    table, names = pick(evidence["table"], split=main_split(evidence)), single_names(evidence)
    if table.empty or not names:
        return []
    rows = []
    for row in (row for row in evidence.rows if row in set(table["row"])):
        cells = []
        for name in names:
            entry = record(table, row=row, structure=name)
            ends = interval(entry.get("ci95_low"), entry.get("ci95_high"))
            distance = f"HD95 {number(entry.get('hd95_mm'), 1)} mm" if is_number(entry.get("hd95_mm")) else ""
            cells.append(Cell(text=f"{number(entry.get('patient_mean'))} {ends}".strip(), below=distance))
        rows.append([Cell(text=label_of(evidence, row), tone="name"), *cells])
    caption = "Dice of single structures in percent, mean over patients; below it HD95. Exploratory."
    notes = ["A miss counts in the HD95 with the diagonal of its image. Below six patients the brackets are a range."]
    table = Table(caption=caption, header=["", *map(spoken, names)], rows=rows, notes=notes)
    return [Heading("Single structures"), table]


def _inflation(evidence: Evidence) -> list[Block]:
    if evidence["inflation"].empty:
        return [Gap("The inflation by the published split needs the same row in both splits.")]
    structures = [name for name in (*compared_names(evidence), MEAN) if name in set(evidence["inflation"]["structure"])]
    rows = []
    for row in (row for row in evidence.rows if row in set(evidence["inflation"]["row"])):
        entries = [record(evidence["inflation"], row=row, structure=name) for name in structures]
        cells = [Cell(text=points(entry.get("difference"))) for entry in entries]
        rows.append([Cell(text=label_of(evidence, row), tone="name"), *cells])
    text = (
        "Inflation: what splitting by image, as published, adds to the Dice, in points. It is no progress of a method."
    )
    header = ["", *(spoken(name) for name in structures)]
    return [Text(text), Table(caption="As published minus by patient, Dice points.", header=header, rows=rows)]
