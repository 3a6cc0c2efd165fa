"""What a run leaves of its test: the rows of cases.csv, summary.json, and files that are whole or not there."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import distributed

from lightning_modules.evaluation import EvaluatedSlice
from lightning_modules.written import replace_text
from metrics.cases import CASE_COLUMNS, score_slice, without_millimetres
from metrics.mechanism import score_mechanism


def slice_rows(
    item: EvaluatedSlice,
    structures: Sequence[str],
    factors: Mapping[str, str] | None = None,
    *,
    nominal_spacing: bool = False,
) -> list[dict[str, Any]]:
    """Rows of `cases.csv` for one slice.

    Args:
        item: The slice.
        structures: Names of the classes 1..n.
        factors: Those of its case (`Cohort.factors`).
        nominal_spacing: Whether millimetres are undefined (`Cohort`).
    """
    rows = score_slice(
        true_mask=item.true_mask,
        predicted_mask=item.predicted_mask,
        structures=structures,
        labelled=item.labelled,
        spacing_mm=item.spacing_mm,
        true_boxes=item.true_boxes,
        mask_boxes=item.mask_boxes,
        network_boxes=item.network_boxes,
    )
    mechanism = score_mechanism(item.mechanism, true_mask=item.true_mask, labelled=item.labelled)
    who = {"case": item.case, "patient": item.patient, "level": item.level, "slice": item.slice}
    rows = [{**who, **row, **how, **(factors or {})} for row, how in zip(rows, mechanism, strict=True)]
    return without_millimetres(rows) if nominal_spacing else rows


def of_all_processes(found: Mapping[int, Any]) -> dict[int, Any]:
    """Joins what the processes of one run have each found, by slice: none is lost, none is counted twice.

    All processes have to call it.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return dict(found)
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, dict(found))
    return {index: value for part in parts for index, value in part.items()}


def write_cases(path: Path, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Writes and returns the case table."""
    cases = pd.DataFrame(rows, columns=list(CASE_COLUMNS))
    replace_text(path, cases.to_csv(index=False))
    return cases


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes nested, JSON-ready values; NaN is refused, None stands for what is undefined."""
    replace_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
