"""`task=rescore`: tables of finished runs computed again from predictions/, without their data and their network."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from datamodules.batch import boxes_of_masks
from lightning_modules.evaluation import EvaluatedSlice
from lightning_modules.phantom_task import leave_no_run_folder
from lightning_modules.readouts import CONFUSION, place_of
from lightning_modules.records import slice_rows, write_cases, write_json
from lightning_modules.run_folder import RunFolder
from lightning_modules.written import read_json
from metrics.aggregate import summarise
from metrics.cases import FACTOR_COLUMNS, MECHANISM_COLUMNS
from metrics.levels import count_confusion

logger = logging.getLogger(__name__)

# What predictions/ does not tell: maps are kept in bytes there, and factors are the cohort's.
KEPT = (*MECHANISM_COLUMNS, *FACTOR_COLUMNS)
Kept = Mapping[tuple[str, str, str], Mapping[str, str | float]]


def rescore(config: DictConfig) -> None:
    """Computes cases.csv, confusion.csv and the test part of summary.json of every run in `runs` again.

    For columns and scores that came after a run. Where nothing changed the files are the same to the byte. KEPT columns
    stay as they are, and so do the other tables, which need the data: task=test makes them.

    Raises:
        ValueError: If no run is given or found, or, when all others are done, one could not be computed.
    """
    leave_no_run_folder()
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ValueError("task=rescore is no part of a sweep: run it on its own, with runs=DIR, the sweep's folder")
    if not config.runs:
        raise ValueError("task=rescore needs runs=DIR, a run folder or a folder of run folders")
    given = config.runs if isinstance(config.runs, ListConfig) else [config.runs]
    paths = [Path(str(path)).expanduser() for path in given]
    folders = sorted({index.parent.parent for path in paths for index in path.rglob("predictions/index.csv")})
    if not folders:
        raise ValueError(f"task=rescore: no run in {', '.join(map(str, paths))} has predictions/ to compute from")
    failures = []
    for path in folders:
        try:
            with RunFolder(path).locked():
                before, after = rescore_folder(path)
        except ValueError as error:
            failures.append(f"{path}: {error}")
            continue
        same = "the same to the byte" if before == after else "changed"
        logger.info("%s: %s", path, same)
    if failures:
        raise ValueError(f"{len(failures)} of {len(folders)} runs could not be computed again:\n" + "\n".join(failures))


def rescore_folder(path: Path) -> tuple[list[bytes], list[bytes]]:
    """Writes the tables of one run again; returns their content before and after.

    Raises:
        ValueError: If a file of the run is damaged.
    """
    config: Any = OmegaConf.load(path / "config.yaml")
    structures = [str(name) for name in config.anatomy.structures]
    nominal = bool(OmegaConf.select(config, "cohort.nominal_spacing"))
    summary = read_json(path / "summary.json", "test the run again, by its own command")
    files = [path / name for name in ("cases.csv", "confusion.csv", "summary.json")]
    before = [file.read_bytes() if file.exists() else b"" for file in files]
    kept, rows, confused = _kept(path / "cases.csv"), [], []
    for item in read_slices(path, structures, kept):
        scored = slice_rows(item, structures, nominal_spacing=nominal)
        rows += [{**row, **kept.get((item.case, str(item.slice), str(row["structure"])), {})} for row in scored]
        pairs = count_confusion(item.true_mask, item.predicted_mask, structures, item.labelled)
        confused += [{**place_of(item), **row} for row in pairs]
    cases = write_cases(files[0], rows)
    CONFUSION.write(path, confused)
    write_json(files[2], {**summary, "test": summarise(cases)})
    return before, [file.read_bytes() if file.exists() else b"" for file in files]


def read_slices(path: Path, structures: list[str], kept: Kept) -> Iterator[EvaluatedSlice]:
    """The annotated slices in predictions/ of a run, in its order.

    Raises:
        ValueError: If a file is missing or cut off.
    """
    index = pd.read_csv(path / "predictions" / "index.csv", dtype=str, keep_default_na=False)
    for number, row in enumerate(index.to_dict("records")):
        file = path / "predictions" / row["file"]
        try:
            with np.load(file, allow_pickle=False) as content:
                arrays = dict(content)
        except Exception as error:  # whatever a cut-off archive gives
            raise ValueError(f"{file} cannot be read ({type(error).__name__}): test the run again") from None
        annotated = any((row["case"], row["slice"], name) in kept for name in structures)
        if bool(arrays.get("has_mask", annotated)):
            yield _slice(number, row, arrays, len(structures))


def _slice(
    number: int, row: Mapping[Any, str], arrays: Mapping[str, np.ndarray], num_structures: int
) -> EvaluatedSlice:
    true_mask, predicted = (arrays[name].astype(np.int64) for name in ("true_mask", "predicted_mask"))
    true_boxes, mask_boxes = (
        boxes_of_masks(torch.from_numpy(mask)[None], num_structures)[0].numpy() for mask in (true_mask, predicted)
    )
    # Earlier versions kept single precision: the shortest number that it stands for is what the file said.
    row_mm, column_mm = (float(str(value)) for value in arrays["spacing_mm"])
    return EvaluatedSlice(
        **{"index": number, "case": row["case"], "patient": row["patient"], "level": row["level"]},
        slice=int(row["slice"]),
        image=arrays["image"][None].astype(np.float32),
        true_mask=true_mask,
        predicted_mask=predicted,
        labelled=arrays["labelled"],
        true_boxes=true_boxes,
        mask_boxes=mask_boxes,
        network_boxes=arrays["network_boxes"] if len(arrays["network_boxes"]) else None,
        saliency=None,
        spacing_mm=(row_mm, column_mm),
    )


def _kept(path: Path) -> Kept:
    """What stays as it is, by case, slice and structure: maps' shares as numbers, factors as the texts they are."""
    if not path.exists() or not path.stat().st_size:
        logger.warning("%s is missing or empty: its columns %s stay blank.", path, ", ".join(KEPT))
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    kept = {}
    for row in table.to_dict("records"):
        shares = {name: float(row[name] or "nan") for name in MECHANISM_COLUMNS if name in row}
        key = (row["case"], row["slice"], row["structure"])
        kept[key] = {**shares, **{name: row[name] for name in FACTOR_COLUMNS if name in row}}
    return kept
