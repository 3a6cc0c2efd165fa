"""Checkpoints read from disk: whole, or named as damaged with the remedy."""

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)


def read_checkpoint(path: str | Path, remedy: str) -> dict[str, Any]:
    """Everything in a checkpoint, on the CPU.

    Args:
        path: The file.
        remedy: What to do if it is damaged.

    Raises:
        ValueError: If it is missing, cut off or no checkpoint; with the remedy.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: {remedy}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        raise ValueError(f"{path} is cut off or no checkpoint: {remedy}") from None
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{path} holds no checkpoint: {remedy}")
    return content


def latest_whole(paths: Sequence[Path]) -> tuple[Path, dict[str, Any]] | None:
    """The first of some checkpoints that is whole, and its content; None where there are none.

    Args:
        paths: The latest first; one that is damaged is named in the log.

    Raises:
        ValueError: If all are damaged.
    """
    for path in paths:
        try:
            return path, read_checkpoint(path, "start anew (retrain=true)")
        except ValueError as error:
            if path == paths[-1]:
                raise
            logger.warning("%s is cut off; the one before it, %s, takes its place.", path, paths[-1].name)
            logger.debug("%s", error)
    return None
