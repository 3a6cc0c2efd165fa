"""Boxes, claims and cost: the sections beside the table."""

from collections.abc import Mapping

import pandas as pd

from reports.claims.judge import RULES, is_share
from reports.costs import SEEN, rows_shown
from reports.endpoint import compared_names
from reports.evidence import Evidence
from reports.page.blocks import Block, Cell, Folded, Gap, Heading, Lines, Table, Text
from reports.page.setting import in_order, label_of, main_split
from reports.page.values import (
    DASH,
    count,
    has_values,
    interval,
    is_number,
    number,
    percent,
    pick,
    record,
    spoken,
    word,
)

BOXES = {"network": "own box", "mask": "box of the mask"}
PARTS = ("IoU", "precision", "recall")
CLAIMS_CAPTION = (
    "Effects in the unit of the metric (differences of Dice and IoU in percentage points), positive in the direction "
    "of the claim; of a stated level (at_least, at_most) the value itself (Dice and IoU in percent)."
)
# A sign beside the word and the colour: a verdict is read without colours too.
VERDICTS = {"reproduced": "✓", "within noise": "≈", "not reached": "○", "contradicted": "✗", "not testable": "?"}


def detection(evidence: Evidence) -> list[Block]:
    """Boxes, then structures that were missed or invented."""
    table = evidence["detection"]
    if table.empty or not has_values(table, "iou", "precision", "recall"):
        blocks: list[Block] = [Gap("No run has box scores, so detection cannot be judged.")]
    else:
        boxes = {box: name for box, name in BOXES.items() if box in set(table["box"])}
        rows = [_detected(evidence, row, boxes) for row in dict.fromkeys(in_order(evidence, table)["row"])]
        caption = "Boxes against those of the annotation, percent, patient means; a box is right from an IoU of 0.5."
        header = ["row", *(f"{name}: {part}" for name in boxes.values() for part in PARTS), "patients"]
        trivial = "The box of the mask is the trivial one: a detector has to beat it to be of use."
        notes = [*([trivial] if len(boxes) > 1 else []), *_published_boxes(evidence)]
        blocks = [Table(caption=caption, header=header, rows=rows, notes=notes)]
    return [*blocks, Heading("Missed, invented, undefined"), _statuses(evidence)]


def _detected(evidence: Evidence, row: str, boxes: Mapping[str, str]) -> list[Cell]:
    entries = [record(evidence["detection"], row=row, box=box) for box in boxes]
    values = [Cell(text=percent(entry.get(part.lower()))) for entry in entries for part in PARTS]
    patients = next((entry.get("num_patients") for entry in entries if entry), None)
    return [Cell(text=label_of(evidence, row), tone="name"), *values, Cell(text=count(patients))]


def _published_boxes(evidence: Evidence) -> list[str]:
    table = evidence.published
    if table.empty or "metric" not in table:
        return []
    boxes = table.loc[table["metric"].astype(str).str.lower().str.contains("iou")]
    values = [f"{spoken(entry['structure'])} {number(entry['mean'])}" for entry in boxes.to_dict("records")]
    mean = number(boxes["mean"].mean()) if len(boxes) else ""
    return [f"The paper's box IoU, percent: {', '.join(values)}; mean {mean}."] if values else []


def _statuses(evidence: Evidence) -> Block:
    table = pick(evidence["table"], split=main_split(evidence))
    structures = [name for name in compared_names(evidence) if name in set(table["structure"])]
    rows = []
    for row in (row for row in evidence.rows if len(table) and row in set(table["row"])):
        entries = [record(table, row=row, structure=name) for name in structures]
        cells = [
            Cell(text=" / ".join(count(entry.get(key)) for key in ("missed", "false_alarms", "undefined")))
            for entry in entries
        ]
        rows.append([Cell(text=label_of(evidence, row), tone="name"), *cells])
    if not rows:
        return Gap("There is no table from which misses could be counted.")
    caption = "Slices on which a structure was missed / invented / undefined (absent from both, or not annotated)."
    return Table(caption=caption, header=["", *(spoken(name) for name in structures)], rows=rows)


def claims(evidence: Evidence) -> list[Block]:
    """The ledger: every sentence that can be tested, and what came of it."""
    table = evidence["claims"]
    if table.empty:
        return [Gap("No claim was judged: reports/published/claims.csv has none for this table.")]
    counts = table["verdict"].value_counts()
    summary = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in VERDICTS)
    untested, tested = (table.loc[(table["verdict"] == "not testable") == answer] for answer in (True, False))
    blocks: list[Block] = [Text(f"{len(table)} claims: {summary}.", tone="lead")]
    blocks += [_ledger(tested)] if len(tested) else []
    folded = f"{len(untested)} claims were not testable, with what each lacks"
    blocks += [Folded(summary=folded, blocks=[_ledger(untested)])] if len(untested) else []
    return [*blocks, Folded(summary="How a verdict is reached", blocks=[Lines(lines=list(RULES))])]


def _ledger(table: pd.DataFrame) -> Table:
    header = ["claim", "verdict", "effect", "patients", "test", "note"]
    rows = [_claim(entry) for entry in table.to_dict("records")]
    return Table(caption=CLAIMS_CAPTION, header=header, rows=rows, stacked=True)


def _claim(entry: Mapping) -> list[Cell]:
    verdict = word(entry.get("verdict"))
    tone = verdict.replace(" ", "-") if verdict in VERDICTS else "prose"
    effect, in_percent = entry.get("effect"), is_share(word(entry.get("test")), word(entry.get("metric")))
    scale = 100.0 if in_percent else 1.0
    # A level in percent, or in mm2, has one decimal; a difference in points two, any other number three.
    large = is_number(effect) and scale * abs(effect or 0.0) >= 10
    digits = 1 if large else 2 if in_percent else 3
    ends = interval(entry.get("ci95_low"), entry.get("ci95_high"), digits, signed=True, scale=scale)
    place = " · ".join(filter(None, (word(entry.get("id")), word(entry.get("section")))))
    margin = f"margin {word(entry.get('margin'))}" if word(entry.get("margin")) else ""
    return [
        Cell(text=word(entry.get("claim")), below=place, tone="prose claim"),
        Cell(text=f"{VERDICTS.get(verdict, '')} {verdict}".strip(), tone=tone),
        Cell(text=number(effect, digits, signed=True, scale=scale), below=ends),
        Cell(text=count(entry.get("num_patients"))),
        Cell(text=word(entry.get("test")), below=margin, tone="prose"),
        Cell(text=word(entry.get("note")), below=word(entry.get("cost")), tone="prose"),
    ]


def costs(evidence: Evidence) -> list[Block]:
    """What a row costs, how coarse it sees, and what it was shown."""
    if evidence["costs"].empty:
        return [Gap("No summary.json states a cost.")]
    columns = {"parameters": ("parameters, M", 1e-6, 2), "flop_per_image": ("GFLOP an image", 1e-9, 1)}
    columns |= {"ms_per_image": ("ms an image", 1.0, 1), "peak_memory_mb": ("peak memory, MB", 1.0, 0)}
    columns |= {"training_s": ("training, s", 1.0, 0), "num_runs": ("runs", 1.0, 0)}
    rows = [
        [
            Cell(text=label_of(evidence, entry["row"]), tone="name"),
            *(Cell(text=number(entry.get(key), digits, scale=scale)) for key, (_, scale, digits) in columns.items()),
        ]
        for entry in in_order(evidence, evidence["costs"]).to_dict("records")
    ]
    unknown = any(not is_number(entry.get(key)) for entry in evidence["costs"].to_dict("records") for key in columns)
    notes = [f"{DASH}: the run folder does not say (older, or masks that were only scored)."] if unknown else []
    header = ["row", *(title for title, *_ in columns.values())]
    return [
        Table(
            caption="Cost of a row, mean over its runs; times are of the machine that ran them.",
            header=header,
            rows=rows,
            notes=notes,
        ),
        *_shown(evidence),
    ]


def _shown(evidence: Evidence) -> list[Block]:
    lines = {line["row"]: line for line in rows_shown(evidence["costs"])}
    rows = [
        [
            Cell(text=label_of(evidence, row), tone="name"),
            Cell(text=lines[row]["cells_mm"] or DASH),
            Cell(text=lines[row]["paper_cells_mm"] or DASH, tone="prose"),
            *(Cell(text=count(lines[row][name])) for name in SEEN),
        ]
        for row in in_order(evidence, evidence["costs"])["row"]
        if row in lines
    ]
    if not rows:
        return []
    caption = "How coarse a row sees and what a training was shown, mean over its runs."
    notes = ["Cells: side of what one value of a feature map stands for; the paper's where it gives its images' size."]
    header = ["row", "cells, mm (low-level, bottleneck)", "the paper's", *SEEN.values()]
    return [Table(caption=caption, header=header, rows=rows, notes=notes)]
