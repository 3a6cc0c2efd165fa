"""What is measured on predicted masks against what is measured on true ones (`reports.statistics.agreement`)."""

from typing import Any

import pandas as pd

from metrics.muscles import BOTH
from reports.chapters.parts import Part
from reports.evidence import Evidence
from reports.plots.bland_altman import bland_altman_plot
from reports.render.blocks import Block, Figure, Figures, Folded
from reports.render.formats import count, has_values, interval, number, pick, spoken
from reports.render.tables import PATIENTS, ROW, Column, Line, Table
from reports.setting import in_order, is_sagittal, label_of
from reports.sources import Sources
from reports.statistics.agreement import build_agreement, build_pairs, name_and_unit, patient_pairs
from reports.statistics.patients import MEAN

MOST_PLOTS = 8  # of a report of many muscles; the rest is a table
FILES = {"agreement": "Measurements on predicted against true masks (`reports.statistics.agreement.build_agreement`)."}


def _in_unit(title: str, name: str, *, signed: bool = False, ends: bool = False) -> Column:
    """A column in the unit of each line's measure."""

    def written(line: Line, *names: str) -> str:
        _, unit, scale = name_and_unit(line["measure"])
        digits = 0 if unit == "mm²" else 2
        if len(names) == 1:
            return number(line[name], digits, signed=signed, scale=scale)
        kind = line.get(f"{name}_interval", "")
        low, high = (line[each] for each in names)
        return interval(low, high, digits, signed=signed, scale=scale, kind=kind)

    if ends and name == "limit":
        return Column(title, lambda line: written(line, "limit_low", "limit_high")[1:-1], kind="text")
    below = (lambda line: written(line, f"{name}_low", f"{name}_high")) if ends else None
    return Column(title, lambda line: written(line, name), kind="text", below=below)


TABLE = Table(
    title="Measurements, prediction minus truth, one value a patient",
    caption="In the measure's unit; a patient's value is its mean over structures and slices.",
    columns=[
        ROW,
        Column("measure", lambda line: ", ".join(filter(None, name_and_unit(line["measure"])[:2])), kind="words"),
        Column("structure", lambda line: _where(line), kind="text"),
        _in_unit("truth", "truth_mean"),
        _in_unit("bias [95 %]", "bias", signed=True, ends=True),
        _in_unit("limits of agreement", "limit", signed=True, ends=True),
        _in_unit("mean absolute difference", "mean_absolute"),
        Column("ICC(2,1)", "icc", digits=3, interval="icc"),
        PATIENTS,
        Column(
            "not measured",
            lambda line: f"{count(line['num_missing'])} of {count(line['num_missing'] + line['num_pairs'])}",
            kind="text",
        ),
    ],
    notes=[
        "Limits of agreement: bias ± 1.96 SD of the patients' differences. ICC(2,1): two-way random effects, absolute "
        "agreement, one measurement; a bias lowers it. Not measured: the truth has it, the prediction has not."
    ],
)


def build(sources: Sources) -> dict[str, pd.DataFrame]:
    """`agreement`, and `measured`, one pair of values a patient."""
    pairs = build_pairs(sources.with_fusions)
    measured = patient_pairs(pairs)
    return {"measured": measured, "agreement": build_agreement(pairs, measured)}


def measurements(evidence: Evidence) -> list[Block]:
    """Bias, limits and ICC of every measure, with a plot of each of the reference."""
    table = in_order(evidence, evidence["agreement"])
    if not has_values(table, "bias"):
        return []
    places: Any = table.groupby(["row", "measure"])["structure"].transform("size")
    # Of muscles both sides together, and what has no sides; of other structures their mean, or the only one.
    first = (table["structure"] == MEAN) | (places == 1) | (table["side"] == BOTH)
    nested = table["measure"].isin(list(table.loc[table["side"] == BOTH, "measure"]))
    first |= nested & (table["side"] == "")
    whole = table.loc[first]
    row = evidence.reference if evidence.reference in set(whole["row"]) else str(whole["row"].iloc[0])
    lines = pick(whole, row=row).to_dict("records")
    text = (
        f"Bland-Altman plots of {label_of(evidence, row)}, a point a patient. Solid: bias; dashed: limits of "
        "agreement (bias ± 1.96 SD), from six patients on."
    )
    shown, more = lines[:MOST_PLOTS], lines[MOST_PLOTS:]
    plots: list[Block] = [Figures(figures=lambda: _plots(evidence, shown), caption=text)]
    plots += [Folded(summary="More plots", blocks=[Figures(figures=lambda: _plots(evidence, more))])] if more else []
    own, *each = TABLE.first_and_rest(whole, table.loc[~first], evidence.labels)
    return [own, *plots, *each]


def _plots(evidence: Evidence, lines: list[dict[Any, Any]]) -> list[Figure]:
    """The values of patients and their agreement, in the unit that is printed."""
    figures = []
    for line in lines:
        values = pick(evidence["measured"], **{key: line[key] for key in ("row", "measure", "structure", "side")})
        name, unit, scale = name_and_unit(line["measure"])
        values = values.assign(**{column: scale * values[column] for column in ("truth", "prediction")})
        scaled = line | {column: scale * line[column] for column in ("bias", "limit_low", "limit_high")}
        where = "" if line["structure"] == MEAN else f", {_where(line)}"
        figures += [bland_altman_plot(values, scaled, title=f"{name}{where}", unit=unit)] if len(values) else []
    return figures


def _where(line: Line) -> str:
    """Structure and side."""
    return f"{spoken(line['structure'])} {line['side']}".strip()


GAP = "No run folder has a morphometry.csv with both truth and prediction."
PARTS = [Part("measurements", 0, measurements, gap=GAP, command="{sweep}", missed_by=is_sagittal)]
