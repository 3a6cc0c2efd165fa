"""Agreement of what is measured on predicted masks with what is measured on true ones."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from metrics.muscles import BOTH
from reports.evidence import Evidence
from reports.page.blocks import Block, Cell, Figure, Figures, Folded, Gap, Table
from reports.page.setting import in_order, label_of, sweep
from reports.page.values import DASH, count, has_values, interval, number, pick, spoken
from reports.plots.bland_altman import bland_altman_plot
from reports.statistics.agreement import name_and_unit
from reports.statistics.patients import MEAN

MOST_PLOTS = 8  # of a report of many muscles; the rest is a table


def measurements(evidence: Evidence) -> list[Block]:
    """Bias, limits and ICC of every measure, with a plot of each of the reference."""
    table = evidence["agreement"]
    if table.empty or not has_values(table, "bias"):
        return [Gap("No run folder has a morphometry.csv with both truth and prediction.", sweep(evidence))]
    table = in_order(evidence, table)
    places: Any = table.groupby(["row", "measure"])["structure"].transform("size")
    # Of muscles both sides together, and what has no sides; of other structures their mean, or the only one.
    first = (table["structure"] == MEAN) | (places == 1) | (table["side"] == BOTH)
    nested = table["measure"].isin(list(table.loc[table["side"] == BOTH, "measure"]))
    first |= nested & (table["side"] == "")
    whole, rest = table.loc[first], table.loc[~first]
    caption = "Prediction minus truth, in the measure's unit; one value a patient, its mean over structures and slices."
    blocks: list[Block] = [_agreement(evidence, whole.to_dict("records"), caption)]
    row = evidence.reference if evidence.reference in set(whole["row"]) else str(whole["row"].iloc[0])
    figures = []
    for line in pick(whole, row=row).to_dict("records"):
        keys = {key: line[key] for key in ("row", "measure", "structure", "side")}
        values = pick(evidence["measured"], **keys)
        if len(values):
            figures.append(_plot(values, line))
    if figures:
        text = (
            f"Bland-Altman plots of {label_of(evidence, row)}, a point a patient. Solid: bias; dashed: limits of "
            "agreement (bias ± 1.96 SD), from six patients on."
        )
        blocks.append(Figures(figures=figures[:MOST_PLOTS], caption=text))
        if figures[MOST_PLOTS:]:
            blocks.append(Folded(summary="More plots", blocks=[Figures(figures=figures[MOST_PLOTS:])]))
    if len(rest):
        inner = _agreement(evidence, rest.to_dict("records"), "The same for each structure; exploratory.")
        blocks.append(Folded(summary="Each structure", blocks=[inner]))
    return blocks


def _agreement(evidence: Evidence, lines: Sequence[dict[Any, Any]], caption: str) -> Table:
    header = ["row", "measure", "truth", "bias", "limits of agreement", "mean absolute difference", "ICC(2,1)"]
    rows = []
    for line in lines:
        name, unit, scale = name_and_unit(line["measure"])
        where = _where(line)
        missing, digits = count(line["num_missing"]), 0 if unit == "mm²" else 2
        limits = interval(line["limit_low"], line["limit_high"], digits, signed=True, scale=scale)
        rows.append(
            [
                Cell(text=label_of(evidence, line["row"]), tone="name"),
                Cell(text=f"{name}{f', {unit}' if unit else ''}", below=where, tone="prose"),
                Cell(text=number(line["truth_mean"], digits, scale=scale)),
                Cell(
                    text=number(line["bias"], digits, signed=True, scale=scale),
                    below=interval(line["bias_low"], line["bias_high"], digits, signed=True, scale=scale),
                ),
                Cell(text=limits[1:-1] or DASH),
                Cell(text=number(line["mean_absolute"], digits, scale=scale)),
                Cell(text=number(line["icc"], 3), below=interval(line["icc_low"], line["icc_high"], 3)),
                Cell(text=count(line["num_patients"])),
                Cell(text=f"{missing} of {count(line['num_missing'] + line['num_pairs'])}"),
            ]
        )
    notes = [
        "Limits of agreement: bias ± 1.96 SD of the patients' differences. ICC(2,1): two-way random effects, absolute "
        "agreement, one measurement; a bias lowers it. Not measured: the truth has it, the prediction has not."
    ]
    return Table(caption=caption, header=[*header, "patients", "not measured"], rows=rows, notes=notes)


def _plot(values: pd.DataFrame, line: dict[Any, Any]) -> Figure:
    """The values of patients and their agreement, in the unit that is printed."""
    name, unit, scale = name_and_unit(line["measure"])
    values = values.assign(**{column: scale * values[column] for column in ("truth", "prediction")})
    scaled = line | {column: scale * line[column] for column in ("bias", "limit_low", "limit_high")}
    where = _where(line)
    return bland_altman_plot(values, scaled, title=f"{name}, {where}" if where else name, unit=unit)


def _where(line: dict[Any, Any]) -> str:
    """Structure and side; "" for a mean over structures."""
    return "" if line["structure"] == MEAN else f"{spoken(line['structure'])} {line['side']}".strip()
