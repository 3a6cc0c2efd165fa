"""Writes a store: prepares every case, in several processes, and appends it to arrays that lie on disk."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from datamodules.cohort import Cohort
from datamodules.reading.case_list import Case
from datamodules.reading.geometry import SliceGrid
from datamodules.reading.keypoint_checks import check_sizes
from datamodules.store.preparation import ARRAYS, MAP_ARRAYS, GrowingArray, PreparedCase, prepare_case
from datamodules.store.worker_end import end_with_parent
from records.whole_files import naming

log = logging.getLogger(__name__)
WORTH_PROCESSES_S = 5.0  # ours: less is done here before others have imported what they need


def write_store(
    cohorts: Sequence[Cohort], grid: SliceGrid, folder: Path, *, info: Mapping[str, str | int], num_workers: int
) -> None:
    """Fills a folder with the arrays, the table and, last, info.json.

    Args:
        cohorts: The one with the masks, and maybe one that gives key points alone.
        grid: Grid of the network.
        folder: Exists and is empty.
        info: What info.json says beside what is found here.
        num_workers: Processes that read and resample; 0 or 1 for this process alone.

    Raises:
        ValueError: If a case cannot be trusted, two patients have the same image, or key points are in millimetres.
    """
    main = cohorts[0]
    maps = main.tissue_maps
    tables, offset = [], 0
    owner: dict[str, Case] = {}
    with ExitStack() as stack:
        names = (*ARRAYS, *(MAP_ARRAYS if maps else ()))
        arrays = {name: stack.enter_context(GrowingArray(folder / f"{name}.npy")) for name in names}
        for cohort, case, prepared in _prepare_all(cohorts, grid, num_workers):
            _refuse_same_image(cohort, owner, case, prepared.digests)
            for name, array in arrays.items():
                array.append(getattr(prepared, name))
            if len(prepared.table):
                tables.append(prepared.table.assign(native_offset=prepared.table["native_offset"] + offset))
                offset += len(prepared.native_mask)
    if not tables:
        raise ValueError(f"cohort {main.name}: no slice is left with slices={main.reader.slices!r}; choose 'all'")
    table = pd.concat(tables, ignore_index=True)
    check_sizes(table, np.load(folder / "keypoints.npy"), grid.spacing_mm, main.anatomy.keypoints)
    with naming(folder / "table.csv"):
        table.to_csv(folder / "table.csv", index=False)
    described: dict[str, Any] = {
        **info,
        "cohorts": [cohort.name for cohort in cohorts],
        "anatomy": main.anatomy.name,
        "structures": list(main.anatomy.structures),
        "keypoints": list(main.anatomy.keypoints),
        "grid": asdict(grid),
        "slices": main.reader.slices,
        "num_cases": sum(len(cohort.cases) for cohort in cohorts),
        "num_slices": len(table),
        **({"tissues": list(maps.names)} if maps else {}),
    }
    with naming(folder / "info.json"):
        (folder / "info.json").write_text(json.dumps(described, indent=2) + "\n")
    names = " and ".join(described["cohorts"])
    log.info("%s: %d slices of %d cases prepared", names, len(table), described["num_cases"])


def _refuse_same_image(cohort: Cohort, owner: dict[str, Case], case: Case, digests: tuple[str, ...]) -> None:
    for digest in digests:
        other = owner.setdefault(digest, case)
        if other.patient != case.patient:
            remedy = f"If they are one person, add [{other.patient}, {case.patient}] to same_patient; else"
            if other not in cohort.cases:
                remedy = "If they are one person, take the case out of this cohort; else"
            raise ValueError(
                f"cohort {cohort.name}: case {case.case!r} of patient {case.patient!r} and case {other.case!r} of "
                f"patient {other.patient!r} have the same image, {case.images[0]} and {other.images[0]}; across folds "
                f"this would leak. {remedy} replace the wrong file"
            )


def _prepare_all(
    cohorts: Sequence[Cohort], grid: SliceGrid, num_workers: int
) -> Iterator[tuple[Cohort, Case, PreparedCase]]:
    """Prepares the cases in order, in this process or in several; all but the first cohort are weak."""
    for cohort in cohorts:
        domain = "" if cohort is cohorts[0] else cohort.name
        prepare = partial(prepare_case, cohort.reader, grid, domain, maps=cohort.tissue_maps)
        progress = partial(tqdm, total=len(cohort.cases), desc=f"preparing {cohort.name}", unit="case", leave=False)
        for case, prepared in zip(cohort.cases, progress(_map(prepare, cohort.cases, num_workers)), strict=True):
            yield cohort, case, prepared


def _map(prepare: Callable[[Case], PreparedCase], cases: Sequence[Case], num_workers: int) -> Iterator[PreparedCase]:
    """In this process, unless the first case says that the others would take longer than processes to start."""
    begun = time.perf_counter()
    first, others = [prepare(case) for case in cases[:1]], cases[1:]
    seconds = (time.perf_counter() - begun) * len(others)
    yield from first
    if num_workers <= 1 or not others or seconds < WORTH_PROCESSES_S:
        yield from map(prepare, others)
        return
    # spawn: a fork of a process that runs threads (torch, loggers) may hang.
    context, size = get_context("spawn"), min(num_workers, len(others))
    with ProcessPoolExecutor(size, mp_context=context, initializer=end_with_parent) as pool:
        try:
            yield from pool.map(prepare, others)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
