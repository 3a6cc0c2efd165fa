"""The only entry point: `python run.py` composes conf/ and runs the chosen task. See README.md for what to type."""

import os
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

OURS = ("benchmarks", "callbacks", "datamodules", "lightning_modules", "metrics", "models", "reports")
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

from lightning_modules.grid_cell import cause_of, run_cell
from lightning_modules.grid_line import check_sweep_line
from lightning_modules.identity import cell_name, row_name, run_name

# Found when they are run: training imports torch, seconds that --help, --cfg and task=phantom need not wait for.
TASKS = {
    "train": "lightning_modules.tasks.train",
    "test": "lightning_modules.tasks.test",
    "predict": "lightning_modules.prediction.task.predict",
    "score": "lightning_modules.scoring.score",
    "fuse": "lightning_modules.label_fusion.fuse",
    "phantom": "lightning_modules.phantom_task.write",
    "report": "reports.task.write",
    "rescore": "lightning_modules.rescoring.rescore",
}
OmegaConf.register_new_resolver("cell", cell_name, replace=True)
OmegaConf.register_new_resolver("row", row_name, replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Runs `task`; a mistake of the user ends in one clean line and exit code 1, in a grid it ends that cell alone."""
    if config.task not in TASKS:
        raise SystemExit(f"paraspine: task is {config.task!r}, expected one of {', '.join((*TASKS, 'status'))}")
    find_task = partial(get_method, TASKS[config.task])
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        run_cell(find_task, config)
        return
    try:
        find_task()(config)
    except Exception as error:
        if isinstance(cause_of(error), ValueError):  # raised by a constructor about what it was given, or by a task
            raise SystemExit(f"paraspine: {cause_of(error)}") from None
        raise


if __name__ == "__main__":
    check_sweep_line(sys.argv[1:], Path(__file__).parent / "conf")
    main()
