"""`table.csv`, and what else is counted over slices and folds of a row."""

from collections import Counter
from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from metrics.aggregate import METRICS, summarise
from records.gaps import num_folds, num_untested
from records.runs import AS_PUBLISHED, BY_PATIENT, Run, Runs
from reports.papers import method_names, place_of, printed_row, row_label
from reports.statistics.patients import MEAN

TABLE_COLUMNS = (
    *("split", "row", "label", "structure", "published_mean", "published_sd", "slice_mean", "slice_sd"),
    *("patient_mean", "ci95_low", "ci95_high", "num_patients", "num_slices", "missed", "false_alarms", "undefined"),
    *("hd95_mm", "bold", "complete"),
)
COUNTS = ("missed", "false_alarms", "undefined")


def primary_split(cases: pd.DataFrame) -> str:
    """The split of the first table: by patient wherever there is one."""
    return BY_PATIENT if BY_PATIENT in set(cases["split"]) else AS_PUBLISHED


def build_table(
    runs: Runs,
    cases: pd.DataFrame,
    statistics: pd.DataFrame,
    published: pd.DataFrame,
    rows: Sequence[str],
    averaged: Sequence[str],
) -> pd.DataFrame:
    """`table.csv`: one row per split, row of the table and structure ("mean": the primary endpoint).

    Percent for everything that is Dice. `slice_mean` and `slice_sd` are over slices, as papers print, of `mean` over
    the slices' means over what is averaged, and averaged over seeds; `patient_mean` and its interval are those of
    `statistics.csv`. `missed` and `false_alarms` count slices of all seeds, `undefined` those on which Dice does not
    exist (absent in both, or not annotated); `num_slices` counts a slice once. `published_mean` of "mean" is the mean
    of the printed means. A published row without a run is a line of gaps; `complete` says whether every fold is there.
    """
    methods = method_names(published)
    printed = list(methods)
    without_run = [row for row in printed if row not in {printed_row(row, published) for row in rows}]
    own = cases.loc[cases["arm"] == ""]
    names = tuple(dict.fromkeys((*averaged, *runs.structures)))
    records = []
    for split in (BY_PATIENT, AS_PUBLISHED):
        here = own.loc[own["split"] == split]
        if here.empty:
            continue
        present = [row for row in rows if row in set(here["row"])]
        for row in [*present, *without_run]:
            part = here.loc[here["row"] == row]
            counts = _counts(part, names, averaged)
            for structure in (*names, MEAN):
                record = {"split": split, "row": row, "structure": structure, **counts[structure]}
                record |= _published(published, row, structure, averaged)
                records.append(record | {"complete": is_complete(runs, row, split)})
    table = pd.DataFrame(records)
    table = table.merge(_patient_level(statistics), on=["split", "row", "structure"], how="left")
    table["bold"] = table["bold"].eq(True)
    table["num_patients"] = table["num_patients"].fillna(0).astype(int)
    table = table.astype(dict.fromkeys(COUNTS, "Int64"))
    places = {row: place_of(row, published) for row in (*printed, *rows)}
    position = [places[row] for row in table["row"]]
    table = table.assign(position=position).sort_values(["split", "position"], ascending=[False, True], kind="stable")
    table["label"] = [row_label(row, methods) for row in table["row"]]
    return table.loc[:, list(TABLE_COLUMNS)].reset_index(drop=True)


def is_complete(runs: Runs, row: str, split: str) -> bool:
    """Whether every seed of a row has every fold, each tested to the end; scored masks cover the cohort in one."""
    return covers_folds([run for run in runs.runs if (run.row, run.split, run.arm) == (row, split, "")])


def covers_folds(own: Sequence[Run]) -> bool:
    """`is_complete` of the own tests of one row."""
    seeds = {run.seed: {other.fold for other in own if other.seed == run.seed} for run in own}
    if any(num_untested(run) for run in own):
        return False
    return bool(own) and all(None in folds or len(folds) == num_folds(own[0]) for folds in seeds.values())


def slice_level(cases: pd.DataFrame, metric: str) -> dict[str, tuple[float, float]]:
    """Mean and SD over slices of each structure and of "mean", averaged over seeds, as `summarise` has them."""
    assert metric in METRICS
    found: dict[str, list[tuple[float, float]]] = {}
    for _, part in cases.groupby("seed"):
        levels: Any = summarise(part, (metric,))["slice_level"]
        for name, values in levels[metric].items():
            pair = tuple(nan if values[key] is None else values[key] for key in ("mean", "sd"))
            found.setdefault(name, []).append((float(pair[0]), float(pair[1])))
    averaged = {name: np.mean(pairs, axis=0) for name, pairs in found.items()}
    return {name: (float(mean), float(sd)) for name, (mean, sd) in averaged.items()}


def _counts(cases: pd.DataFrame, structures: Sequence[str], averaged: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Slice-level numbers of a row: mean, SD, how many slices, misses, false alarms, undefined."""
    whole = cases.loc[cases["structure"].isin(list(averaged))]
    levels = slice_level(cases, "dice")
    if len(whole) < len(cases):
        levels[MEAN] = slice_level(whole, "dice").get(MEAN, (nan, nan))
    counts = {}
    for structure in (*structures, MEAN):
        part = whole if structure == MEAN else cases.loc[cases["structure"] == structure]
        mean, sd = levels.get(structure, (nan, nan))
        record = {"slice_mean": 100 * mean, "slice_sd": 100 * sd}
        record["num_slices"] = len(part[["case", "slice"]].drop_duplicates())
        statuses = Counter(part["status"])
        known = (statuses["missed"], statuses["false_alarm"], np.count_nonzero(part["dice"].isna()))
        # Without a run there is no count, which is not a count of none.
        counts[structure] = record | dict(zip(COUNTS, known if len(cases) else [pd.NA] * 3, strict=True))
    return counts


def _published(published: pd.DataFrame, row: str, structure: str, structures: Sequence[str]) -> dict[str, float]:
    own = published.loc[(published["row"] == (printed_row(row, published) or None)) & (published["metric"] == "dice")]
    known = own.loc[own["structure"] == structure]
    if len(known):
        return {"published_mean": float(known["mean"].iloc[0]), "published_sd": float(known["sd"].iloc[0])}
    if structure == MEAN and len(own) and set(structures) <= set(own["structure"]):
        mean = own.loc[own["structure"].isin(list(structures)), "mean"].mean()
        return {"published_mean": float(mean), "published_sd": nan}
    return {"published_mean": nan, "published_sd": nan}


def _patient_level(statistics: pd.DataFrame) -> pd.DataFrame:
    own = statistics.loc[(statistics["arm"] == "") & (statistics["stratum"] == "")]
    keys = ["split", "row", "structure"]
    dice = own.loc[own["metric"] == "dice", [*keys, "num_patients", "mean", "ci95_low", "ci95_high", "bold"]]
    dice = dice.assign(**{name: 100 * dice[name] for name in ("mean", "ci95_low", "ci95_high")})
    distance = own.loc[own["metric"] == "hd95_mm", [*keys, "mean"]].rename(columns={"mean": "hd95_mm"})
    return dice.rename(columns={"mean": "patient_mean"}).merge(distance, on=keys, how="left")


def mean_of(values: Sequence[Any]) -> float:
    """Mean of what is not None; NaN of nothing."""
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else nan
