"""Which experiments train a network, and networks built without memory, to count and to ask."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

FOLDER = Path(__file__).parents[2] / "conf" / "experiment"


def network_experiments() -> list[str]:
    """Names of those that train a network: the others say which task is theirs."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if "task" not in OmegaConf.load(path))


@contextmanager
def on_meta() -> Iterator[None]:
    """Parameters have shapes and no values, but for tensors out of which MONAI's SwinUNETR and timm read numbers."""
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
        yield
