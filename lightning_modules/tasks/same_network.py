"""Whether the weights of a checkpoint belong to the network that a configuration asks for."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from datamodules.slices import SliceDataModule
from records.identity import differences

STARTS = ("weights", "init")  # what a training started from, which is in the checkpoint's own weights


def network_text(config: DictConfig) -> str:
    """What a checkpoint's weights belong to, as YAML: the network's settings and the structures it segments."""
    model, structures = (
        OmegaConf.to_container(node, resolve=True) for node in (config.model, config.anatomy.structures)
    )
    assert isinstance(model, dict)
    model.pop("size", None)  # what settings are checked against; the same network segments pictures of any size
    return OmegaConf.to_yaml({"model": model, "structures": structures})


def check_same_network(checkpoint: Mapping[str, Any], path: Path, config: DictConfig) -> bool:
    """Compares the network that a checkpoint was trained with to the one of the configuration.

    Returns:
        Whether its structures, and nothing else, are others.

    Raises:
        ValueError: Naming what differs.
    """
    different = network_differences(checkpoint, path, config)
    if any(not text.startswith("structures: ") for text in different):
        raise ValueError(
            f"{path} holds another network than the command line (trained -> asked for): "
            f"{'; '.join(different)}. Put the experiment, ablation and trainer that it was trained with on the line"
        )
    return bool(different)


def check_same_channels(trained: int, path: str | Path, data: SliceDataModule) -> None:
    """Compares the number of channels that a network was trained on to that of the images.

    Raises:
        ValueError: If they differ.
    """
    if trained != data.num_channels:
        raise ValueError(
            f"{path} was trained on images of {trained} channel(s), those of the cohort {data.cohort.name} have "
            f"{data.num_channels}; test it on a cohort with the channels that it was trained on (cohort.channels)"
        )


def check_same_shapes(
    trained: Mapping[str, Tensor], path: str | Path, module: lightning.LightningModule, data: SliceDataModule
) -> None:
    """Compares the weights of a checkpoint to those of a network of the same settings, whose images may be others.

    Raises:
        ValueError: Naming the weights that differ and the channels of the images.
    """
    for name, weight in module.state_dict().items():
        if name in trained and trained[name].shape != weight.shape:
            raise ValueError(
                f"{path} was trained on images of other channels than the {data.num_channels} of the cohort "
                f"{data.cohort.name}: its {name} is {tuple(trained[name].shape)}, here {tuple(weight.shape)}; test it "
                "on a cohort with the channels that it was trained on (cohort.channels)"
            )


def network_differences(checkpoint: Mapping[str, Any], path: str | Path, config: DictConfig) -> list[str]:
    """In what the network of a checkpoint and that of a configuration differ.

    Raises:
        ValueError: If the checkpoint does not say which network it holds.
    """
    if "network" not in checkpoint:
        raise ValueError(f"{path} was not written by this project: it does not say which network it holds")
    trained, asked = (
        _with_defaults(OmegaConf.to_container(OmegaConf.create(text)))
        for text in (checkpoint["network"], network_text(config))
    )
    for tree in (trained, asked):
        for name in STARTS:
            tree["model"].pop(name, None)
    return differences(trained, asked)


def _with_defaults(node: Any) -> Any:
    """A node with what it leaves to its constructors: an option that came after a checkpoint makes no difference."""
    if not isinstance(node, dict):
        return node
    filled = {key: _with_defaults(value) for key, value in node.items()}
    if "_target_" not in node:
        return filled
    parameters = inspect.signature(get_class(node["_target_"])).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
    return {**{name: list(v) if isinstance(v, tuple) else v for name, v in defaults.items()}, **filled}
