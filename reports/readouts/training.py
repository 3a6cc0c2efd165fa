"""Curves of every row's trainings, and the schedule of those that have one."""

import pandas as pd

from reports.chapters.parts import Part
from reports.evidence import Evidence
from reports.plots.curves import CURVES, curves, timeline
from reports.plots.style import row_styles
from reports.render.blocks import Block, Figure, Figures
from reports.render.formats import listed
from reports.setting import label_of, prints_boxes, trained

CAPTION = (
    "Mean over folds and seeds; validation patients come from the training part. A row's loss is the sum of its own "
    "terms, so losses do not compare between rows. Rows without boxes of their own have the box of their mask."
)


def training(evidence: Evidence) -> list[Block]:
    """Curves of every row."""
    runs = [run for run in trained(evidence) if run.epochs is not None and len(run.epochs)]
    tables = {row: [run.epochs for run in runs if run.row == row and run.epochs is not None] for row in evidence.rows}

    def drawn() -> list[Figure]:
        styles = row_styles(evidence.rows)
        found = (curves(column, tables, evidence.labels, styles) for column in CURVES)
        return [figure for figure in found if figure is not None]

    known = any(column in table for tables_of_row in tables.values() for table in tables_of_row for column in CURVES)
    return [Figures(figures=drawn, caption=CAPTION)] if known else []


def schedule(evidence: Evidence) -> list[Block]:
    """Which part of a network was trained when, where it was not all of it all the time."""
    schedules: dict[str, tuple[pd.DataFrame, list[str]]] = {}
    for run in trained(evidence):
        parts = [name for name in run.epochs.columns if name.startswith("schedule/")] if run.epochs is not None else []
        if run.epochs is not None and len(run.epochs) and parts:
            key = run.epochs[["epoch", *parts]].to_csv()
            schedules.setdefault(key, (run.epochs, []))[1].append(label_of(evidence, run.row))
    return [
        Figures(
            figures=lambda epochs=epochs: [timeline(epochs)],
            caption=f"Filled: the part was trained in that epoch; empty: it was frozen. {listed(names)}.",
        )
        for epochs, names in schedules.values()
    ]


GAP0 = "No run folder has a metrics.csv with epochs, so there are no training curves."
GAP1 = "No run logged a schedule; rows without the asynchronous training have none."
PARTS = [
    Part("training", 0, training, gap=GAP0),
    Part("training", 2, schedule, "Asynchronous schedule", gap=GAP1, missed_by=prints_boxes),
]
