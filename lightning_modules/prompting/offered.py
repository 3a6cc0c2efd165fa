"""What a promptable network is told of the slices of a batch."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.batch import SpineBatch
from datamodules.slices import SliceDataModule
from lightning_modules.prompting.found import FoundPrompts
from lightning_modules.prompting.pieces import boxes_of, points_of
from models.sam.network import ANNOTATED, PromptedSam, Prompts


def prompts_for(network: PromptedSam, data: SliceDataModule) -> Callable[[SpineBatch], Prompts]:
    """What says of every batch where its structures are, as the network's settings want it.

    Args:
        network: Its `prompt` is "box" or "point", its `prompts` "annotated" or a run folder.
        data: What is tested.

    Raises:
        ValueError: If the run has not found the structures of these test slices (`FoundPrompts`).
    """
    if network.prompts == ANNOTATED:
        return lambda batch: Prompts(annotated(batch, network.prompt, data.store.grid.spacing_mm), batch.mask)
    assert network.prompts is not None, "checked by tasks.untrained.check_ready"
    found = FoundPrompts(network.prompts, data, network.prompt)

    def prompts(batch: SpineBatch) -> Prompts:
        where = torch.stack([found(int(index)) for index in batch.index])
        return Prompts(where.to(batch.image), batch.mask)

    return prompts


def annotated(batch: SpineBatch, kind: str, spacing_mm: float) -> Float[Tensor, "b n _"]:
    """Boxes or points of the true masks on the network's grid; of a structure that nobody drew there is none."""
    num_structures = batch.labelled.shape[1] - 1
    masks = batch.mask.cpu().numpy()
    if kind == "box":
        return torch.stack([boxes_of(mask, num_structures) for mask in masks]).to(batch.image)
    size_mm = (spacing_mm, spacing_mm)
    return torch.stack([points_of(mask, num_structures, size_mm) for mask in masks]).to(batch.image)
