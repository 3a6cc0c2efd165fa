"""What is taken for what: true structures by the labels that their pixels carry."""

from collections.abc import Sequence

import pandas as pd

from records.run import Run
from reports.chapters.parts import Part
from reports.evidence import Evidence
from reports.plots.heat_map import confusion_matrix
from reports.readouts.keypoints import joined_readouts
from reports.render.blocks import Block, Figure, Figures, Folded
from reports.render.formats import has_values, pick
from reports.setting import in_order, is_sagittal, label_of
from reports.sources import Sources

COLUMNS = ("row", "truth", "prediction", "share", "pixels", "num_patients")
BACKGROUND = "background"
FILES = {"confusion": "What is taken for what (`build_confusion`)."}


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`confusion`."""
    return {"confusion": build_confusion(sources.with_fusions, sources.runs.structures)}


def build_confusion(runs: Sequence[Run], structures: Sequence[str]) -> pd.DataFrame:
    """`confusion.csv`: which share of a true structure's pixels carries which label, background included.

    Pixels are added up over a patient's slices and seeds; `share` is the mean over the patients who have the structure,
    `pixels` and `num_patients` are what it rests on. Every pair of labels has a line.
    """
    pixels = joined_readouts(runs, "confusion")
    names = [BACKGROUND, *structures]
    records = []
    for row, part in pixels.groupby("row", sort=False) if len(pixels) else ():
        for truth in (name for name in names if name in set(part["truth"])):
            own = part.loc[part["truth"] == truth]
            table = own.pivot_table(index="patient", columns="prediction", values="pixels", aggfunc="sum")
            counts = table.reindex(columns=names).fillna(0).to_numpy(dtype=float)
            shares, totals = (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0), counts.sum(axis=0)
            rest = zip(names, shares.tolist(), totals.astype(int).tolist(), strict=True)
            records += [(row, truth, *values, len(counts)) for values in rest]
    return pd.DataFrame(records, columns=list(COLUMNS))


def confusion(evidence: Evidence) -> list[Block]:
    """The matrix of the reference, then those of the other rows."""
    table = evidence["confusion"]
    if not has_values(table, "share"):
        return []

    def drawn(rows: Sequence[str]) -> list[Figure]:
        return [confusion_matrix(pick(table, row=row), title=label_of(evidence, row)) for row in rows]

    rows = sorted(dict.fromkeys(in_order(evidence, table)["row"]), key=lambda row: row != evidence.reference)
    text = (
        "Percent of a true structure's pixels (line) that carry each label (column), background included; mean over "
        "the patients who have the structure, a line adds up to 100. Shares below half a percent have no number."
    )
    rest = Folded(summary="The other rows", blocks=[Figures(figures=lambda: drawn(rows[1:]))])
    return [Figures(figures=lambda: drawn(rows[:1]), caption=text), *([rest] if rows[1:] else [])]


GAP = "No run folder has a confusion.csv."
PARTS = [Part("keypoints", 2, confusion, "What is taken for what", gap=GAP, command="{sweep}", missed_by=is_sagittal)]
