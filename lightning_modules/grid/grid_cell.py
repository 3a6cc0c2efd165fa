"""One cell of a grid: whatever goes wrong in it is written down, and the others go on."""

import gc
import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from hydra.errors import InstantiationException
from omegaconf import DictConfig

from records.folder import ERROR, InUseError

logger = logging.getLogger(__name__)

on_begin: list[Callable[[Path], None]] = []  # told which cell this process begins, by whoever waits for the process


def run_cell(find_task: Callable[[], Callable[[DictConfig], None]], config: DictConfig) -> None:
    """Runs a task in a cell's folder and catches what it raises; Ctrl-C and other signals end the grid.

    The error goes to error.txt in the folder: one line, then the traceback. A cell that another process is at work on
    is left to it.

    Args:
        find_task: Imports and returns the task; what is wrong with the import is the cell's failure, too.
        config: The configuration of the cell.
    """
    folder = Path(config.output)
    for tell in on_begin:
        tell(folder)
    succeeded = False
    try:
        (folder / ERROR).unlink(missing_ok=True)  # of an earlier attempt
        find_task()(config)
        succeeded = True
    except InUseError as error:
        logger.info("%s", error)
    except Exception as error:
        write_failure(folder, one_line(error), "".join(traceback.format_exception(error)))
    finally:
        let_go(succeeded)


def write_failure(folder: Path | None, line: str, details: str = "") -> None:
    """Keeps why a cell failed in error.txt, and says it; a full disk or a lost folder does not stop the other cells.

    Args:
        folder: Of the cell; None where it is not known.
        line: What happened.
        details: A traceback.
    """
    kept = "" if folder is None else f" ({folder / ERROR})"
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ERROR).write_text(f"{line}\n\n{details}", encoding="utf-8")
        except OSError as error:
            kept = f" (not kept: {error})"
    logger.error("paraspine: %s failed: %s%s", "a cell" if folder is None else folder.name, line, kept)


def cause_of(error: BaseException) -> BaseException:
    """What a constructor raised about what it was given, without what Hydra wraps around it."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def one_line(error: BaseException) -> str:
    """Kind and message of an error, in one line."""
    cause = cause_of(error)
    return " ".join(f"{type(cause).__name__}: {cause}".split())


def let_go(succeeded: bool) -> None:
    """Ends the cell's wandb run, which the next cell would continue, and frees its memory."""
    wandb, torch = sys.modules.get("wandb"), sys.modules.get("torch")
    if wandb is not None:
        wandb.finish(exit_code=0 if succeeded else 1)
    gc.collect()
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
