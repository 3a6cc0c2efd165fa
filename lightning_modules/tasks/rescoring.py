"""`task=rescore`: tables of finished runs computed again from predictions/, without their network."""

import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig

from lightning_modules.evaluation.prediction_files import arrays_held, read_slices
from lightning_modules.evaluation.readouts import Readout
from lightning_modules.evaluation.rows import slice_rows
from lightning_modules.tasks.phantom_task import leave_no_run_folder
from lightning_modules.tasks.stored_run import StoredRun
from metrics.aggregate import summarise
from metrics.cases import FACTOR_COLUMNS, MECHANISM_COLUMNS
from records.folder import RunFolder
from records.predictions import INDEX
from records.registry import register
from records.run_files import write_cases
from records.whole_files import read_json, replace_text, write_json

logger = logging.getLogger(__name__)

# What predictions/ does not tell: maps are kept in bytes there, and factors are the cohort's.
KEPT = (*MECHANISM_COLUMNS, *FACTOR_COLUMNS)
Kept = Mapping[tuple[str, str, str], Mapping[str, str | float]]
# What names a row in any of the tables, together.
KEYS = ("case", "slice", "structure", "side", "source", "region", "truth", "prediction")


def rescore(config: DictConfig) -> None:
    """Computes the tables and the test part of summary.json of every run in `runs` again.

    For columns and scores that came after a run. Where nothing changed the files are the same to the byte. KEPT columns
    and those that this version does not know stay as they are. So do tables of which predictions/ does not hold
    enough; a line says which and why. What muscles look like is read from the files of the cohort, if they are those
    of the run.

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
    folders = sorted({index.parent.parent for path in paths for index in path.rglob(INDEX)})
    if not folders:
        raise ValueError(f"task=rescore: no run in {', '.join(map(str, paths))} has predictions/ to compute from")
    failures = []
    for path in folders:
        try:
            with RunFolder(path).locked():
                changed, left = rescore_folder(path)
        except ValueError as error:
            failures.append(f"{path}: {error}")
            continue
        said = f"changed: {', '.join(changed)}" if changed else "the same to the byte"
        logger.info("%s: %s%s", path, said, "".join(f"; {name} stays: {why}" for name, why in left.items()))
    if failures:
        raise ValueError(f"{len(failures)} of {len(folders)} runs could not be computed again:\n" + "\n".join(failures))


def rescore_folder(path: Path) -> tuple[list[str], dict[str, str]]:
    """Writes the tables of one run again.

    Returns:
        Files whose content changed, and those that stay as they are, with the reason.

    Raises:
        ValueError: If a file of the run is damaged.
    """
    run = StoredRun(path)
    summary = read_json(path / "summary.json", "test the run again, by its own command")
    tables, left = run.readouts(arrays_held(path))
    names = ["cases.csv", *(table.file for table in tables), "summary.json"]
    register(*(path / name for name in names))
    before = {name: _text(path / name) for name in names}
    cases = _scored_again(run, tables)
    for name in names[:-1]:
        _keep_other_columns(path / name, before[name])
    write_json(path / "summary.json", {**summary, "test": summarise(cases)})
    return [name for name in names if _text(path / name) != before[name]], left


def _scored_again(run: StoredRun, tables: Sequence[Readout]) -> pd.DataFrame:
    """Writes cases.csv and the tables beside it; returns the former."""
    kept = _kept(run.path / "cases.csv")
    structures, annotated = run.anatomy.structures, {key[:2] for key in kept}
    rows, gathered = [], {table.file: [] for table in tables}
    for item in read_slices(run.path, len(structures), annotated):
        if item.has_mask:
            scored = slice_rows(item, structures, nominal_spacing=run.nominal_spacing)
            rows += [{**row, **kept.get((item.case, str(item.slice), str(row["structure"])), {})} for row in scored]
        for table in tables:
            gathered[table.file] += table.of_slice(item, run)
    for table in tables:
        table.write(run.path, gathered[table.file])
    return write_cases(run.path / "cases.csv", rows)


def _kept(path: Path) -> Kept:
    """What stays as it is, by case, slice and structure: maps' shares as numbers, factors as the texts they are."""
    if not _text(path):
        logger.warning("%s is missing or empty: its columns %s stay blank.", path, ", ".join(KEPT))
        return {}
    kept = {}
    for row in _table(_text(path)).to_dict("records"):
        shares = {name: float(row[name] or "nan") for name in MECHANISM_COLUMNS if name in row}
        key = (row["case"], row["slice"], row["structure"])
        kept[key] = {**shares, **{name: row[name] for name in FACTOR_COLUMNS if name in row}}
    return kept


def _keep_other_columns(path: Path, text: str) -> None:
    """Gives a table that was written anew the columns that only `text`, what it was before, has."""
    if not text or not path.exists():
        return
    before, after = _table(text), _table(_text(path))
    others = [name for name in before.columns if name not in after.columns]
    keys = [name for name in KEYS if name in before.columns and name in after.columns]
    if others and not before.duplicated(keys).any():
        joined = after.merge(before[[*keys, *others]], how="left", on=keys).fillna("")
        replace_text(path, joined.to_csv(index=False))


def _table(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
