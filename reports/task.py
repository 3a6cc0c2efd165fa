"""What `task=report` runs, and the callback that reports at the end of a sweep."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from records.runs import load_runs
from records.whole_files import replace_text
from reports.chapters.contents import printed_tables
from reports.collect import gather, with_claims
from reports.evidence import AGREEMENT, STRUCTURES, Evidence
from reports.papers import load_published, varied_settings
from reports.readouts import files
from reports.render import text

logger = logging.getLogger(__name__)

REPORTED = ("train", "test", "score", "shape_model", "report")
FOLDER = "report"


def write(config: DictConfig) -> None:
    """Reads the runs in `runs` (a folder or several; the sweep's own without it) and writes their report.

    It goes into `report/` of the folder that holds them, or, of several, of the sweep's; `output=DIR` puts it
    elsewhere.
    Within a sweep this does nothing: the callback below reports once, at its end.

    Raises:
        ValueError: If there is nothing to report, the runs do not fit together, or a part of the report failed; the
            parts before it are on disk then.
    """
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return
    paths = run_paths(config)
    write_report(config, paths, report_folder(config, paths))


def write_report(config: DictConfig, paths: Sequence[Path], folder: Path) -> None:
    """Writes the report of the runs in `paths` into `folder`; each file appears whole or not at all.

    Raises:
        ValueError: As in `write`.
    """
    settings = config.report
    table = list(settings.table) if isinstance(settings.table, ListConfig) else settings.table
    varied = varied_settings(load_published(table)) if table else {}
    runs = load_runs(paths, varied)
    evidence = gather(runs, table=table, reference=settings.reference, margin=float(settings.margin))
    evidence = replace(evidence, overlay=_overlay(settings.overlay))
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(evidence, folder)
    failures, grids = [], []
    try:
        evidence = with_claims(evidence)
        replace_text(folder / "claims.csv", evidence["claims"].to_csv(index=False))
        grids = list(printed_tables(evidence))
        replace_text(folder / "table.md", text.markdown(evidence, grids))
    except Exception as error:  # the tables are written; a page without claims is worth having
        logger.debug("claims", exc_info=True)
        failures.append(f"the claims ({_describe(error)})")
    try:
        from reports.render.page import write_page

        write_page(evidence, folder)
    except Exception as error:
        logger.debug("page", exc_info=True)
        failures.append(f"the page ({_describe(error)})")
    text.print_tables(evidence, grids=grids)
    logger.info("The report is in %s.", folder)
    if failures:
        raise ValueError(f"{' and '.join(failures)} failed; the tables are in {folder}")


def write_tables(evidence: Evidence, folder: Path) -> None:
    """Writes the tables and the statistics; of those of read-outs, the ones that have a row, and no old one."""
    for name in ("statistics", "table"):
        replace_text(folder / f"{name}.csv", evidence[name].to_csv(index=False))
    grids = list(printed_tables(evidence))
    replace_text(folder / "table.md", text.markdown(evidence, grids))
    replace_text(folder / "table.tex", text.latex(evidence, grids))
    for name in files():
        table, path = evidence[name], folder / f"{name}.csv"
        if len(table):
            replace_text(path, table.to_csv(index=False))
        else:
            path.unlink(missing_ok=True)


def run_paths(config: DictConfig) -> list[Path]:
    """Where the runs are: `runs`, a text or a list of them, else the folder of the sweep."""
    given = config.runs
    if given is None:
        return [sweep_folder(config)]
    return [Path(str(path)) for path in (given if isinstance(given, ListConfig) else [given])]


def sweep_folder(config: DictConfig) -> Path:
    """hydra.sweep.dir.

    Raises:
        ValueError: If neither the configuration nor Hydra knows it.
    """
    node: Any = config.get("hydra") or (HydraConfig.get() if HydraConfig.initialized() else None)
    if node is None:
        raise ValueError("runs is not given and this is no sweep; name the run folders with runs=DIR")
    if OmegaConf.is_interpolation(node.sweep, "dir") and not HydraConfig.initialized():
        HydraConfig.instance().set_config(config)  # after a sweep Hydra has none, and its resolver asks it
    return Path(str(node.sweep.dir))


def report_folder(config: DictConfig, paths: Sequence[Path]) -> Path:
    """Where the report goes: `output` if it was given, else beside the runs."""
    if HydraConfig.initialized() and str(config.output) != HydraConfig.get().runtime.output_dir:
        return Path(str(config.output))
    return (paths[0] if len(paths) == 1 else sweep_folder(config)) / FOLDER


class ReportAtEnd(Callback):
    """Writes the report once the last cell of a sweep is done; runs in the process that started it.

    A report that fails after a training is one line in the log: the cells are there, and `task=report` makes it again.
    """

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Reports what there is, finished or not.

        Raises:
            ValueError: As in `write`, if the report is all that was asked for.
        """
        if config.task not in REPORTED:
            return
        try:
            folder = sweep_folder(config)
            paths = [folder] if config.runs is None else run_paths(config)
            job: Any = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            write_report(job, paths, folder / FOLDER)
        except Exception as error:
            if config.task == "report":
                raise
            logger.debug("report", exc_info=True)
            logger.error(
                "The report was not made: %s. The runs are kept; task=report makes it again.", _describe(error)
            )


def _overlay(asked: str | None) -> str:
    if asked not in (None, STRUCTURES, AGREEMENT):
        raise ValueError(f"report.overlay is {asked!r}; expected {STRUCTURES}, {AGREEMENT} or null")
    return asked or ""


def _describe(error: Exception) -> str:
    said = str(error).strip().rstrip(".")
    return said if isinstance(error, ValueError) and said else f"{type(error).__name__}: {said}".rstrip(": ")
