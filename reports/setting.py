"""What the sections of the page agree on: the split it is about, its runs, and the values of the primary endpoint."""

import pandas as pd

from records.runs import Run
from reports.evidence import Evidence
from reports.papers import paper_facts
from reports.render.formats import pick


def main_split(evidence: Evidence) -> str:
    """The split that the page is about: by patient, unless nothing was trained so."""
    splits = {run.split for run in evidence.runs.runs}
    return "as published" if splits == {"as published"} else "by patient"


def is_sagittal(evidence: Evidence) -> bool:
    """Whether the report is about sagittal slices."""
    return any((run.config.get("anatomy") or {}).get("view") == "sagittal" for run in evidence.runs.everything)


def prints_boxes(evidence: Evidence) -> bool:
    """Whether boxes, gates and a schedule are a matter of the report: the printed paper has them.

    So they are without a printed paper, unless the slices are sagittal.
    """
    if evidence.published.empty:
        return not is_sagittal(evidence)
    return bool(paper_facts(evidence.published).get("boxes", False))


def splits_by_image(evidence: Evidence) -> bool:
    """Whether the split as published is a matter of the report: the paper dealt its folds by image, or is not known."""
    if evidence.published.empty:
        return not is_sagittal(evidence)
    return bool(paper_facts(evidence.published).get("split_by_image", False))


def sweep(evidence: Evidence) -> str:
    """The command of the paper's table: that which the runs were made for, else one that fits the slices."""
    facts = paper_facts(evidence.published)
    asked = [str((run.config.get("report") or {}).get("table")) for run in evidence.runs.everything]
    sweeps = facts.get("sweeps") or {"": "scarnet_table1" if is_sagittal(evidence) else "bs_esnet_table1"}
    table = next((name for name in asked if name in sweeps), next(iter(sweeps)))
    return f"python run.py sweep={sweeps[table]}"


def trained(evidence: Evidence) -> list[Run]:
    """Runs of the main split, arms left out."""
    return [run for run in evidence.runs.runs if run.split == main_split(evidence) and not run.arm]


def primary_comparisons(evidence: Evidence) -> pd.DataFrame:
    """Rows of statistics.csv that compare to the reference in the primary endpoint, in the order of the table."""
    keys = {"split": main_split(evidence), "arm": "", "stratum": "", "structure": "mean", "metric": "dice"}
    found = pick(evidence["statistics"], **keys)
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
