"""Grids started inside the test process, where imports are paid for once, and what they leave."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import ClassVar

import pandas as pd
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

import run
from lightning_modules.grid.grid_plan import Cell, plan
from lightning_modules.tasks.command_line import run_command
from tests.conftest import ROOT, TINY_PHANTOM, UNDRAWN

SMOKE = (
    *(*TINY_PHANTOM, "trainer=smoke", "logger=csv", "scale.epochs=2", "callbacks.prediction_writer.enabled=false"),
    *("hydra.callbacks.grid.report=null", *UNDRAWN),
)


class Reporter:
    """Takes the place of the report at the end of a grid, and remembers what it finds."""

    found: ClassVar[list[str]] = []

    def on_multirun_end(self, config) -> None:
        self.found.extend(listed(Path(config.hydra.sweep.dir))["status"].tolist())
        raise RuntimeError("no report")


def places(folder: Path, generated: Path) -> tuple[str, ...]:
    """Words of a command line that keep a grid and its data in a test's folders."""
    return (f"hydra.sweep.dir={folder}", f"paths.data={generated}", f"paths.cache={generated}/cache")


def start(*words: str) -> int:
    """Does what `python run.py WORDS` does and returns the exit code; a message goes to stderr."""
    before, hydra = sys.argv, HydraConfig.instance().cfg
    sys.argv = ["run.py", "--config-path", str(ROOT / "conf"), *words]
    try:
        with untouched_logging():
            run_command(run.main, run.CONF)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return int(end.code or 0)
    finally:
        sys.argv, HydraConfig.instance().cfg = before, hydra
    return 0


@cache
def planned(*words: str) -> tuple[Cell, ...]:
    """Cells of a command line."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config("config", list(words), RunMode.MULTIRUN, validate_sweep_overrides=False)
        return tuple(plan(config, hydra.config_loader))


def listed(folder: Path, sweep: str = "bs_esnet_table1") -> pd.DataFrame:
    """The grid's own list."""
    return pd.read_csv(folder / f"grid_{sweep}.csv", keep_default_na=False)


@contextmanager
def untouched_logging() -> Iterator[None]:
    """Hydra sets up logging for a whole process; the tests after this one have their own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
