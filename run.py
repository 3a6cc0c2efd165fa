"""The only entry point: `python run.py` composes conf/ and runs the chosen task. See README.md for what to type."""

import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path

OURS = ("benchmarks", "callbacks", "datamodules", "lightning_modules", "metrics", "models", "pictures")
OURS += ("records", "reports")
for name in OURS:  # common words, which another installed package or the folder of a start elsewhere may have as well
    found = find_spec(name)
    if found is None or Path(found.origin or "").resolve() != Path(__file__).resolve().parent / name / "__init__.py":
        where = "nowhere" if found is None else found.origin or next(iter(found.submodule_search_locations or ()), "?")
        raise SystemExit(
            f"paraspine: the package {name} is found at {where}, not beside {Path(__file__).resolve()}: uninstall the "
            f"other one, take its folder out of PYTHONPATH, or start as python {Path(__file__).resolve()}"
        )

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network for a newer release

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from lightning_modules.grid.grid_cell import run_cell
from lightning_modules.tasks.command_line import PastHydra, run_command, trace_as_asked
from lightning_modules.tasks.ending import listen
from lightning_modules.tasks.settings import TASKS
from records.identity import cell_name, row_name, run_name

CONF = Path(__file__).parent / "conf"
OmegaConf.register_new_resolver("cell", cell_name, replace=True)
OmegaConf.register_new_resolver("row", row_name, replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Runs `task`; what goes wrong ends the run, in a grid that cell alone."""
    find_task = partial(get_method, TASKS[config.task])
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        run_cell(find_task, config)
        return
    try:
        with trace_as_asked():
            find_task()(config)
    except Exception as error:
        raise PastHydra from error


if __name__ == "__main__":
    listen()
    run_command(main, CONF)
