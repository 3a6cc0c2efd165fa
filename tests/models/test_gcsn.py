"""GCSN: who is joined with whom, and what the graph does to features."""

import pytest
import torch

from models.dgmsnet.deeplab import DeepLab
from models.gcsn import EDGES, GCSN, StructureGraph, spine_edges

VERTEBRAE, DISCS = ["L1", "L2", "L3", "L4", "L5"], ["L1/2", "L2/3", "L3/4", "L4/5", "L5/S1"]
STRUCTURES = [*VERTEBRAE, *DISCS]
SERIES = {"vertebra": VERTEBRAE, "disc": DISCS}
NEIGHBOURS = [
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0],
    [0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0],
    [0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0],
    [0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0],
    [0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1],
    [0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0],
    [0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0],
    [0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0],
    [0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0],
    [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
]


def graph(adjacency, channels: int = 8) -> StructureGraph:
    torch.manual_seed(0)
    return StructureGraph(channels, adjacency, convolutions=3).eval()


def test_a_vertebra_is_joined_with_its_discs_alone():
    found = spine_edges(STRUCTURES, SERIES, "adjacent")
    assert (found > 0).int().tolist() == NEIGHBOURS
    # Background: 2 / 2. L1: itself twice and a disc; L1/2: itself twice and two vertebrae.
    torch.testing.assert_close(found[0, 0], torch.tensor(1.0))
    torch.testing.assert_close(found[1, 6], torch.tensor(3.0 * 4.0).rsqrt())


@pytest.mark.parametrize("edges", EDGES)
def test_every_adjacency_is_symmetric_and_enlarges_nothing(edges):
    found = spine_edges(STRUCTURES, SERIES, edges)
    assert torch.equal(found, found.T)
    assert torch.linalg.eigvalsh(found).abs().max() <= 1 + 1e-6
    assert (found[0, 1:] == 0).all(), "the background has no neighbour"


def test_without_discs_nobody_has_a_neighbour_but_in_a_chain():
    with pytest.raises(ValueError, match=r"no edge.*L1, L2.*model\.edges=chain"):
        spine_edges(VERTEBRAE, {"vertebra": VERTEBRAE}, "adjacent")
    chain = spine_edges(VERTEBRAE, {"vertebra": VERTEBRAE}, "chain")
    assert (chain[1] > 0).tolist() == [False, True, True, False, False, False]
    with pytest.raises(ValueError, match=r"model\.edges is 'all'"):
        spine_edges(STRUCTURES, SERIES, "all")


def test_a_node_is_the_mean_of_its_own_pixels():
    layer = graph(spine_edges(STRUCTURES, SERIES, "adjacent"))
    features = torch.randn(1, 8, 4, 4)
    label = torch.arange(16).view(4, 4) % 11
    scores = torch.full((1, 11, 4, 4), -1e4)
    scores[0].scatter_(0, label[None], 1e4)
    nodes = layer.pooled(features, scores)
    projected = layer.project(features)[0]
    expected = torch.stack([projected[:, label == number].mean(dim=1) for number in range(11)]).relu()
    torch.testing.assert_close(nodes[0], expected)
    torch.testing.assert_close(layer.pooled(torch.ones_like(features), scores)[0].std(dim=0), torch.zeros(8))


def test_a_graph_that_says_nothing_leaves_a_skip():
    layer = graph(spine_edges(STRUCTURES, SERIES, "adjacent"))
    torch.nn.init.zeros_(layer.unpool[0].weight)
    features = torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(layer(features)[0], layer.skip(features))


def test_the_names_of_the_structures_do_not_matter_their_neighbours_do():
    order = torch.tensor([0, *(torch.randperm(10, generator=torch.Generator().manual_seed(3)) + 1).tolist()])
    adjacency = spine_edges(STRUCTURES, SERIES, "adjacent")
    one, other = graph(adjacency), graph(adjacency[order][:, order])
    other.score.weight.data = one.score.weight[order]
    features = torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(one(features)[0], other(features)[0])
    torch.testing.assert_close(one(features)[1][:, order], other(features)[1])


def test_the_scores_of_the_nodes_learn_from_both_losses():
    torch.manual_seed(0)
    network = GCSN(in_channels=1, num_classes=11, structures=STRUCTURES, series=SERIES, width=16, stem_stride=1)
    prediction = network(torch.randn(2, 1, 32, 32))
    assert prediction.key is not None
    for loss in (prediction.logits.square().mean(), prediction.key.square().mean()):
        (gradient,) = torch.autograd.grad(loss, network.graph.score.weight, retain_graph=True)
        assert gradient.abs().sum() > 0


def test_deeplab_is_a_path_of_dgmsnet_by_its_count():
    network = DeepLab(in_channels=1, num_classes=11)
    assert sum(parameter.numel() for parameter in network.parameters()) == 5_149_111
    graph_too = GCSN(in_channels=1, num_classes=11, structures=STRUCTURES, series=SERIES)
    assert sum(parameter.numel() for parameter in graph_too.parameters()) == 5_249_207
