"""The ledger: every sentence of the paper that can be tested, and what came of it (`reports.claims`)."""

import pandas as pd

from reports.chapters.parts import Part
from reports.claims.judge import RULES, is_share
from reports.evidence import Evidence
from reports.render.blocks import Block, Folded, Lines, Text
from reports.render.formats import interval, is_number, number, pick, word
from reports.render.tables import PATIENTS, Column, Line, Table

# A sign beside the word and the colour: a verdict is read without colours too.
VERDICTS = {"reproduced": "✓", "within noise": "≈", "not reached": "○", "contradicted": "✗", "not testable": "?"}


def _effect(line: Line, *names: str) -> str:
    """A level in percent, or in mm2, has one decimal; a difference in points two, any other number three."""
    in_percent = is_share(word(line.get("test")), word(line.get("metric")))
    scale, effect = (100.0 if in_percent else 1.0), line.get("effect")
    large = is_number(effect) and scale * abs(effect or 0.0) >= 10
    digits = 1 if large else 2 if in_percent else 3
    values = [line.get(name) for name in names]
    if len(values) == 1:
        return number(values[0], digits, signed=True, scale=scale)
    return interval(values[0], values[1], digits, signed=True, scale=scale)


TABLE = Table(
    title="Claims of the paper{which}",
    caption="Effects in the unit of the metric (differences of Dice and IoU in percentage points), positive in the "
    "direction of the claim; of a stated level (at_least, at_most) the value itself (Dice and IoU in percent).",
    stacked=True,
    columns=[
        Column(
            "claim",
            "claim",
            kind="text",
            below=lambda line: " · ".join(filter(None, (word(line.get("id")), word(line.get("section"))))),
            tone="prose claim",
        ),
        Column(
            "verdict", lambda line: f"{VERDICTS.get(line['verdict'], '')} {word(line['verdict'])}".strip(), kind="text"
        ),
        Column(
            "effect",
            lambda line: _effect(line, "effect"),
            kind="text",
            below=lambda line: _effect(line, "ci95_low", "ci95_high"),
        ),
        PATIENTS,
        Column(
            "test",
            "test",
            kind="text",
            below=lambda line: f"margin {word(line.get('margin'))}" if word(line.get("margin")) else "",
            tone="prose",
        ),
        Column("note", "note", kind="text", below=lambda line: word(line.get("cost")), tone="prose"),
    ],
)


def claims(evidence: Evidence) -> list[Block]:
    """What was tested, then, folded, what was not."""
    table = evidence["claims"]
    if table.empty:
        return []
    counts = table["verdict"].value_counts()
    summary = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in VERDICTS)
    tested, untested = table.loc[table["verdict"] != "not testable"], pick(table, verdict="not testable")
    blocks: list[Block] = [Text(f"{len(table)} claims: {summary}.", tone="lead")]
    blocks += [_ledger(evidence, tested)] if len(tested) else []
    folded = f"{len(untested)} claims were not testable, with what each lacks"
    blocks += [Folded(summary=folded, blocks=[_ledger(evidence, untested, ", not testable")])] if len(untested) else []
    return [*blocks, Folded(summary="How a verdict is reached", blocks=[Lines(lines=list(RULES))])]


def _ledger(evidence: Evidence, table: pd.DataFrame, which: str = "") -> Block:
    return TABLE.of(table, evidence.labels, which=which)


PARTS = [Part("claims", 0, claims, gap="No claim was judged: reports/published/claims.csv has none for this table.")]
