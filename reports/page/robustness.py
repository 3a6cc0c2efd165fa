"""Robustness: the same networks on images that were turned or moved."""

import pandas as pd

from records.row_names import is_box_arm
from reports.evidence import Evidence
from reports.page.blocks import Block, Cell, Figures, Gap, Table
from reports.page.setting import label_of, main_split, sweep
from reports.page.values import DASH, count, has_values, interval, is_number, p_value, percent, pick, points, spoken
from reports.plots.intervals import arms
from reports.statistics.patients import MEAN


def robustness(evidence: Evidence) -> list[Block]:
    """The same networks, tested on images that were turned or moved."""
    found = pick(evidence["statistics"], split=main_split(evidence), structure=MEAN, metric="dice", stratum="")
    moved = [name for name in dict.fromkeys(found["arm"]) if name and not is_box_arm(str(name))] if len(found) else []
    if not moved:
        return [Gap("No run was tested on turned or moved images.", f"{sweep(evidence)} arms=robustness")]
    table = found.loc[found["arm"].isin(moved)]
    systems = [row for row in evidence.rows if row in set(table["row"])]
    rows = [[Cell(text="as it is", tone="name"), *(_own(pick(found, row=row, arm="")) for row in systems)]]
    for arm in moved:
        cells = [_moved(pick(table, row=row, arm=arm)) for row in systems]
        rows.append([Cell(text=spoken(str(arm)), tone="name"), *cells])
    caption = "Dice, percent (patients); below: difference to the same network's own test, points, and p after Holm."
    header = ["image", *(label_of(evidence, row) for row in systems)]
    blocks: list[Block] = [Table(caption=caption, header=header, rows=rows)]
    shown = evidence.reference if evidence.reference in systems else systems[0]
    own = pick(table, row=shown)
    if has_values(own, "difference"):
        against = f"Dice points against the test of {label_of(evidence, shown)} on the image as it is"
        text = "Turned by so many degrees, or shifted by so many millimetres of the patient; a bar is an interval."
        blocks.append(
            Figures(figures=[arms(own, against=against, alt="Change of Dice on turned and moved images")], caption=text)
        )
    return blocks


def _own(found: pd.DataFrame) -> Cell:
    line = found.iloc[0] if len(found) else {}
    return Cell(text=f"{percent(line.get('mean'))} ({count(line.get('num_patients'))})")


def _moved(found: pd.DataFrame) -> Cell:
    if found.empty:
        return Cell(text=DASH)
    line = found.iloc[0]
    tested = f", p {p_value(line['p_holm'])}" if is_number(line["p_holm"]) else ", not testable"
    ends = interval(line["difference_low"], line["difference_high"], 2, signed=True, scale=100)
    return Cell(text=percent(line["mean"]), below=f"{points(line['difference'])} {ends}{tested}")
