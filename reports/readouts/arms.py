"""The same trained networks, tested in other ways: on images that were turned or moved, or with other boxes."""

import pandas as pd

from records.row_names import is_box_arm
from reports.chapters.parts import Part, nobody
from reports.evidence import Evidence
from reports.plots.intervals import arms
from reports.render.blocks import Block, Figures, Folded
from reports.render.formats import has_values, pick
from reports.render.tables import P_HOLM, PATIENTS, PERCENT, POINTS, ROW, Column, Table
from reports.setting import in_order, is_sagittal, label_of, main_split
from reports.statistics.patients import MEAN

TABLE = Table(
    title="The same networks, tested {how}",
    caption="Dice, patient means; differences are to the same network's own test.",
    columns=[
        Column("tested", "arm", kind="words", tone="name"),
        ROW,
        Column("split", "split", kind="text"),
        Column("Dice, %", "mean", interval="ci95", **PERCENT),
        Column("its own test, %", "own_mean", **PERCENT),
        Column("difference, points", "difference", interval="difference", **POINTS),
        P_HOLM,
        PATIENTS,
    ],
)


def _arms(evidence: Evidence, *, of_boxes: bool) -> pd.DataFrame:
    """Lines of arms of one kind, by arm, with the network's own test beside."""
    found = pick(evidence["statistics"], structure=MEAN, metric="dice", stratum="")
    own = found.loc[found["arm"] == "", ["row", "split", "mean"]].rename(columns={"mean": "own_mean"})
    names = [name for name in dict.fromkeys(found["arm"]) if name and is_box_arm(str(name)) == of_boxes]
    table = in_order(evidence, found.loc[found["arm"].isin(names)]).merge(own, on=["row", "split"], how="left")
    table = table.assign(num_pairs=table["num_patients"])
    return table.sort_values("arm", key=lambda arms: arms.map(names.index), kind="stable")


def moved(evidence: Evidence) -> list[Block]:
    """On images that were turned or moved."""
    table = _arms(evidence, of_boxes=False)
    if table.empty:
        return []
    main = pick(table, split=main_split(evidence))
    shown = evidence.reference if evidence.reference in set(main["row"]) else str(table["row"].iloc[0])
    own = pick(main, row=shown)
    against = f"Dice points against the test of {label_of(evidence, shown)} on the image as it is"
    text = "Turned by so many degrees, or shifted by so many millimetres of the patient; a bar is an interval."
    drawn = Figures(
        figures=lambda: [arms(own, against=against, alt="Change of Dice on turned and moved images")], caption=text
    )
    grid = TABLE.of(table, evidence.labels, how="on turned or moved images")
    return [grid, *([drawn] if has_values(own, "difference") else [])]


def other_boxes(evidence: Evidence) -> list[Block]:
    """With other boxes than their own."""
    table = _arms(evidence, of_boxes=True)
    grid = TABLE.of(table, evidence.labels, how="with other boxes")
    return [Folded(summary="Every row and split with other boxes", blocks=[grid])] if len(table) else []


GAP0 = "No run was tested on turned or moved images."
PARTS = [
    Part("robustness", 0, moved, gap=GAP0, command="{sweep} arms=robustness", missed_by=is_sagittal),
    Part("mechanism", 8, other_boxes, missed_by=nobody),
]
