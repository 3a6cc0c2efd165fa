"""Trainings: curves of every row, how soon one gets near what it reaches in the end, schedules."""

from collections.abc import Sequence
from math import nan

import numpy as np
import pandas as pd

from records.run import Run
from reports.chapters.parts import Part
from reports.evidence import Evidence
from reports.plots.curves import CURVES, curves, timeline
from reports.plots.style import row_styles
from reports.render.blocks import Block, Figure, Figures
from reports.render.formats import has_values, listed, word
from reports.render.tables import COUNT, PERCENT, ROW, Column, Table
from reports.setting import in_order, label_of, prints_boxes, trained
from reports.sources import Sources
from reports.statistics.intervals import intervals

CAPTION = (
    "Mean over folds and seeds; validation patients come from the training part. A row's loss is the sum of its own "
    "terms, so losses do not compare between rows. Rows without boxes of their own have the box of their mask."
)
SHARE = 0.95
TRAININGS = ("row", "fold", "seed", "epochs", "final_dice", "epochs_to_95")
COLUMNS = (
    *("row", "num_trainings", "epochs", "final_dice", "epochs_to_95", "low", "high", "interval"),
    *("num_pairs", "difference", "difference_low", "difference_high", "difference_interval"),
)
FILES = {"convergence": "Epochs to 95 % of the last validation Dice (`build_convergence`)."}
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


def build_trainings(runs: Sequence[Run]) -> pd.DataFrame:
    """A row a training with TRAININGS.

    `epochs_to_95` is the number of epochs after which the validation Dice has first reached 95 % of `final_dice`, its
    last value; NaN where there was no validation, or where it ends at 0. It is as fine as validation is frequent.
    """
    own = [run for run in runs if not run.arm and run.epochs is not None]
    records = [(run.row, run.fold, run.seed, *epochs_to_share(run.epochs)) for run in own if run.epochs is not None]
    return pd.DataFrame(records, columns=list(TRAININGS))


def epochs_to_share(epochs: pd.DataFrame, share: float = SHARE) -> tuple[int, float, float]:
    """Epochs trained, last validation Dice, and epochs until `share` of it was first reached."""
    if not {"epoch", "val/dice"} <= set(epochs.columns):
        return len(epochs), nan, nan
    known = epochs[["epoch", "val/dice"]].astype(float).dropna().to_numpy()
    known = known[np.argsort(known[:, 0])]
    if not len(known) or known[-1, 1] <= 0:
        return len(epochs), nan, nan
    reached = known[known[:, 1] >= share * known[-1, 1], 0]
    return len(epochs), float(known[-1, 1]), float(reached[0] + 1)


def build_convergence(trainings: pd.DataFrame, rows: Sequence[str], reference: str) -> pd.DataFrame:
    """`convergence.csv`: mean over trainings (folds and seeds), with an interval where their number allows one.

    `difference` is to the reference's training of the same fold and seed. Trainings of several folds share patients, so
    the interval is narrower than that of independent trainings.
    """
    table = trainings.dropna(subset=["epochs_to_95"])
    records, own, paired = [], [], []
    other = table.loc[table["row"] == reference].set_index(["fold", "seed"])["epochs_to_95"]
    for row in (row for row in rows if row in set(table["row"])):
        part = table.loc[table["row"] == row].set_index(["fold", "seed"])
        records.append({"row": row, "epochs": part["epochs"].max(), "final_dice": part["final_dice"].mean()})
        own.append(part["epochs_to_95"].to_numpy(dtype=float))
        gaps = (part["epochs_to_95"] - other).dropna().to_numpy(dtype=float)
        paired.append(gaps if row != reference else np.zeros(0))
    means, gaps = (_where_allowed(samples) for samples in (own, paired))
    found = pd.DataFrame(records, columns=["row", "epochs", "final_dice"])
    found[["epochs_to_95", "low", "high", "interval"]] = means[["mean", "low", "high", "interval"]]
    columns = ["difference", "difference_low", "difference_high", "difference_interval"]
    found[columns] = gaps[["mean", "low", "high", "interval"]]
    found["num_trainings"], found["num_pairs"] = [len(each) for each in own], [len(each) for each in paired]
    return found.loc[:, list(COLUMNS)]


def _where_allowed(samples: Sequence[np.ndarray]) -> pd.DataFrame:
    """Mean and interval of each sample; no ends below the number that an interval takes."""
    found = intervals(samples)
    few = found["interval"] == "range"
    found.loc[few, ["low", "high"]] = nan
    found.loc[few, "interval"] = ""
    return found


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
