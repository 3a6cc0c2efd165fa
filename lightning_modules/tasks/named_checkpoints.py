"""The files that `checkpoint=` on a command line names."""

from glob import glob
from pathlib import Path
from typing import Any

from omegaconf import ListConfig

from datamodules.anatomy import View
from records.starters import STARTER, named_weights, starter_of


def checkpoint_files(given: Any, needed: str) -> list[Path]:
    """The checkpoints or files of weights that are named: one, a list, several between commas, or a pattern with `*`.

    Args:
        given: The setting.
        needed: What is said where it is empty.

    Raises:
        ValueError: If there is none, one does not exist, or one is named twice.
    """
    listed = list(given) if isinstance(given, (list, tuple, ListConfig)) else str(given or "").split(",")
    names = [str(name).strip() for name in listed if str(name).strip()]
    found = [Path(path) for name in names for path in (sorted(glob(name)) or [name])]  # noqa: PTH207  Path.glob refuses absolute ones
    if not found:
        raise ValueError(needed)
    for path in found:
        if not path.is_file():
            raise ValueError(f"checkpoint={path}: there is no such file; a run keeps it as RUN/checkpoints/best.ckpt")
    if len({path.resolve() for path in found}) < len(found):
        raise ValueError(f"checkpoint names one file twice: {', '.join(map(str, found))}; it would count double")
    return found


def one_checkpoint(given: Any, view: View, setting: str) -> Path:
    """The one file that a setting names; `starter` is that of the view.

    Args:
        given: The setting's value.
        view: Of the slices.
        setting: Its name, for messages.

    Raises:
        ValueError: If it names none, or several, or one that does not exist.
    """
    if given == STARTER:
        return starter_of(view)
    path = named_weights(given or "", view)
    if not given or not path.is_file():
        raise ValueError(f"{setting} needs an existing checkpoint, file of weights, or {STARTER}; given: {given}")
    return path
