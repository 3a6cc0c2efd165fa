"""What the boxes, the preliminary mask and the gate do, and how the networks were trained."""

from collections.abc import Mapping

import pandas as pd

from reports.evidence import Evidence
from reports.page.blocks import Block, Cell, Figures, Gap, Heading, Table
from reports.page.setting import in_order, label_of, prints_boxes, trained
from reports.page.values import count, has_values, interval, listed, number, p_value, percent, points, spoken, word
from reports.plots.curves import CURVES, curves, timeline
from reports.plots.intervals import arms
from reports.plots.style import row_styles

CURVES_CAPTION = (
    "Mean over folds and seeds; validation patients come from the training part. A row's loss is the sum of its own "
    "terms, so losses do not compare between rows. Rows without boxes of their own have the box of their mask."
)


def mechanism(evidence: Evidence, tables: Mapping[str, pd.DataFrame], features: list[Block]) -> list[Block]:
    """What the boxes, the preliminary mask and the gate do; `features` are pictures of the latter."""
    nothing = pd.DataFrame()
    return [
        Heading("Boxes at test time"),
        *_arms(tables.get("arms", nothing)),
        Heading("Preliminary mask"),
        *_preliminary(evidence, tables.get("preliminary", nothing)),
        Heading("Where the gate looks"),
        *_saliency(evidence, tables.get("saliency", nothing)),
        *features,
    ]


def _arms(table: pd.DataFrame) -> list[Block]:
    if table.empty or not has_values(table, "dice"):
        return [Gap("No run was tested with other boxes than its own.", "python run.py sweep=bs_esnet_boxes")]
    rows = [
        [
            Cell(text=spoken(word(entry["arm"])), tone="name"),
            Cell(text=percent(entry.get("dice"))),
            Cell(
                text=points(entry.get("difference")),
                below=interval(entry.get("difference_low"), entry.get("difference_high"), 2, signed=True, scale=100),
            ),
            Cell(text=p_value(entry.get("p_holm"))),
            Cell(text=count(entry.get("num_patients"))),
        ]
        for entry in table.to_dict("records")
    ]
    header = ["boxes given to the gate", "Dice, %", "difference to predicted, points", "p after Holm", "patients"]
    blocks: list[Block] = [
        Table(caption="The same trained networks, tested with other boxes.", header=header, rows=rows)
    ]
    others = table.loc[table["arm"] != "predicted"]
    return (
        [
            *blocks,
            Figures(figures=[arms(others)], caption="If shuffled boxes change nothing, the gate does not use them."),
        ]
        if has_values(others, "difference")
        else blocks
    )


def _preliminary(evidence: Evidence, table: pd.DataFrame) -> list[Block]:
    if table.empty or not has_values(table, "preliminary_dice"):
        return [Gap("No run has a preliminary mask that was scored.", "python run.py sweep=bs_esnet_mechanism")]
    rows = [
        [
            Cell(text=label_of(evidence, entry["row"]), tone="name"),
            *(Cell(text=percent(entry.get(key))) for key in ("preliminary_dice", "ceiling_dice", "box_iou")),
            Cell(
                text=number(entry.get("correlation"), 2, signed=True),
                below=interval(entry.get("correlation_low"), entry.get("correlation_high"), 2, signed=True),
            ),
            Cell(text=count(entry.get("num_patients"))),
        ]
        for entry in in_order(evidence, table).to_dict("records")
    ]
    header = [
        "row",
        "preliminary Dice, %",
        "ceiling of its scale, %",
        "box IoU, %",
        "correlation of the two",
        "patients",
    ]
    note = "Ceiling: the annotation itself, averaged down to the grid of the mask and brought back."
    return [
        Table(
            caption="Preliminary mask, and how its Dice goes with the box IoU.", header=header, rows=rows, notes=[note]
        )
    ]


def _saliency(evidence: Evidence, table: pd.DataFrame) -> list[Block]:
    if table.empty or not has_values(table, "share_inside"):
        return [Gap("No run has a saliency map that was scored.", "python run.py experiment=bs_esnet")]
    rows = [
        [
            Cell(text=label_of(evidence, entry["row"]), tone="name"),
            Cell(text=percent(entry.get("share_inside"))),
            Cell(text=percent(entry.get("area_share"))),
            Cell(
                text=number(entry.get("enrichment"), 2),
                below=interval(entry.get("ci95_low"), entry.get("ci95_high"), 2),
            ),
            Cell(text=count(entry.get("num_patients"))),
        ]
        for entry in in_order(evidence, table).to_dict("records")
    ]
    header = ["row", "saliency inside, %", "area of the structures, %", "enrichment", "patients"]
    note = "A flat map has an enrichment of 1: as much saliency inside the structures as their share of the area."
    return [
        Table(
            caption="Share of the saliency that lies inside annotated structures.",
            header=header,
            rows=rows,
            notes=[note],
        )
    ]


def training(evidence: Evidence) -> list[Block]:
    """Curves of every row and the schedule of those that have one."""
    runs = [run for run in trained(evidence) if run.epochs is not None and len(run.epochs)]
    tables = {row: [run.epochs for run in runs if run.row == row and run.epochs is not None] for row in evidence.rows}
    styles = row_styles(evidence.rows)
    drawn = [figure for column in CURVES if (figure := curves(column, tables, evidence.labels, styles)) is not None]
    if not drawn:
        return [Gap("No run folder has a metrics.csv with epochs, so there are no training curves.")]
    blocks: list[Block] = [Figures(figures=drawn, caption=CURVES_CAPTION), *_convergence(evidence)]
    schedules: dict[str, tuple[pd.DataFrame, list[str]]] = {}
    for run in runs:
        parts = [name for name in run.epochs.columns if name.startswith("schedule/")] if run.epochs is not None else []
        if run.epochs is not None and parts:
            key = run.epochs[["epoch", *parts]].to_csv()
            schedules.setdefault(key, (run.epochs, []))[1].append(label_of(evidence, run.row))
    if not schedules and not prints_boxes(evidence):
        return blocks
    blocks.append(Heading("Asynchronous schedule"))
    if not schedules:
        return [*blocks, Gap("No run logged a schedule; rows without the asynchronous training have none.")]
    for epochs, names in schedules.values():
        text = f"Filled: the part was trained in that epoch; empty: it was frozen. {listed(names)}."
        blocks.append(Figures(figures=[timeline(epochs)], caption=text))
    return blocks


def _convergence(evidence: Evidence) -> list[Block]:
    """How soon trainings are near their end."""
    table = evidence["convergence"]
    blocks: list[Block] = [Heading("Epochs to 95 % of the last validation Dice")]
    if table.empty or not has_values(table, "epochs_to_95"):
        return [*blocks, Gap("No training logged a validation Dice.")]
    rows = [
        [
            Cell(text=label_of(evidence, line["row"]), tone="name"),
            Cell(text=number(line["epochs_to_95"], 1), below=interval(line["low"], line["high"], 1)),
            Cell(text=count(line["epochs"])),
            Cell(text=percent(line["final_dice"])),
            Cell(
                text=number(line["difference"], 1, signed=True),
                below=interval(line["difference_low"], line["difference_high"], 1, signed=True),
            ),
            Cell(text=count(line["num_trainings"])),
        ]
        for line in in_order(evidence, table).to_dict("records")
    ]
    header = ["row", "epochs", "of", "last validation Dice, %", "difference to the reference", "trainings"]
    kinds = listed(word(kind) for kind in table["interval"])
    caption = f"Mean over trainings (folds and seeds), each to its own last Dice; intervals: {kinds}."
    return [*blocks, Table(caption=caption, header=header, rows=rows)]
