"""Checks of ranges and draws from them; what is drawn is stacked to tensors of a batch."""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

Number = float | int  # YAML has whole numbers
Range = Sequence[Number]  # smallest and largest


def check_range(name: str, value: Range, low: Number, high: Number) -> None:
    """Refuses what is no pair [smallest, largest] within low..high.

    Raises:
        ValueError: Naming the setting.
    """
    if len(value) != 2 or not low <= value[0] <= value[1] <= high:
        raise ValueError(
            f"augmentation: synthesis.{name} is {list(value)}, expected [smallest, largest] within {low:g} and {high:g}"
        )


def check_number(name: str, value: Number, low: Number, high: Number) -> None:
    """Refuses a number outside of low..high.

    Raises:
        ValueError: Naming the setting.
    """
    if not low <= value <= high:
        raise ValueError(f"augmentation: synthesis.{name} is {value}, expected {low:g} to {high:g}")


def uniform(rng: Generator, span: Range, size: Any = None) -> Any:
    """Uniform within [smallest, largest]."""
    return rng.uniform(span[0], span[1], size)


def log_uniform(rng: Generator, span: Range) -> float:
    """Uniform in its logarithm; both ends above 0."""
    return exp(rng.uniform(log(span[0]), log(span[1])))


def stacked(draws: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, Tensor]:
    """What was drawn for each slice as tensors of a batch, float32."""
    joined = {name: np.stack([np.asarray(draw[name], np.float32) for draw in draws]) for name in draws[0]}
    return {name: torch.from_numpy(values).to(device) for name, values in joined.items()}
