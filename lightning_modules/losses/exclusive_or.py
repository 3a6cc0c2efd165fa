"""What one path finds and another, or the annotator, does not (MRLN, Zhang R. et al. 2020; reconstructed)."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from datamodules.batch import SpineBatch
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.term import Term
from models.prediction import Prediction

SOURCES = ("logits", "areas")
TARGETS = ("mask", "logits")


class ExclusiveOr(Term):
    """p (1 - q) + q (1 - p), the mean over the pixels, summed over the structures: 0 where p and q agree and are sure.

    The abstract says that an exclusive or of localisation and segmentation needs no weight between the tasks; the
    formula is our reading.

    Args:
        source: "areas", the sigmoids of the path that localises, or "logits", the softmax of the one that segments.
        target: "mask", what was annotated, or "logits", what is segmented.
        weight: See `Term`.
        part: See `Term`.

    Raises:
        ValueError: If a source or target is another.
    """

    def __init__(
        self, source: str = "areas", target: str = "logits", weight: float = 1.0, part: str | None = None
    ) -> None:
        super().__init__(weight=weight, part=part)
        for name, value, known in (("source", source, SOURCES), ("target", target, TARGETS)):
            if value not in known:
                raise ValueError(f"exclusive or: {name} is {value!r}, expected one of {', '.join(known)}")
        self.source, self.target = source, target

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Over the structures that were drawn, in the cases with a mask; zero where there are none."""
        if prediction.areas is None:
            raise ValueError(
                "the objective has an exclusive or of areas, which this network does not predict: take the term out "
                "(objective.terms.NAME=null), or choose model=mrln"
            )
        one = probabilities(self.source, prediction, batch)
        other = probabilities(self.target, prediction, batch)
        differs = exclusive_or(one, other).mean(dim=(2, 3)) * batch.labelled[:, 1:]
        return differs.sum(dim=1)[batch.has_mask].sum() / batch.has_mask.sum().clamp(min=1)


def exclusive_or(one: Float[Tensor, "*shape"], other: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Probability that exactly one of two independent things with these probabilities is there."""
    return one * (1 - other) + other * (1 - one)


def probabilities(source: str, prediction: Prediction, batch: SpineBatch) -> Float[Tensor, "b n h w"]:
    """Of each structure at every pixel, by an output of the network or by the mask."""
    if source == "mask":
        return F.one_hot(batch.mask, batch.labelled.shape[1]).movedim(-1, 1)[:, 1:].float()
    if source == "areas":
        assert prediction.areas is not None
        return prediction.areas.float().sigmoid()
    return merge_unlabelled(prediction.logits, batch.labelled).float().softmax(dim=1)[:, 1:]
