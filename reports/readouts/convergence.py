"""How soon trainings are near their end (`reports.convergence`)."""

import pandas as pd

from reports.chapters.parts import Part
from reports.convergence import build_convergence, build_trainings
from reports.evidence import Evidence
from reports.render.blocks import Block
from reports.render.formats import has_values, listed, word
from reports.render.tables import COUNT, PERCENT, ROW, Column, Table
from reports.setting import in_order
from reports.sources import Sources

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


GAP = "No training logged a validation Dice."
PARTS = [Part("training", 1, convergence, "Epochs to 95 % of the last validation Dice", gap=GAP)]
