"""The objective: a weighted list of terms."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datamodules.batch import SpineBatch
from lightning_modules.losses.segmentation import inverse_root_frequency
from lightning_modules.losses.term import Term
from models.prediction import Prediction


class Objective(nn.Module):
    """Weighted sum of terms; the class weights are a buffer, so that a checkpoint holds them.

    Args:
        terms: Terms by name; a name set to null (by an ablation) is left out.
        num_classes: Classes with background.
        class_weighting: "none" is the papers' plain cross-entropy. "inverse_root" weighs classes by the inverse root of
            their frequency among the labelled training pixels: without it a short run never finds the lamina.

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
    ) -> None:
        super().__init__()
        if class_weighting not in ("none", "inverse_root"):
            raise ValueError(f"objective.class_weighting is {class_weighting!r}, expected none or inverse_root")
        self.terms: dict[str, Term] = {name: term for name, term in terms.items() if term is not None}
        if not self.terms:
            raise ValueError("objective.terms is empty: there is nothing to train on")
        self.class_weighting = class_weighting
        self.active_parts: frozenset[str] | None = None
        self.register_buffer("class_weights", torch.ones(num_classes))

    def count_classes(self, pixel_counts: Float[Tensor, " c"]) -> None:
        """Sets the class weights from the labelled pixels of the training set, and tells the terms."""
        for term in self.terms.values():
            term.count_classes(pixel_counts)
        if self.class_weighting == "inverse_root":
            self.class_weights.copy_(inverse_root_frequency(pixel_counts))

    @property
    def active_terms(self) -> tuple[str, ...]:
        """Names of the terms that count at present."""
        parts = self.active_parts
        return tuple(
            name for name, term in self.terms.items() if parts is None or term.part is None or term.part in parts
        )

    def forward(self, prediction: Prediction, batch: SpineBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Returns the weighted total of the active terms, and each of them unweighted, by name."""
        return self.weigh({name: self.terms[name](prediction, batch, self.class_weights) for name in self.active_terms})

    def weigh(self, values: Mapping[str, Tensor]) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Returns the weighted total of values of the terms, and each of them as it is, by name."""
        total = torch.stack([self.terms[name].weight * value for name, value in values.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}
