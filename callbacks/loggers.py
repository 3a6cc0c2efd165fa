"""What a run shows on a wandb dashboard: one wandb run a run folder, however often it was interrupted."""

import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from records.folder import is_first_process
from records.registry import register
from records.whole_files import replace_text


class CellLogger(WandbLogger):
    """Logs to the wandb run of a run folder, which starts with the first thing logged and has its config from then on.

    The id of the wandb run is the cell's name and a random part that lies in the folder: whoever continues the folder
    continues the run, while the same cell in another folder, or trained anew, is another run and never merges with it.

    Args:
        cell: Name of the configuration without its machine.
        tags: Tags; "none" is left out.
        save_dir: The run folder; everything of wandb lies in its `wandb/`.
        options: Of `WandbLogger` and `wandb.init`.
    """

    def __init__(self, *, cell: str, tags: Sequence[str], save_dir: str, **options: Any) -> None:
        super().__init__(tags=[str(tag) for tag in tags if tag != "none"], save_dir=save_dir, **options)
        self.folder = Path(save_dir) / "wandb"
        if is_first_process():
            register(self.folder)
        self._cell = cell
        self._config: dict[str, Any] = {}

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The wandb run; asked for the first time, it starts."""
        import wandb  # half a second, which a run without a dashboard need not wait for

        if self._experiment is None and getattr(self, "_attach_id", None) is None:
            if wandb.run is not None:
                wandb.finish()  # of an earlier cell in this process, which it would go on with
            self._id = run_id(self.folder / "run_id", self._cell)
            self._wandb_init |= {"id": self._id, "config": self._config}
        return super().experiment

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Keeps the configuration for the start of the run: a process that logs nothing leaves no empty run."""
        if self._experiment is None:
            self._config |= params
        else:
            super().log_hyperparams(params)

    def set_aside_earlier_parts(self) -> None:
        """Moves what this folder's run wrote offline before it was interrupted, and nobody has sent, out of the way.

        Offline, wandb starts a new file with every process, and `wandb sync` appends one to the other. The earlier ones
        end somewhere around a checkpoint; the present one is to have every epoch, once.
        """
        current = Path(self.experiment.settings.sync_dir).resolve()
        for part in self.folder.glob(f"offline-run-*-{self._id}*"):
            sent = any(part.glob("*.wandb.sync*"))  # a mark that `wandb sync` leaves
            if part.resolve() != current and not sent:
                aside = self.folder / "superseded"
                aside.mkdir(exist_ok=True)
                part.rename(aside / part.name)


def run_id(path: Path, cell: str) -> str:
    """The id in the file `path`, which is made where there is none, or an empty one."""
    known = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    if path.exists() and not known:
        logging.getLogger(__name__).warning("%s is empty: what wandb has of this run so far stays apart.", path)
    if not known:
        known = f"{cell}-{secrets.token_hex(3)}"
        path.parent.mkdir(parents=True, exist_ok=True)  # wandb itself makes it later
        replace_text(path, known)
    return known


def wandb_loggers(trainer: lightning.Trainer) -> list[WandbLogger]:
    """The loggers that have a dashboard."""
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def log_image(trainer: lightning.Trainer, name: str, path: Path) -> None:
    """Shows a picture file on the wandb dashboard; other loggers have no place for it."""
    for logger in wandb_loggers(trainer):
        with Image.open(path) as picture:
            # wandb does not rescale floats: bytes, or the picture is black.
            logger.log_image(name, [np.asarray(picture.convert("RGB"), dtype=np.uint8)])
