"""Who was in which part of which fold."""

from dataclasses import replace

import pandas as pd

from records.run import Run
from records.runs import Runs
from reports.chapters.parts import Part
from reports.evidence import Evidence
from reports.render.blocks import Block
from reports.render.tables import Column, Table, counts
from reports.sources import Sources

TABLE = Table(
    title="Folds",
    caption="Who was in which part of which fold.",
    columns=[
        *(Column(name, lambda line, name=name: line[name], kind="text") for name in ("split", "fold", "part")),
        *counts(num_patients="patients", num_slices="slices"),
        Column("levels", "levels", kind="text"),
    ],
)


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`folds` of the table's runs; without a table, of all."""
    runs = sources.runs if sources.rows else replace(sources.runs, runs=sources.runs.everything)
    return {"folds": build_folds(runs)}


def build_folds(runs: Runs) -> pd.DataFrame:
    """`folds`: patients, slices and levels of each part of each fold.

    Levels come from the case tables: those of training and validation are known once every fold was tested, and are ""
    before.
    """
    records = []
    tested = pd.concat([run.cases for run in runs.runs if not run.arm]).drop_duplicates(["case", "slice"])
    seen = {}
    for run in runs.runs:
        if run.arm or run.scored or (run.split, run.fold) in seen:
            continue
        seen[run.split, run.fold] = run
        for part, patients in (run.card.get("patients") or {}).items():
            num_slices = int((run.card.get("slices") or {}).get(part, 0))
            levels = _levels(tested, run, str(part), num_slices)
            counts = {"num_patients": int(patients), "num_slices": num_slices, "levels": levels}
            records.append({"split": run.split, "fold": run.fold, "part": part, **counts})
    columns = ["split", "fold", "part", "num_patients", "num_slices", "levels"]
    return pd.DataFrame(records, columns=columns)


def _levels(tested: pd.DataFrame, run: Run, part: str, num_slices: int) -> str:
    if run.parts is None:
        return ""
    keys = [name for name in ("patient", "case", "slice") if name in run.parts]
    listed = run.parts.loc[(run.parts["fold"] == run.fold) & (run.parts["part"] == part), keys]
    slices = tested.assign(slice=tested["slice"].astype(str)).merge(listed.astype(str), on=keys)
    if len(slices) != num_slices:
        return ""
    counts = slices["level"].value_counts().sort_index()
    return ", ".join(f"{level} {count}" for level, count in counts.items() if level)


def folds(evidence: Evidence) -> list[Block]:
    """Patients and slices of each part."""
    return [TABLE.of(evidence["folds"], evidence.labels)] if len(evidence["folds"]) else []


PARTS = [Part("protocol", 1, folds, gap="No run folder has a split.csv, so folds cannot be listed.")]
