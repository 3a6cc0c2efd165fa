"""Pixels beside a border, told apart by their vectors (CDAN, Li Z. et al. 2023; reconstructed)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from datamodules.batch import SpineBatch
from lightning_modules.losses.term import Term
from models.prediction import Prediction


class BorderContrast(Term):
    """Supervised InfoNCE over pixels near the borders of the annotated structures (Khosla et al. 2020).

    For each structure, half of the pixels lie within it, half outside, all at most `reach` pixels from its border. A
    pixel's vector shall be nearer to those of its own class, anywhere in the batch, than to others. How CDAN contrasts
    is not public; this is our reading.

    Args:
        temperature: Divides the cosine of two vectors.
        pixels: How many a structure, in the whole batch; fewer where there are not as many.
        reach: How far from the border a pixel may lie, in pixels (the larger of rows and columns).
        weight: See `Term`.
        part: See `Term`.

    Raises:
        ValueError: If a number is not above 0.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        pixels: int = 64,
        reach: int = 2,
        weight: float = 1.0,
        part: str | None = None,
    ) -> None:
        super().__init__(weight=weight, part=part)
        for name, value in (("temperature", temperature), ("pixels", pixels), ("reach", reach)):
            if value <= 0:
                raise ValueError(f"contrast: {name} is {value}, expected a positive number")
        self.temperature, self.pixels, self.reach = temperature, pixels, reach

    def __call__(
        self, prediction: Prediction, batch: SpineBatch, class_weights: Float[Tensor, " c"]
    ) -> Float[Tensor, ""]:
        """Mean over the drawn pixels that have another of their class; zero where there are none."""
        if prediction.embedding is None:
            raise ValueError(
                "the objective has a contrast of pixels, but this network gives them no vectors: take the term out "
                "(objective.terms.contrast=null), or choose model=cdan"
            )
        places = self.draw(batch)
        vectors = F.normalize(prediction.embedding.float().movedim(1, -1).flatten(0, 2)[places], dim=1)
        return supervised_contrast(vectors, batch.mask.flatten()[places], self.temperature)

    def draw(self, batch: SpineBatch) -> Int[Tensor, " p"]:
        """Random pixels of the batch, by their place in it, row by row.

        What background is in a partly labelled case nobody knows, so that of such cases the inner half is drawn alone.
        """
        drawn, complete = [], batch.labelled.all(dim=1)[:, None, None]
        for structure in range(1, batch.labelled.shape[1]):
            inside = (batch.mask == structure) & batch.has_mask[:, None, None]
            wide, narrow = self._grown(inside), ~self._grown(~inside)
            known = (batch.mask > 0) | complete
            for candidates in (inside & ~narrow, wide & ~inside & known):
                found = candidates.flatten().nonzero()[:, 0]
                chosen = torch.randperm(len(found), device=found.device)[: self.pixels // 2]
                drawn.append(found[chosen])
        return torch.cat(drawn)

    def _grown(self, area: Tensor) -> Tensor:
        side = 2 * self.reach + 1
        return F.max_pool2d(area[:, None].float(), side, stride=1, padding=self.reach)[:, 0] > 0


def supervised_contrast(
    vectors: Float[Tensor, "p e"], classes: Int[Tensor, " p"], temperature: float
) -> Float[Tensor, ""]:
    """Mean over the vectors of -log of the share that those of its class have of a vector's similarity to all others.

    Args:
        vectors: Of length 1.
        classes: Their classes.
        temperature: Divides the cosines.
    """
    if len(vectors) < 2:
        return vectors.sum() * 0
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    similarity = (vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf)
    same = (classes[:, None] == classes[None, :]) & ~itself
    log_share = (similarity - similarity.logsumexp(dim=1, keepdim=True)).masked_fill(~same, 0.0)
    of_same = same.sum(dim=1)
    counted = of_same > 0
    return -(log_share.sum(dim=1)[counted] / of_same[counted]).sum() / counted.sum().clamp(min=1)
