"""Trainings: curves of every row, how soon they are near their end (`reports.convergence`), schedules."""

import pandas as pd

from reports.chapters.parts import Part
from reports.convergence import build_convergence, build_trainings
from reports.evidence import Evidence
from reports.plots.curves import CURVES, curves, timeline
from reports.plots.style import row_styles
from reports.render.blocks import Block, Figure, Figures
from reports.render.formats import has_values, listed, word
from reports.render.tables import COUNT, PERCENT, ROW, Column, Table
from reports.setting import in_order, label_of, prints_boxes, trained
from reports.sources import Sources

CAPTION = (
    "Mean over folds and seeds; validation patients come from the training part. A row's loss is the sum of its own "
    "terms, so losses do not compare between rows. Rows without boxes of their own have the box of their mask."
)
FILES = {"convergence": "Epochs to 95 % of the last validation Dice (`reports.convergence.build_convergence`)."}
TABLE = Table(
    title="Epochs until the validation Dice is at 95 % of its last value, mean over trainings",
    caption="Trainings are folds and seeds, each to its own last Dice; intervals: {kinds}.",
    columns=[
        ROW,
        Column("epochs", "epochs_to_95", interval="own"),
        Column("of", "epochs", **COUNT),
        Column("last validation Dice, %", "final_dice", **PERCENT),
        Column("difference to the reference", "difference", signed=True, interval="difference"),
        Column("trainings", "num_trainings", **COUNT),
    ],
)


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`convergence`, and `trainings`, which it is made of."""
    trainings = build_trainings(sources.own)
    return {"trainings": trainings, "convergence": build_convergence(trainings, sources.rows, sources.reference)}


def convergence(evidence: Evidence) -> list[Block]:
    """How soon trainings are near their end."""
    table = in_order(evidence, evidence["convergence"]).rename(columns={"low": "own_low", "high": "own_high"})
    kinds = listed(word(kind) or "none" for kind in table["interval"])
    return [TABLE.of(table, evidence.labels, kinds=kinds)] if has_values(table, "epochs_to_95") else []


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
GAP1 = "No training logged a validation Dice."
GAP2 = "No run logged a schedule; rows without the asynchronous training have none."
PARTS = [
    Part("training", 0, training, gap=GAP0),
    Part("training", 1, convergence, "Epochs to 95 % of the last validation Dice", gap=GAP1),
    Part("training", 2, schedule, "Asynchronous schedule", gap=GAP2, missed_by=prints_boxes),
]
