"""The only entry point: `python run.py` composes conf/ and runs the chosen task. See README.md for what to type."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network for a newer release

import hydra
from hydra.errors import InstantiationException
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from lightning_modules.run_folder import cell_name

# Found when they are run: training imports torch, seconds that --help, --cfg and task=phantom need not wait for.
TASKS = {
    "train": "lightning_modules.tasks.train",
    "test": "lightning_modules.tasks.test",
    "score": "lightning_modules.scoring.score",
    "phantom": "lightning_modules.phantom_task.write",
}
OmegaConf.register_new_resolver("cell", cell_name, replace=True)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Runs `task`; a mistake of the user ends in one clean line and exit code 1."""
    if config.task not in TASKS:
        raise SystemExit(f"paraspine: task is {config.task!r}, expected one of {', '.join(TASKS)}")
    try:
        get_method(TASKS[config.task])(config)
    except ValueError as error:
        raise SystemExit(f"paraspine: {error}") from None
    except InstantiationException as error:
        cause: BaseException | None = error
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if isinstance(cause, ValueError):  # raised by a constructor about what it was given
            raise SystemExit(f"paraspine: {cause}") from None
        raise


if __name__ == "__main__":
    main()
