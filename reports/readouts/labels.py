"""What is said of the curve of labels against accuracy (`reports.readouts.curve`)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from records.run import FROM, FULL
from reports.chapters.parts import Part
from reports.evidence import Evidence
from reports.plots.intervals import labels_curve
from reports.render.blocks import Block, Figure, Figures, Gap, Text
from reports.render.formats import count, has_values, interval, is_number, p_value, pick, points
from reports.render.tables import COUNT, P_HOLM, PATIENTS, ROW, Column, Table
from reports.setting import is_sagittal, label_of
from reports.statistics.comparisons import ALPHA

COMMAND = "python run.py sweep=scarnet_masks cohort.root=DIR"


def _table(title: str, value: str, caption: str, *, digits: int = 1, scale: float = 1.0, short: bool = False) -> Table:
    written: dict[str, Any] = {"digits": 2, "scale": scale}
    return Table(
        title=title,
        caption=caption,
        main=short,
        terminal=short,
        columns=[
            ROW,
            Column("patients with masks", "masked_patients", **COUNT, short=True),
            Column(
                "supervision",
                "supervision",
                kind="text",
                below=lambda line: "" if line["complete"] else "folds are missing",
                short=True,
            ),
            Column(value, "mean", digits=digits, scale=scale, interval="ci95", short=True),
            Column("draws", "num_draws", **COUNT),
            Column("draw SD", "draw_sd", **written),
            Column("difference to full", "difference", signed=True, interval="difference", short=True, **written),
            replace(P_HOLM, short=True),
            replace(PATIENTS, short=True),
            Column("paired", "num_pairs", **COUNT),
        ],
    )


TABLES = {
    "dice": _table(
        "Labels against accuracy",
        "Dice, %",
        "Differences are paired by patient within each draw, averaged over draws; p: Wilcoxon, after Holm over the "
        "points of a row.",
        scale=100.0,
        short=True,
    ),
    "level_error": _table(
        "Labels against levels",
        "wrong level, %",
        "Structures that carry the number of another level, percent of those found: what Dice alone does not tell.",
        scale=100.0,
    ),
    "keypoint_error_mm": _table(
        "Labels against key points",
        "key points, mm",
        "Distance of the recognition path's key points from the true ones. Without key points nothing teaches it.",
        digits=2,
    ),
}


def labels(evidence: Evidence) -> list[Block]:
    """The curve: what key points of the other patients add, by how many patients have masks."""
    curve = evidence["curve"]
    table = pick(curve, metric="dice")
    if not has_values(table, "mean"):
        return []
    text = (
        "Dice of the patients (mean over structures; mean over draws of the patients with masks, which are nested "
        "within a draw) and its 95 % interval. Masks of validation patients count. full: masks alone; mixed: and key "
        "points of the other patients; from: the weights were taken from that network."
    )
    blocks: list[Block] = [Text(curve_sentence(evidence), tone="lead")]
    blocks.append(Figures(figures=partial(_figures, evidence, table), caption=text))
    for metric, declared in TABLES.items():
        own = pick(curve, metric=metric)
        known = has_values(own, "mean")
        missing = f"No run of the curve has what this is made from: {declared.columns[3].title}."
        blocks.append(declared.of(own, evidence.labels) if known else Gap(missing, COMMAND))
    return blocks


def _figures(evidence: Evidence, table: pd.DataFrame) -> list[Figure]:
    rows = dict.fromkeys(table["row"])
    return [labels_curve(table.loc[table["row"] == row], title=label_of(evidence, row)) for row in rows]


def curve_sentence(evidence: Evidence) -> str:
    """What was found at every number of masks at which both arms of a row were trained; empty without a curve."""
    table = pick(evidence["curve"], metric="dice")
    lines = [line for line in table.to_dict("records") if line["num_pairs"]]
    if not lines:
        return "Only one kind of supervision was run: nothing is compared." if len(table) else ""
    row, arm = lines[0]["row"], lines[0]["supervision"]
    lines = [line for line in lines if (line["row"], line["supervision"]) == (row, arm)]
    lines = sorted(lines, key=lambda line: line["masked_patients"])
    found = [f"{points(line['difference'])} {_ends(line)} with {count(line['masked_patients'])}" for line in lines]
    sign = "ranges" if any(line["difference_interval"] == "range" for line in lines) else "95 % intervals"
    return (
        f"{_cause(arm)} the Dice of {label_of(evidence, row)}, in points by patients with masks: {', '.join(found)} "
        f"({sign}; {_spread(lines, 'num_pairs', 'patient')}, {_spread(lines, 'num_shared_draws', 'draw')}). "
        f"{_beyond_chance(lines)}"
    )


def _cause(arm: str) -> str:
    """What a line of the curve has that FULL has not, as the beginning of a sentence."""
    supervision, _, network = arm.partition(FROM)
    if not network:
        return "Key points of the other patients change"
    return f"Starting from the weights of {network} changes" if supervision == FULL else f"{arm} changes"


def _ends(line: dict[Any, Any]) -> str:
    return interval(line["difference_low"], line["difference_high"], 2, signed=True, scale=100)


def _spread(lines: Sequence[dict[Any, Any]], name: str, noun: str) -> str:
    """How many of a thing the points of a curve have: "28 patients", "1 to 3 draws"."""
    fewest, most = (choose(int(line[name]) for line in lines) for choose in (min, max))
    numbers = str(most) if fewest == most else f"{fewest} to {most}"
    return f"{numbers} {noun}{'s' * (most != 1)}"


def _beyond_chance(lines: Sequence[dict[Any, Any]]) -> str:
    tested = [line for line in lines if is_number(line["p_holm"])]
    if not tested:
        return "Too few patients for a test."
    differ = [count(line["masked_patients"]) for line in tested if line["p_holm"] < ALPHA]
    smallest = f"smallest p {p_value(min(line['p_holm'] for line in tested))} after Holm"
    if not differ:
        return f"None is beyond chance ({smallest})."
    return f"Beyond chance with {' and '.join(differ)} ({smallest})."


GAP = "No run was trained on the masks of a limited number of patients."
PARTS = [Part("labels", 0, labels, gap=GAP, command=COMMAND, missed_by=is_sagittal)]
