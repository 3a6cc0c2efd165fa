"""The networks behind a prediction: one checkpoint, or several that make an ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from omegaconf import DictConfig
from torch import Tensor, nn

from datamodules.anatomy import Anatomy
from datamodules.reading.geometry import SliceGrid
from datamodules.store.seen_images import SeenImages
from lightning_modules.evaluation.both_sides import both_sides
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.prior import without_class_weights
from lightning_modules.tasks.trained_network import read_trained
from records.identity import differences
from records.starters import WEIGHTS

BATCH = 8  # slices that go through a network together


@dataclass(frozen=True, kw_only=True)
class Member:
    """One trained network and what its run folder says of it.

    Attributes:
        path: The checkpoint.
        config: Configuration of the training.
        network: Ready to predict.
        anatomy: Structures of its classes.
        grid: Grid that it works on.
        taught: Which classes somebody drew in its training slices; the others mean nothing.
        channels: Contrasts of its input channels, where the cohort names them.
        num_channels: Number of input channels.
        slices: Which slices of a volume it was trained on: "all", "labelled", "middle", or how many central ones.
        seen: What its training images looked like; None for checkpoints that do not say.
        class_weights: Those that it was trained with and that are undone in its decisions; ones leave them as they are.
        device: Where it computes.
        mirror: Whether it looks at every axial slice a second time, left and right exchanged, and takes the mean.
    """

    path: Path
    config: DictConfig
    network: nn.Module
    anatomy: Anatomy
    grid: SliceGrid
    taught: Bool[Tensor, " c"]
    channels: tuple[str, ...]
    num_channels: int
    slices: str | int
    seen: SeenImages | None
    class_weights: Float[Tensor, " c"]
    device: torch.device
    mirror: bool = False

    @property
    def name(self) -> str:
        """What people call it: its run folder, or its file of weights."""
        return self.path.stem if self.path.suffix == WEIGHTS else self.path.parent.parent.name

    def probabilities(self, image: Float32[np.ndarray, "s m h w"]) -> Float[Tensor, "s c h w"]:
        """Class probabilities of z-scored slices on its grid; classes it was not taught are background."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(image), BATCH):
                batch = torch.from_numpy(image[start : start + BATCH]).to(self.device)
                found = both_sides(self._of_batch, batch, self.anatomy) if self.mirror else self._of_batch(batch)
                parts.append(found.cpu())
        return torch.cat(parts)

    def _of_batch(self, batch: Float[Tensor, "b m h w"]) -> Float[Tensor, "b c h w"]:
        logits = without_class_weights(self.network(batch, None), self.class_weights).logits.float()
        taught = self.taught.to(self.device).expand(len(batch), -1)
        return merge_unlabelled(logits, taught).softmax(dim=1)


def load_members(
    paths: Sequence[Path], device: torch.device, *, undo_class_weights: bool = True, mirror: bool = False
) -> list[Member]:
    """Loads the networks, each as the run folder around it says.

    Members may have different networks and grids: probabilities are averaged on the pixels of the scan.

    Args:
        paths: Checkpoints.
        device: Where they compute.
        undo_class_weights: See `lightning_modules.losses.objective.Objective`.
        mirror: See `Member`; sagittal slices show no sides to exchange.

    Raises:
        ValueError: If a run folder is incomplete, a checkpoint does not fit to it, or members disagree in structures,
            sides, channels, or the slices that they were trained on.
    """
    members = [_load(path, device, undo_class_weights, mirror) for path in paths]
    for member in members[1:]:
        different = differences(_must_agree(members[0]), _must_agree(member))
        if different:
            raise ValueError(
                f"{members[0].path} and {member.path} cannot be averaged; they differ in {'; '.join(different)}. Take "
                "members of one anatomy and cohort"
            )
    return members


def _must_agree(member: Member) -> dict[str, Any]:
    anatomy = member.anatomy
    return {
        "view": anatomy.view,
        "structures": ", ".join(anatomy.structures),
        "mirror": ", ".join("/".join(pair) for pair in anatomy.mirror),
        "structures drawn in training": ", ".join(
            name for name, taught in zip(anatomy.structures, member.taught[1:].tolist(), strict=True) if taught
        ),
        "channels": ", ".join(member.channels) or member.num_channels,
        "slices": member.slices,
    }


def _load(path: Path, device: torch.device, undo_class_weights: bool, mirror: bool) -> Member:
    trained = read_trained(path)
    anatomy, seen, config = trained.anatomy, trained.seen, trained.config
    drawn = anatomy.structures if seen is None else seen.structures
    undone = trained.class_weights if undo_class_weights else torch.ones(anatomy.num_classes)
    return Member(
        path=path,
        config=config,
        network=trained.network().eval().to(device),
        anatomy=anatomy,
        grid=SliceGrid(size=config.data.size, spacing_mm=config.data.spacing_mm, offset_mm=config.data.offset_mm),
        taught=torch.tensor([True, *(name in drawn for name in anatomy.structures)]),
        channels=trained.channels,
        num_channels=trained.num_channels,
        slices=config.cohort.get("slices", "all"),
        seen=seen,
        class_weights=undone.to(device),
        device=device,
        mirror=mirror and anatomy.view == "axial",
    )
