"""Checkpoints and files of weights read from disk: whole, or named as damaged with the remedy."""

import json
import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from records.starters import WEIGHTS

logger = logging.getLogger(__name__)

METADATA = "paraspine"  # the one name in a file of weights: several would be in another order every time


def read_checkpoint(path: str | Path, remedy: str) -> dict[str, Any]:
    """Everything in a checkpoint, or in a file of weights, on the CPU.

    A file of weights holds, beside what a checkpoint does, the "config" of its training.

    Args:
        path: The file.
        remedy: What to do if it is damaged.

    Raises:
        ValueError: If it is missing, cut off or no checkpoint; with the remedy.
    """
    if Path(path).suffix == WEIGHTS:
        return _read_weights(Path(path), remedy)
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


def _read_weights(path: Path, remedy: str) -> dict[str, Any]:
    """Weights in half precision come back in single precision."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dictionary
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: {remedy}") from None
    except SafetensorError:
        raise ValueError(f"{path} is cut off or holds no weights: {remedy}") from None
    if METADATA not in metadata:
        raise ValueError(f"{path} was not written by this project: it does not say how to use its weights")
    return {
        **json.loads(metadata[METADATA]),
        "state_dict": {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()},
    }
