"""How the segmentation feature takes up what the recognition path delivers."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor, nn


class Fusion(nn.Module, ABC):
    """Joins the segmentation feature with what is delivered to it."""

    @abstractmethod
    def forward(
        self, segmentation: Float[Tensor, "b c h w"], delivered: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        """Returns the joined feature."""

    def attention_at(
        self, segmentation: Float[Tensor, "b c h w"], positions: Int[Tensor, "b k"]
    ) -> Float[Tensor, "b k h w"] | None:
        """Where chosen positions (row by row) look: weights that sum to 1; None where nothing attends."""
        return None


class SumFusion(Fusion):
    """Adds what is delivered, as DGMSNet does."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()

    def forward(
        self, segmentation: Float[Tensor, "b c h w"], delivered: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        """Returns the sum."""
        return segmentation + delivered
