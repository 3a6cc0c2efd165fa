"""The networks behind a prediction: one checkpoint, or several that make an ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from jaxtyping import Bool, Float, Float32
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import Tensor, nn

from datamodules.anatomy import Anatomy
from datamodules.geometry import SliceGrid
from datamodules.seen_images import SeenImages
from lightning_modules.checkpoint_files import read_checkpoint
from lightning_modules.identity import differences
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.prior import without_class_weights
from lightning_modules.tasks import network_differences

CLASS_WEIGHTS = "objective.class_weights"  # in the state dict of every checkpoint
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

    def probabilities(self, image: Float32[np.ndarray, "s m h w"]) -> Float[Tensor, "s c h w"]:
        """Class probabilities of z-scored slices on its grid; classes it was not taught are background."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(image), BATCH):
                batch = torch.from_numpy(image[start : start + BATCH]).to(self.device)
                logits = without_class_weights(self.network(batch, None), self.class_weights).logits.float()
                taught = self.taught.to(self.device).expand(len(batch), -1)
                parts.append(merge_unlabelled(logits, taught).softmax(dim=1).cpu())
        return torch.cat(parts)


def checkpoint_files(given: Any) -> list[Path]:
    """The checkpoints that a command line names: one, a list, several between commas, or a pattern with `*`.

    Raises:
        ValueError: If there is none, one does not exist, or one is named twice.
    """
    listed = list(given) if isinstance(given, (list, tuple, ListConfig)) else str(given or "").split(",")
    names = [str(name).strip() for name in listed if str(name).strip()]
    found = [Path(path) for name in names for path in (sorted(glob(name)) or [name])]  # noqa: PTH207  Path.glob refuses absolute ones
    if not found:
        raise ValueError("task=predict needs checkpoint=FILE, as RUN/checkpoints/best.ckpt; several make an ensemble")
    for path in found:
        if not path.is_file():
            raise ValueError(f"checkpoint={path}: there is no such file; a run keeps it as RUN/checkpoints/best.ckpt")
    if len({path.resolve() for path in found}) < len(found):
        raise ValueError(f"checkpoint names one file twice: {', '.join(map(str, found))}; it would count double")
    return found


def load_members(paths: Sequence[Path], device: torch.device, *, undo_class_weights: bool = True) -> list[Member]:
    """Loads the networks, each as the run folder around it says.

    Members may have different networks and grids: probabilities are averaged on the pixels of the scan.

    Args:
        paths: Checkpoints.
        device: Where they compute.
        undo_class_weights: See `lightning_modules.losses.objective.Objective`.

    Raises:
        ValueError: If a run folder is incomplete, a checkpoint does not fit to it, or members disagree in structures,
            sides, channels, or the slices that they were trained on.
    """
    members = [_load(path, device, undo_class_weights) for path in paths]
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


def _load(path: Path, device: torch.device, undo_class_weights: bool) -> Member:
    config = _config_of(path)
    checkpoint = read_checkpoint(path, "give another one, or train it anew")
    different = network_differences(checkpoint, path, config)
    if different:
        raise ValueError(
            f"{path} holds another network than config.yaml beside its folder (checkpoint -> config.yaml): "
            f"{'; '.join(different)}; put the checkpoint back into the folder of its own run"
        )
    anatomy = instantiate(config.anatomy)
    seen = SeenImages.of_plain(checkpoint["seen"]) if checkpoint.get("seen") else None
    channels = tuple(str(name) for name in config.cohort.get("channels") or ())
    num_channels = seen.num_channels if seen else max(1, len(channels))
    network = instantiate(config.model)(in_channels=num_channels, num_classes=anatomy.num_classes)
    prefix = "network."
    weights = {key[len(prefix) :]: value for key, value in checkpoint["state_dict"].items() if key.startswith(prefix)}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{path}: its weights do not fit to the network of its config.yaml ({error})") from None
    drawn = anatomy.structures if seen is None else seen.structures
    undone = checkpoint["state_dict"][CLASS_WEIGHTS] if undo_class_weights else torch.ones(anatomy.num_classes)
    return Member(
        path=path,
        config=config,
        network=network.eval().to(device),
        anatomy=anatomy,
        grid=SliceGrid(size=config.data.size, spacing_mm=config.data.spacing_mm, offset_mm=config.data.offset_mm),
        taught=torch.tensor([True, *(name in drawn for name in anatomy.structures)]),
        channels=channels,
        num_channels=num_channels,
        slices=config.cohort.get("slices", "all"),
        seen=seen,
        class_weights=undone.to(device),
        device=device,
    )


def _config_of(path: Path) -> DictConfig:
    """The configuration of the training that wrote a checkpoint."""
    file = path.resolve().parent.parent / "config.yaml"
    if not file.is_file():
        raise ValueError(
            f"{path}: {file} is missing; network, anatomy, grid and channels are read from there, so keep the folder "
            "of a run whole: RUN/config.yaml and RUN/checkpoints/best.ckpt"
        )
    config = OmegaConf.load(file)
    missing = [name for name in ("model", "anatomy", "data", "cohort") if name not in config]
    if missing or not isinstance(config, DictConfig):
        raise ValueError(f"{file}: is no configuration of a run (it lacks {', '.join(missing)}); take the run's own")
    return config
