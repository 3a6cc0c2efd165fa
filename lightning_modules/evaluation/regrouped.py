"""A network of fine structures as one of coarser ones: what was trained on axial organs tested on two muscles."""

from collections.abc import Sequence

import lightning
import torch
from jaxtyping import Float
from torch import Tensor, nn

from datamodules.anatomy import Anatomy
from lightning_modules.losses.prior import without_class_weights
from lightning_modules.tasks.trained_network import TrainedNetwork
from models.prediction import Prediction
from models.strides import strides_of


class Regrouped(nn.Module):
    """Adds up structures that are one structure of another anatomy; what that one has not is background.

    Only the mask is handed on: boxes, heat maps and coarser decoder stages are those of the network's own structures.

    Args:
        network: Of the finer anatomy.
        class_weights: Those it was trained with, which have to be undone before probabilities can be added; ones keep
            them in its decisions.
        trained: Anatomy of the network.
        asked: Anatomy that is asked for.

    Raises:
        ValueError: Naming the structures that the network has no counterpart of.
    """

    class_weights: Tensor

    def __init__(
        self, network: nn.Module, class_weights: Float[Tensor, " c"], *, trained: Anatomy, asked: Anatomy
    ) -> None:
        super().__init__()
        self.network, self.strides = network, strides_of(network)
        self.register_buffer("class_weights", class_weights.clone())
        self.groups = class_groups(trained, asked)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Returns the logarithms of the added probabilities as class scores."""
        scores = without_class_weights(self.network(image, None), self.class_weights).logits.float()
        return Prediction(logits=torch.stack([scores[:, list(group)].logsumexp(dim=1) for group in self.groups], dim=1))


def class_groups(trained: Anatomy, asked: Anatomy) -> Sequence[Sequence[int]]:
    """For every class of `asked`, background first, the classes of `trained` that it is made up of.

    Raises:
        ValueError: If views differ, or a structure has no counterpart.
    """
    unions = asked.unions_of(trained)
    missing = [name for name in asked.structures if name not in unions]
    if trained.view != asked.view or missing:
        what = f"no {', '.join(missing)}" if trained.view == asked.view else f"{trained.view} slices, not {asked.view}"
        raise ValueError(
            f"the network was trained on anatomy {trained.name} and cannot be asked for {asked.name}: it knows {what}; "
            f"its structures are {', '.join(trained.structures)}"
        )
    groups = [[trained.class_index(each) for each in unions[name]] for name in asked.structures]
    taken = {index for group in groups for index in group}
    return [[index for index in range(trained.num_classes) if index not in taken], *groups]


def ask_for_others(
    module: lightning.LightningModule, trained: TrainedNetwork, asked: Anatomy, *, undo_class_weights: bool = True
) -> None:
    """Makes a module test a trained network of other structures.

    Args:
        module: Built for the anatomy that is asked for.
        trained: The network.
        asked: That anatomy.
        undo_class_weights: See `lightning_modules.losses.objective.Objective`.
    """
    weights = trained.class_weights if undo_class_weights else torch.ones_like(trained.class_weights)
    module.network = Regrouped(trained.network(), weights, trained=trained.anatomy, asked=asked)
