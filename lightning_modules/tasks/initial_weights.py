"""What a network starts from: the weights of one that was trained before, as far as they fit."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from datamodules.anatomy import Anatomy
from lightning_modules.tasks.named_checkpoints import one_checkpoint
from lightning_modules.tasks.trained_network import TrainedNetwork, read_trained
from records.registry import register
from records.whole_files import replace_text

logger = logging.getLogger(__name__)

FILE = "initial_weights.csv"  # in the run folder
FRESH = "fresh"
BACKGROUND = "background"
OF_CLASSES = "head."  # the last layer of a U-Net, which has a row for every class


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What was taken for a network.

    Attributes:
        path: From this file.
        classes: For every class, background first, what its scores start from; FRESH where nothing is like it.
        weights: Names of tensors that were taken as they are.
        fresh: Names of tensors that start anew: of another shape, or not in the file.
    """

    path: Path
    classes: dict[str, str]
    weights: tuple[str, ...]
    fresh: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """A row for every class and for every tensor: kind, name, taken_from."""
        rows = [("class", name, source) for name, source in self.classes.items()]
        rows += [("weights", name, name) for name in self.weights] + [("weights", name, FRESH) for name in self.fresh]
        return pd.DataFrame(rows, columns=["kind", "name", "taken_from"])


def initialise(network: nn.Module, config: DictConfig, anatomy: Anatomy) -> Taken | None:
    """Gives a network the weights that `model.init` names, and says what was taken; None where it names nothing.

    Args:
        network: Fresh; changed in place.
        config: Of the run.
        anatomy: Structures of its classes.

    Raises:
        ValueError: If there is no such file, it holds another network, or nothing of it fits.
    """
    given = OmegaConf.select(config, "model.init")
    if given is None:
        return None
    trained = read_trained(one_checkpoint(given, anatomy.view, "model.init"))
    taken = take(network, trained, anatomy)
    classes = ", ".join(name if name == source else f"{name} ({source})" for name, source in taken.classes.items())
    logger.info(
        "Starting from %s: %d of %d tensors as they are; classes: %s",
        *(taken.path, len(taken.weights), len(taken.weights) + len(taken.fresh), classes),
    )
    return taken


def take(network: nn.Module, trained: TrainedNetwork, anatomy: Anatomy) -> Taken:
    """Copies weights by name, and the layer of the classes by the names of the structures.

    A structure that the trained network has in parts starts from their mean. What is of another shape, such as the
    first layer of images of other channels, or is not there, stays as it is.

    Raises:
        ValueError: If the views differ or hardly anything fits.
    """
    if trained.anatomy.view != anatomy.view:
        raise ValueError(
            f"model.init={trained.path} was trained on {trained.anatomy.view} slices, anatomy {anatomy.name} has "
            f"{anatomy.view} ones; start from a network of that view, or from none (model.init=null)"
        )
    sources = class_sources(trained.anatomy, anatomy)
    rows = [[_row(trained.anatomy, name) for name in found] for found in sources.values()]
    own, given = network.state_dict(), trained.weights
    merged = {
        name: _merged(weight, given[name], rows)
        for name, weight in own.items()
        if name.startswith(OF_CLASSES)
        and name in given
        and given[name].shape[1:] == weight.shape[1:]
        and (len(given[name]), len(weight)) == (trained.anatomy.num_classes, anatomy.num_classes)
    }
    same = {name: given[name] for name, weight in own.items() if name in given and given[name].shape == weight.shape}
    same = {name: weight for name, weight in same.items() if name not in merged}
    fresh = tuple(name for name in own if name not in same and name not in merged)
    if sum(own[name].numel() for name in fresh) > sum(own[name].numel() for name in same):
        name = fresh[0]
        theirs = tuple(given[name].shape) if name in given else "not there"
        raise ValueError(
            f"model.init={trained.path} holds another network: {len(fresh)} of {len(own)} tensors do not fit, as "
            f"{name} ({theirs}, here {tuple(own[name].shape)}). Take the width and depth that it was trained with: "
            f"model.width={trained.config.model.get('width')}"
        )
    network.load_state_dict({**own, **merged, **same})
    names = {name: " + ".join(found) if found and merged else FRESH for name, found in sources.items()}
    return Taken(path=trained.path, classes=names, weights=tuple(same), fresh=fresh)


def class_sources(trained: Anatomy, asked: Anatomy) -> dict[str, tuple[str, ...]]:
    """For background and every structure of `asked`, the structures of `trained` that it starts from; () for none."""
    unions = asked.unions_of(trained)
    return {BACKGROUND: (BACKGROUND,), **{name: unions.get(name, ()) for name in asked.structures}}


def keep_table(taken: Taken, folder: Path) -> None:
    """Writes what was taken into the run folder."""
    register(folder / FILE)
    replace_text(folder / FILE, taken.table().to_csv(index=False))


def _row(anatomy: Anatomy, name: str) -> int:
    return 0 if name == BACKGROUND else anatomy.class_index(name)


def _merged(own: Tensor, given: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
    """A tensor of the layer of classes whose rows are the mean of some of another's; fresh where there are none."""
    return torch.stack(
        [given[list(found)].mean(dim=0) if found else fresh for fresh, found in zip(own, rows, strict=True)]
    )
