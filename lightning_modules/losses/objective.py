"""The objective: a weighted list of terms."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from datamodules.batch import SpineBatch
from lightning_modules.losses.prior import without_class_weights
from lightning_modules.losses.segmentation import inverse_root_frequency
from lightning_modules.losses.term import Term
from models.prediction import Prediction
from models.strides import Strides


class Objective(nn.Module):
    """Weighted sum of terms, and how what they have trained is decided on.

    Class weights stand for another prior than the one that is met: a network trained with weights w sees class c w_c
    times as often, and draws it too large. `decided` undoes them: what is trained on is what is decided on. The weights
    are a buffer, so that a checkpoint holds them and can be decided on either way.

    Args:
        terms: Terms by name; a name set to null (by an ablation) is left out.
        num_classes: Classes with background.
        class_weighting: "none" is the papers' plain cross-entropy. "inverse_root" weighs classes by the inverse root of
            their frequency among the labelled training pixels: without it a short run never finds the lamina.
        undo_class_weights: Whether decisions are made without the weights; false decides as runs did before there was
            the choice.

    Attributes:
        active_parts: Parts of the network whose terms count at present; None counts all.
    """

    class_weights: Tensor

    def __init__(
        self,
        *,
        terms: Mapping[str, Term | None],
        num_classes: int,
        class_weighting: str = "none",
        undo_class_weights: bool = True,
    ) -> None:
        super().__init__()
        if class_weighting not in ("none", "inverse_root"):
            raise ValueError(f"objective.class_weighting is {class_weighting!r}, expected none or inverse_root")
        self.terms: dict[str, Term] = {name: term for name, term in terms.items() if term is not None}
        if not self.terms:
            raise ValueError("objective.terms is empty: there is nothing to train on")
        self.class_weighting = class_weighting
        self.undo_class_weights = undo_class_weights
        self.active_parts: frozenset[str] | None = None
        self.register_buffer("class_weights", torch.ones(num_classes))

    def count_classes(self, pixel_counts: Float[Tensor, " c"]) -> None:
        """Sets the class weights from the labelled pixels of the training set, and tells the terms."""
        for term in self.terms.values():
            term.count_classes(pixel_counts)
        if self.class_weighting == "inverse_root":
            self.class_weights.copy_(inverse_root_frequency(pixel_counts))

    @property
    def wants_masks(self) -> bool:
        """Whether a term learns from the masks of the training set as a whole."""
        return any(term.wants_masks for term in self.terms.values())

    def see_masks(
        self, masks: Integer[Tensor, "s h w"], keypoints: Float[Tensor, "s k 2"], spacing_mm: Float[Tensor, " 2"]
    ) -> None:
        """Tells the terms the masks and key points of the training set, as they are before augmentation."""
        for term in self.terms.values():
            term.see_masks(masks, keypoints, spacing_mm)

    def see_network(self, strides: Strides) -> None:
        """Tells the terms how coarse the features of the network are."""
        for term in self.terms.values():
            term.see_network(strides)

    def decided(self, prediction: Prediction) -> Prediction:
        """The prediction as decisions are made on it: class scores without the prior of the class weights.

        Regions, each with a sigmoid of its own, and all else are as they were.

        Raises:
            ValueError: If a class has no weight that could be undone.
        """
        return without_class_weights(prediction, self.class_weights) if self.undo_class_weights else prediction

    @property
    def active_terms(self) -> tuple[str, ...]:
        """Names of the terms that count at present."""
        parts = self.active_parts
        return tuple(
            name for name, term in self.terms.items() if parts is None or term.part is None or term.part in parts
        )

    def forward(
        self, prediction: Prediction, batch: SpineBatch, own: Mapping[str, Tensor] | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The weighted total of the active terms, and each of them unweighted, by name.

        Args:
            prediction: Of the batch.
            batch: The batch.
            own: Losses that the training procedure computed itself, by the names of their terms.
        """
        own = own or {}
        terms = {name: self.terms[name] for name in self.active_terms}
        return self.weigh(
            {
                name: own[name] if name in own else term(prediction, batch, self.class_weights)
                for name, term in terms.items()
            }
        )

    def weigh(self, values: Mapping[str, Tensor]) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Returns the weighted total of values of the terms, and each of them as it is, by name."""
        total = torch.stack([self.terms[name].weight * value for name, value in values.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}
