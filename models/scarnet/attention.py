"""The attention blocks of SCAR-Net: over positions and over channels (section 3.1)."""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

REDUCTION = 8  # ours: channels of queries and keys, as in the attention blocks that the paper's resemble; not given


class PositionAttention(nn.Module):
    """Every position gathers what all positions hold: softmax(a^T b) c with 1 x 1 convolutions a, b and c.

    A prior of where there is something to see multiplies the weights, which then sum to 1 again: its logarithm is
    added to a^T b.

    Args:
        channels: Of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // REDUCTION)
        self.query = nn.Conv2d(channels, inner, kernel_size=1)
        self.key = nn.Conv2d(channels, inner, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(
        self, features: Float[Tensor, "b c h w"], prior: Float[Tensor, "b h w"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Returns what each position has gathered; `prior` is above 0."""
        # One head: with an axis of heads the fused kernels apply, which never hold the whole matrix.
        query, key, value = (project(features).flatten(2).mT[:, None] for project in (self.query, self.key, self.value))
        bias = None if prior is None else prior.log().to(query.dtype).flatten(1)[:, None, None]
        gathered = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)[:, 0]
        return gathered.mT.unflatten(2, features.shape[2:])

    def weights(self, features: Float[Tensor, "b c h w"], positions: Int[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        """Where chosen positions (row by row) look: weights that sum to 1 over the grid."""
        query, key = self.query(features).flatten(2), self.key(features).flatten(2)
        chosen = query.gather(2, positions[:, None].expand(-1, query.shape[1], -1))
        return (chosen.mT @ key).float().softmax(dim=2).unflatten(2, features.shape[2:])


class ChannelAttention(nn.Module):
    """Every channel gathers what all channels hold, weighted by how alike they are over the positions.

    Args:
        channels: Of the features.
        energy: What the softmax over channels is taken of: "mean" of the products of two channels over the positions;
            "sum" of them, the formula of the position blocks to the letter, which at hundreds of positions picks one
            channel and passes no gradient to queries and keys; "inverted", minus their sum, prefers unlike channels.

    Raises:
        ValueError: On another energy.
    """

    def __init__(self, channels: int, *, energy: str = "mean") -> None:
        super().__init__()
        if energy not in ("mean", "sum", "inverted"):
            raise ValueError(f"model.fusion.channel_energy is {energy!r}, expected mean, sum or inverted")
        self.query, self.key, self.value = (nn.Conv2d(channels, channels, kernel_size=1) for _ in range(3))
        self.energy = energy

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Returns what each channel has gathered."""
        query, key, value = (project(features).flatten(2)[:, None] for project in (self.query, self.key, self.value))
        scale = {"mean": 1 / query.shape[-1], "sum": 1.0, "inverted": -1.0}[self.energy]
        # Negated keys, not a negative scale: the fused kernels take none.
        gathered = F.scaled_dot_product_attention(query, key if scale > 0 else -key, value, scale=abs(scale))[:, 0]
        return gathered.unflatten(2, features.shape[2:])
