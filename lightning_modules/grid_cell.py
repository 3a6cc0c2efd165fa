"""One cell of a grid: whatever goes wrong in it is written down, and the others go on."""

import gc
import logging
import multiprocessing
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from hydra.errors import InstantiationException
from omegaconf import DictConfig

from lightning_modules.run_folder import ERROR, InUseError

logger = logging.getLogger(__name__)


def run_cell(find_task: Callable[[], Callable[[DictConfig], None]], config: DictConfig) -> None:
    """Runs a task in a cell's folder and catches what it raises; Ctrl-C ends the grid.

    The error goes to error.txt in the folder: one line, then the traceback. A cell that another process is at work on
    is left to it.

    Args:
        find_task: Imports and returns the task; what is wrong with the import is the cell's failure, too.
        config: The configuration of the cell.
    """
    let_processes_start()
    failure = Path(config.output) / ERROR
    succeeded = False
    failure.unlink(missing_ok=True)  # of an earlier attempt
    try:
        find_task()(config)
        succeeded = True
    except InUseError as error:
        logger.info("%s", error)
    except Exception as error:
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(f"{one_line(error)}\n\n{''.join(traceback.format_exception(error))}", encoding="utf-8")
        logger.error("paraspine: %s failed: %s (%s)", failure.parent.name, one_line(error), failure)
    finally:
        let_go(succeeded)


def let_processes_start() -> None:
    """Joblib's own way to start processes is unknown to the processes that the cell itself starts (store, loaders)."""
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        multiprocessing.set_start_method("spawn", force=True)


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
