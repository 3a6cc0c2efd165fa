"""What `task=phantom` runs; apart from the other tasks, since it needs neither torch nor the seconds to import it."""

import contextlib
import logging
import time
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from datamodules.phantom import PhantomSettings, write_into

logger = logging.getLogger(__name__)


def write(config: DictConfig) -> None:
    """Writes the synthetic cohort of `phantom` into the folder `output`, with `seed` as the seed of its patients.

    Raises:
        ValueError: If no folder is given, it holds anything else, or a setting is impossible.
    """
    leave_no_run_folder()
    if given_output(config) is None:
        raise ValueError("task=phantom needs output=DIR, the folder to write the synthetic patients into")
    if "phantom" not in config:
        raise ValueError("task=phantom writes the synthetic cohort; leave the choice of another cohort out")
    settings = PhantomSettings.from_mapping({**config.phantom, "seed": config.seed})
    start = time.monotonic()
    try:
        folder = write_into(settings, Path(config.output), num_workers=config.cohort.num_workers)
    except OSError as error:
        raise ValueError(
            f"{config.output}: the synthetic patients cannot be written there ({error}); choose another "
            "folder (output=DIR)"
        ) from error
    logger.info(
        "%s: %d synthetic patients, %s %s, seed %d (%.0f s)",
        *(folder, settings.num_patients, settings.contrast, settings.view, settings.seed, time.monotonic() - start),
    )


def leave_no_run_folder() -> None:
    """Removes the folder that Hydra makes for every command, and the folder of all runs, where they are empty."""
    if HydraConfig.initialized():
        folder = Path(HydraConfig.get().runtime.output_dir)
        for path in (folder, folder.parent):
            with contextlib.suppress(OSError):
                path.rmdir()


def given_output(config: DictConfig) -> Path | None:
    """The `output` of the command line; None where it is the default, a run folder."""
    raw: Any = OmegaConf.to_container(config, resolve=False)
    return None if "${hydra:" in str(raw["output"]) else Path(str(config.output)).expanduser()
