"""GCSN: SpineParseNet's graph over the structures (Pang et al. 2021), in the 2-D form of DGMSNet's public code."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks.spine_column import down_the_spine
from models.dgmsnet.deeplab import Decoder, EncoderSettings, image_encoder
from models.prediction import Prediction

EDGES = ("adjacent", "chain", "full", "none")


def spine_edges(structures: Sequence[str], series: Mapping[str, Sequence[str]], edges: str) -> Float[Tensor, "c c"]:
    """The normalised adjacency of the classes, background first: D^-1/2 (A + I) D^-1/2, where A has self loops already.

    Args:
        structures: Names in class order.
        series: See `down_the_spine`.
        edges: "adjacent" joins a vertebra with its discs, as published. "chain" joins what follows in the column,
            whatever there is of it. "full" joins all structures with each other, "none" nothing. The background is
            joined with itself alone.

    Raises:
        ValueError: If the reading is unknown, or no structure has a neighbour.
    """
    if edges not in EDGES:
        raise ValueError(f"model.edges is {edges!r}, expected {', '.join(EDGES)}")
    discs, joined = set(series.get("disc", ())), list(pairwise(down_the_spine(series)))
    if edges == "adjacent":
        joined = [(one, other) for one, other in joined if (one in discs) != (other in discs)]
    if edges == "full":
        joined = [(one, other) for one in structures for other in structures if one != other]
    if edges != "none" and not joined:
        raise ValueError(
            f"the graph has no edge: of {', '.join(structures)} the anatomy names no vertebra and disc that touch "
            "(series); take model.edges=chain where it has vertebrae alone, or another anatomy"
        )
    number = {name: place for place, name in enumerate(structures, start=1)}
    adjacency = 2 * torch.eye(len(structures) + 1)
    for one, other in joined if edges != "none" else ():
        adjacency[number[one], number[other]] = adjacency[number[other], number[one]] = 1
    scale = adjacency.sum(dim=1).rsqrt()
    return scale[:, None] * adjacency * scale


class StructureGraph(nn.Module):
    """Features are pooled to a node a class, nodes speak to their neighbours, and what they say returns to the pixels.

    Args:
        channels: Of the features and of the nodes.
        adjacency: See `spine_edges`.
        convolutions: Graph convolutions, with a ReLU behind each.
    """

    adjacency: Tensor

    def __init__(self, channels: int, adjacency: Float[Tensor, "c c"], convolutions: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.score = nn.Conv2d(channels, len(adjacency), kernel_size=1, bias=False)
        self.project = nn.Conv2d(channels, channels, kernel_size=1, bias=False)
        layers = [nn.Linear(channels, channels, bias=False) for _ in range(convolutions)]
        self.convolutions = nn.ModuleList(layers)
        for layer in (self.score, self.project, *layers):
            nn.init.xavier_uniform_(layer.weight)
        self.unpool = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.skip = nn.Sequential(nn.Conv2d(channels, channels, kernel_size=1), nn.ReLU(inplace=True))

    def pooled(self, features: Float[Tensor, "b d h w"], scores: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c d"]:
        """A node a class: the mean of the projected features, weighted by how much of the class a pixel is."""
        share = scores.softmax(dim=1).flatten(2)
        share = share / share.sum(dim=2, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
        return F.relu(share @ self.project(features).flatten(2).transpose(1, 2))

    def forward(self, features: Float[Tensor, "b d h w"]) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, "b c h w"]]:
        """Returns the features with what the graph adds, and the class scores that pixels went to nodes by."""
        scores = self.score(features)
        nodes = self.pooled(features, scores)
        for convolution in self.convolutions:
            nodes = F.relu(self.adjacency @ convolution(nodes))
        returned = torch.einsum("bchw,bcd->bdhw", scores.softmax(dim=1), nodes)
        return self.unpool(returned) + self.skip(features), scores


class GCSN(nn.Module):
    """DeepLab with a graph over the structures between encoder and decoder: 5.25 M parameters at width 64.

    The scores by which pixels go to nodes are a coarse mask, and supervised as such (`Prediction.key`).

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        structures: Their names but for the background's.
        series: See `spine_edges`.
        edges: See `spine_edges`.
        convolutions: See `StructureGraph`.
        settings: See `models.dgmsnet.deeplab.image_encoder`.

    Attributes:
        strides: Pixels a cell of the low-level and of the high-level features.

    Raises:
        ValueError: If the graph has no edge.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        structures: Sequence[str],
        series: Mapping[str, Sequence[str]],
        edges: str = "adjacent",
        convolutions: int = 3,
        **settings: Unpack[EncoderSettings],
    ) -> None:
        super().__init__()
        adjacency = spine_edges(structures, series, edges)
        self.encoder = image_encoder(in_channels=in_channels, **settings)
        self.strides = self.encoder.strides
        self.graph = StructureGraph(self.encoder.high_channels, adjacency, convolutions)
        self.decoder = Decoder(self.encoder, out_channels=num_classes)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used."""
        low, high = self.encoder(image)
        high, scores = self.graph(high)
        return Prediction(logits=self.decoder(low, high, image.shape[2:]), key=scores)
