"""Which test slices have pictures, and how their rows scored on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from metrics.agreement_map import MEANINGS, agreement_colours
from records.predictions import INDEX, StoredSlice
from records.runs import Run
from reports.endpoint import averages_regions
from reports.evidence import AGREEMENT, Evidence
from reports.pictures.panels import View, common_view, load_slice
from reports.plots.style import COLOURS
from reports.render.formats import pick

KEYS = ["case", "slice"]


@dataclass(frozen=True, kw_only=True)
class Album:
    """Every slice with a picture.

    Attributes:
        slices: Columns row, seed, case, slice, path, dice (mean over what the primary endpoint averages, NaN
            where unknown), level and factors.
        colours: Structures in the order of the classes, each with its colour.
        plane: "axial" or "sagittal".
        num_scored: Slices of the reference that have scores, with or without a picture.
        agreement: Colours of `metrics.agreement_map.MEANINGS`; {} where pictures show structures alone.
    """

    slices: pd.DataFrame
    colours: Mapping[str, str]
    plane: str
    num_scored: int
    agreement: Mapping[str, str] = field(default_factory=dict)

    @property
    def sides(self) -> bool:
        """Whether the edges of a picture are the patient's right and left."""
        return self.plane == "axial"

    def find(self, row: str, where: Mapping[str, Any]) -> tuple[StoredSlice | None, float]:
        """The picture of a row's slice (lowest seed) and its Dice."""
        found = pick(self.slices, row=row, case=where["case"], slice=where["slice"])
        if found.empty:
            return None, float("nan")
        first = found.sort_values("seed").iloc[0]
        return load_slice(first["path"]), float(first["dice"])

    def legend(self) -> list[tuple[str, str]]:
        """Names and colours."""
        structures = [(name.replace("_", " "), colour) for name, colour in self.colours.items()]
        return structures + [(MEANINGS[name], colour) for name, colour in self.agreement.items()]

    def view(self, slices: Sequence[StoredSlice]) -> View:
        """What all panels of these slices show."""
        agreement = list(self.agreement.values())
        return common_view(slices, list(self.colours.values()), view=self.plane, agreement=agreement)


def open_album(evidence: Evidence) -> Album:
    """Lists the pictures of the runs that trained and tested by patient (of all, where there are no such)."""
    runs = [run for run in evidence.runs.runs if not run.arm]
    runs = [run for run in runs if run.split == "by patient"] or runs
    frames = []
    for run in runs:
        index = run.folder / INDEX
        if index.exists():
            table = pd.read_csv(index, dtype={"case": str, "patient": str, "level": str})
            if {"file", *KEYS} <= set(table.columns):
                paths = [index.parent / str(name) for name in table["file"]]
                frame = table[KEYS].assign(row=run.row, seed=run.seed, path=paths)
                frames.append(frame.merge(_slice_scores(run.cases, _averaged(evidence, run)), on=KEYS, how="left"))
    columns = ["row", "seed", *KEYS, "path", "dice", "level"]
    slices = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    scored = [run.cases[KEYS].drop_duplicates() for run in runs if run.row == evidence.reference]
    anatomy = next((run.config.get("anatomy") for run in runs if run.config.get("anatomy")), None) or {}
    names = list(anatomy.get("structures") or evidence.runs.structures)
    colours = dict(anatomy.get("colours") or {})
    return Album(
        slices=slices,
        colours={name: colours.get(name, COLOURS[k % len(COLOURS)]) for k, name in enumerate(names)},
        plane=anatomy.get("view", "axial"),
        num_scored=len(pd.concat(scored).drop_duplicates()) if scored else 0,
        agreement=_agreement(evidence, runs),
    )


def _agreement(evidence: Evidence, runs: Sequence[Run]) -> dict[str, str]:
    """Colours of the agreement overlay where the report asks for it, or the reference's runs drew it; else {}."""
    nodes = [(run.config.get("callbacks") or {}).get("overlays") or {} for run in runs if run.row == evidence.reference]
    drawn = next((node for node in nodes if node.get("style") == AGREEMENT), {})
    if (evidence.overlay or drawn.get("style")) != AGREEMENT:
        return {}
    return agreement_colours(drawn.get("colours"))


def _averaged(evidence: Evidence, run: Run) -> pd.DataFrame:
    """Scores of what the primary endpoint averages, of one run."""
    if not averages_regions(evidence):
        return run.cases
    own = pick(evidence["region_cases"], row=run.row, split=run.split, arm=run.arm, seed=run.seed)
    return own.loc[own["structure"].isin(evidence.averaged)]


def _slice_scores(cases: pd.DataFrame, averaged: pd.DataFrame) -> pd.DataFrame:
    """A row a slice: mean Dice over what is averaged, level and the factors of the case."""
    cases, averaged = (table.assign(case=table["case"].astype(str)) for table in (cases, averaged))
    factors = [name for name in ("level", "fat_fraction", "fascia_contrast") if name in cases]
    means = averaged.pivot_table(index=KEYS, values="dice", aggfunc="mean").reset_index()
    return cases.loc[~cases.duplicated(KEYS), [*KEYS, *factors]].merge(means, on=KEYS, how="left")
