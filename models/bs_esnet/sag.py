"""Spatial attention gate: boxes as query, a supervised coarse mask as key (BS-ESNet, section 2.2 and Fig. 4b)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

# The paper gives "a cascade of element-wise multiplication and addition" of key x and query Q, no formula.
CASCADES = {
    "key_residual": lambda key, query: key * query + key,  # doubles the key inside a box, keeps it outside
    "query_residual": lambda key, query: key * query + query,  # nothing survives outside a box
    "union": lambda key, query: key * query + key + query,
    "parallel": lambda key, query: torch.cat([key * query, key + query], dim=1),
    "add_first": lambda key, query: (key + query) * key,
}


class Gated(NamedTuple):
    """Encoder features after a gate, and what the gate can show for it (None from a gate that is not there).

    `before` is the channel mean of the absolute features that the saliency map is made of, ungated; None in training,
    which has no use for it.
    """

    features: tuple[Tensor, ...]
    saliency: Float[Tensor, "b 1 h_s w_s"] | None
    key: Float[Tensor, "b c h_k w_k"] | None
    before: Float[Tensor, "b 1 h_s w_s"] | None


class SpatialAttentionGate(nn.Module):
    """Scales encoder features by a saliency map made of detected boxes and of a mask of its own.

    Args:
        encoder_channels: Channels of the encoder stages, finest first.
        num_classes: Classes with background.
        cascade: How key and query are combined, see `CASCADES`.
        action: "scale" multiplies features by the saliency a, "boost" by 1 + a (safer when boxes are poor).
        location: "bottleneck" gates the deepest features alone (one map of one size, as the paper draws it);
            "every_scale" gates the skips too, by the resized map; "quarter" gates the stage at a quarter of the input
            side, where the preliminary mask lives.
    """

    def __init__(
        self,
        *,
        encoder_channels: tuple[int, ...],
        num_classes: int,
        cascade: str = "key_residual",
        action: str = "scale",
        location: str = "bottleneck",
    ) -> None:
        super().__init__()
        if cascade not in CASCADES:
            raise ValueError(f"model.sag.cascade is {cascade!r}, expected one of {', '.join(CASCADES)}")
        if action not in ("scale", "boost"):
            raise ValueError(f"model.sag.action is {action!r}, expected scale or boost")
        if location not in ("bottleneck", "every_scale", "quarter"):
            raise ValueError(f"model.sag.location is {location!r}, expected bottleneck, every_scale or quarter")
        self.combine = CASCADES[cascade]
        self.action = action
        last = len(encoder_channels) - 1
        self.stage = 2 if location == "quarter" else last
        self.gated_stages = tuple(range(last + 1)) if location == "every_scale" else (self.stage,)
        self.key = nn.Conv2d(encoder_channels[self.stage], num_classes, kernel_size=1)
        num_maps = (num_classes - 1) * (2 if cascade == "parallel" else 1)
        self.compress = nn.Conv2d(num_maps, 1, kernel_size=1)
        # An organ in its box opens the gate from the first step on; an even 0.5 everywhere would only dim features.
        nn.init.ones_(self.compress.weight)
        assert self.compress.bias is not None
        nn.init.constant_(self.compress.bias, -1.0)

    def forward(self, features: tuple[Tensor, ...], boxes: Float[Tensor, "b n 4"]) -> Gated:
        """Gates; `boxes` (cx, cy, w, h) in 0..1 get no gradient, since a rasterised box has none."""
        semantic = features[self.stage]
        key = self.key(semantic)
        query = rasterise(boxes.detach(), semantic.shape[2:]).to(key.dtype)
        saliency = self.compress(self.combine(key.softmax(dim=1)[:, 1:], query)).sigmoid()
        gated = [
            self._act(feature, saliency) if stage in self.gated_stages else feature
            for stage, feature in enumerate(features)
        ]
        before = None if self.training else semantic.detach().abs().mean(dim=1, keepdim=True)
        return Gated(tuple(gated), saliency, key, before)

    def _act(self, feature: Tensor, saliency: Tensor) -> Tensor:
        if saliency.shape[2:] != feature.shape[2:]:
            saliency = F.interpolate(saliency, feature.shape[2:], mode="bilinear", align_corners=False)
        return feature * (saliency if self.action == "scale" else 1 + saliency)


class NoGate(nn.Module):
    """The ablation without a gate: features pass unchanged, boxes are not read."""

    def __init__(self, *, encoder_channels: tuple[int, ...], num_classes: int) -> None:
        super().__init__()

    def forward(self, features: tuple[Tensor, ...], boxes: Float[Tensor, "b n 4"]) -> Gated:
        """Returns the features as they came."""
        return Gated(features, None, None, None)


def rasterise(boxes: Float[Tensor, "b n 4"], size: tuple[int, int] | torch.Size) -> Float[Tensor, "b n h w"]:
    """Binary maps of boxes (cx, cy, w, h in 0..1): 1 where the centre of a cell is inside.

    A box covers at least the cell that holds its centre; a box of NaN (absent organ) covers none.
    """
    centre, extent = boxes[..., :2], boxes[..., 2:]
    inside = []
    for axis, length in ((1, size[0]), (0, size[1])):
        cells = torch.arange(length, device=boxes.device, dtype=boxes.dtype)
        middle, half = centre[..., axis, None], extent[..., axis, None] / 2
        own_cell = (middle * length).floor().clamp(0, length - 1)
        inside.append((((cells + 0.5) / length - middle).abs() <= half) | (cells == own_cell))
    return (inside[0][..., :, None] & inside[1][..., None, :]).to(boxes.dtype)
