"""What the sections of the page agree on: the split it is about, its runs, and the values of the primary endpoint."""

import pandas as pd

from records.runs import Run
from reports.evidence import Evidence
from reports.page.values import pick
from reports.papers import proposed_row, published_tables

SWEEPS = {"msff_table2_alpha": "msff_table2"}  # tables whose sweep has another name


def main_split(evidence: Evidence) -> str:
    """The split that the page is about: by patient, unless nothing was trained so."""
    splits = {run.split for run in evidence.runs.runs}
    return "as published" if splits == {"as published"} else "by patient"


def is_sagittal(evidence: Evidence) -> bool:
    """Whether the report is about sagittal slices."""
    return any((run.config.get("anatomy") or {}).get("view") == "sagittal" for run in evidence.runs.everything)


def prints_boxes(evidence: Evidence) -> bool:
    """Whether boxes, gates and folds dealt by image are a matter of the report: the printed paper has box scores.

    So they are without a printed paper, unless the slices are sagittal.
    """
    if evidence.published.empty:
        return not is_sagittal(evidence)
    return bool((evidence.published["metric"] == "box_iou").any())


def sweep(evidence: Evidence) -> str:
    """The command of the paper's table: that which the runs were made for, else one that fits the slices."""
    asked = [(run.config.get("report") or {}).get("table") for run in evidence.runs.everything]
    table = next((str(name) for name in asked if name in published_tables()), "")
    if len(evidence.published) and table:
        return f"python run.py sweep={SWEEPS.get(table, table)}"
    proposed = proposed_row(evidence.published) if len(evidence.published) else None
    return f"python run.py sweep={proposed or ('scarnet' if is_sagittal(evidence) else 'bs_esnet')}_table1"


def trained(evidence: Evidence) -> list[Run]:
    """Runs of the main split, arms left out."""
    return [run for run in evidence.runs.runs if run.split == main_split(evidence) and not run.arm]


def primary_comparisons(evidence: Evidence) -> pd.DataFrame:
    """Rows of statistics.csv that compare to the reference in the primary endpoint, in the order of the table."""
    found = pick(
        evidence["statistics"], split=main_split(evidence), arm="", stratum="", structure="mean", metric="dice"
    )
    found = found.loc[found["row"] != evidence.reference] if len(found) else found
    return in_order(evidence, found) if len(found) else found


def published_means(evidence: Evidence) -> dict[str, float]:
    """Mean of the paper's Dice over what it prints one of, percent, of each of its rows."""
    table = evidence.published
    if table.empty or not {"row", "mean", "metric"} <= set(table.columns):
        return {}
    dice = table.loc[table["metric"].astype(str).str.lower().isin(["dice", "dsc"])].dropna(subset=["row", "mean"])
    return {str(row): float(group.mean()) for row, group in dice.groupby("row")["mean"]}


def label_of(evidence: Evidence, row: object) -> str:
    """What a row is called in print."""
    return evidence.labels.get(str(row), str(row))


def in_order(evidence: Evidence, table: pd.DataFrame) -> pd.DataFrame:
    """The table with its rows in the order of the paper's."""
    order = {row: place for place, row in enumerate(evidence.rows)}
    return table.sort_values("row", key=lambda rows: rows.map(lambda row: order.get(row, len(order))), kind="stable")
