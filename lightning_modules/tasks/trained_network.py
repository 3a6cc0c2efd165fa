"""A trained network as a file holds it: a checkpoint in its run folder, or weights that are handed on by themselves."""

import json
from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate
from jaxtyping import Float
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save
from torch import Tensor, nn

from datamodules.anatomy import Anatomy
from datamodules.store.seen_images import SeenImages
from lightning_modules.tasks.checkpoint_files import METADATA, read_checkpoint
from lightning_modules.tasks.same_network import network_differences, network_text
from records.starters import WEIGHTS, sha256
from records.whole_files import naming, partial_of

CLASS_WEIGHTS = "objective.class_weights"  # in the state dict of every checkpoint
NETWORK = "network."  # prefix of its weights there
GRID = ("size", "spacing_mm", "offset_mm")
OF_COHORT = ("_target_", "name", "channels", "slices", "licence", "citation")  # and nothing of where it lies
NODES = ("model", "anatomy", "data", "cohort")  # of a run's configuration that say how to use its network


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """Weights, and everything that has to be known to use them.

    Attributes:
        path: The file.
        config: Configuration of the training.
        weights: State dict of the network.
        class_weights: Those that it was trained with.
        seen: What its training images looked like; None for checkpoints that do not say.
    """

    path: Path
    config: DictConfig
    weights: dict[str, Tensor]
    class_weights: Float[Tensor, " c"]
    seen: SeenImages | None

    @property
    def anatomy(self) -> Anatomy:
        """Structures of its classes."""
        return instantiate(self.config.anatomy)

    @property
    def channels(self) -> tuple[str, ...]:
        """Contrasts of its input channels, where the cohort names them."""
        return tuple(str(name) for name in self.config.cohort.get("channels") or ())

    @property
    def num_channels(self) -> int:
        """Number of input channels."""
        return self.seen.num_channels if self.seen else max(1, len(self.channels))

    def network(self) -> nn.Module:
        """The network with its weights.

        Raises:
            ValueError: If they do not fit to its configuration.
        """
        network = instantiate(self.config.model)(in_channels=self.num_channels, num_classes=self.anatomy.num_classes)
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            raise ValueError(
                f"{self.path}: its weights do not fit to the network of its config.yaml ({error})"
            ) from None
        return network


def read_trained(path: Path) -> TrainedNetwork:
    """Reads a checkpoint with the run folder around it, or a file of weights, which says all by itself.

    Raises:
        ValueError: If it is missing, damaged, or does not fit to its run folder.
    """
    config = None if path.suffix == WEIGHTS else _config_of(path)
    checkpoint = read_checkpoint(path, "give another one, or train it anew")
    config = DictConfig(checkpoint["config"]) if config is None else config
    different = network_differences(checkpoint, path, config)
    if different:
        raise ValueError(
            f"{path} holds another network than config.yaml beside its folder (checkpoint -> config.yaml): "
            f"{'; '.join(different)}; put the checkpoint back into the folder of its own run"
        )
    state, seen = checkpoint["state_dict"], checkpoint.get("seen")
    return TrainedNetwork(
        path=path,
        config=config,
        weights={key.removeprefix(NETWORK): value for key, value in state.items() if key.startswith(NETWORK)},
        class_weights=state[CLASS_WEIGHTS],
        seen=SeenImages.of_plain(seen) if seen else None,
    )


def write_weights(network: TrainedNetwork, path: Path) -> str:
    """Writes weights in half precision with what is needed to use them, and returns the SHA-256 of the file.

    What names a machine or a person's files stays behind: roots of cohorts, and fingerprints of slices.

    Args:
        network: To be handed on.
        path: Ends in .safetensors.
    """
    config = OmegaConf.to_container(OmegaConf.masked_copy(network.config, [*NODES, "morphometry"]), resolve=True)
    assert isinstance(config, dict)
    config["cohort"] = {key: value for key, value in config["cohort"].items() if key in OF_COHORT}
    config["data"] = {key: config["data"][key] for key in GRID}
    seen = None if network.seen is None else {**network.seen.plain(), "slices": []}
    told = {"config": config, "network": network_text(network.config), "seen": seen}
    tensors = {f"{NETWORK}{name}": _half(value) for name, value in network.weights.items()}
    partial = partial_of(path)
    content = save({**tensors, CLASS_WEIGHTS: network.class_weights.contiguous()}, {METADATA: json.dumps(told)})
    with naming(path):
        partial.write_bytes(content)
    partial.replace(path)
    return sha256(path)


def _half(weight: Tensor) -> Tensor:
    return (weight.half() if weight.is_floating_point() else weight).contiguous()


def _config_of(path: Path) -> DictConfig:
    """The configuration of the training that wrote a checkpoint."""
    file = path.resolve().parent.parent / "config.yaml"
    if not file.is_file():
        raise ValueError(
            f"{path}: {file} is missing; network, anatomy, grid and channels are read from there, so keep the folder "
            "of a run whole: RUN/config.yaml and RUN/checkpoints/best.ckpt"
        )
    config = OmegaConf.load(file)
    missing = [name for name in NODES if name not in config]
    if missing or not isinstance(config, DictConfig):
        raise ValueError(f"{file}: is no configuration of a run (it lacks {', '.join(missing)}); take the run's own")
    return config
