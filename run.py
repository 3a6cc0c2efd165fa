"""The only entry point: `python run.py` composes conf/ and runs the chosen task. See README.md for what to type."""

import os
from functools import partial
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network for a newer release

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from lightning_modules.command_line import run_command
from lightning_modules.ending import listen
from lightning_modules.grid_cell import run_cell
from lightning_modules.run_folder import cell_name, row_name
from lightning_modules.settings import TASKS

CONF = Path(__file__).parent / "conf"
OmegaConf.register_new_resolver("cell", cell_name, replace=True)
OmegaConf.register_new_resolver("row", row_name, replace=True)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Runs `task`; what goes wrong ends the run, in a grid that cell alone."""
    find_task = partial(get_method, TASKS[config.task])
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        run_cell(find_task, config)
    else:
        find_task()(config)


if __name__ == "__main__":
    listen()
    run_command(main, CONF)
