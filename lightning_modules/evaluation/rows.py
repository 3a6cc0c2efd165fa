"""Tested slices as rows of cases.csv, and what several processes found joined."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import distributed

from lightning_modules.evaluation.evaluated import EvaluatedSlice
from metrics.cases import score_slice, without_millimetres
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
