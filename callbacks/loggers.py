"""Pictures for whatever logger a run has."""

from pathlib import Path

import lightning
import numpy as np
from lightning.pytorch.loggers import WandbLogger
from PIL import Image


def log_image(trainer: lightning.Trainer, name: str, path: Path) -> None:
    """Shows a picture file on the wandb dashboard; other loggers have no place for it."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            with Image.open(path) as picture:
                # wandb does not rescale floats: bytes, or the picture is black.
                logger.log_image(name, [np.asarray(picture.convert("RGB"), dtype=np.uint8)])
