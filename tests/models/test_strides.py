"""What a network says of its cells is what its features are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_modules.tasks.untrained import learns
from models.ce_net import ResidualMultiKernelPooling
from models.dgmsnet.deeplab import ImagePooling
from models.msff import MultiScaleFeatureFusion
from models.strides import Strides
from tests.models.test_networks import EXPERIMENTS, build

SUMMARIES = (ImagePooling, MultiScaleFeatureFusion, ResidualMultiKernelPooling)  # pool the deepest features further
NESTED = (BasicUNetPlusPlus,)  # enlarge on the way down already
ENLARGING = ("upsample", "max_unpool")
SIDE = 64


class Watch(TorchDispatchMode):
    """Follows a forward pass to the first map that is enlarged, and from there on what it takes from before.

    Attributes:
        bottleneck: Cells a side of the smallest features that are made before.
        low: Cells a side of the finest map that is made, afterwards, with features from before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bottleneck, self.low = SIDE, 0
        self.encoded: dict[int, Tensor] = {}  # holds them, so that no other tensor takes their identity
        self.enlarged = self.summarising = self.nested = False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = func.__name__
        convolves = name.startswith("convolution")
        self.enlarged |= not self.summarising and (name.startswith(ENLARGING) or (convolves and args[6]))
        made = func(*args, **(kwargs or {}))
        operands = [item for value in args for item in (value if isinstance(value, list) else [value])]
        takes_features = any(id(item) in self.encoded for item in operands)
        maps = [item for item in (made if isinstance(made, tuple) else [made]) if getattr(item, "ndim", 0) == 4]
        if self.enlarged and takes_features:
            self.low = max([self.low, *(item.shape[2] for item in maps)])
        if self.nested and convolves:
            self.bottleneck = min([self.bottleneck, *(item.shape[2] for item in maps)])
        if not self.enlarged and not self.summarising and (convolves or takes_features):
            self.bottleneck = min([self.bottleneck, *(item.shape[2] for item in maps)])
            self.encoded |= {id(item): item for item in maps}
        return made

    @contextmanager
    def over(self, network: nn.Module) -> Iterator[None]:
        """Watches, but not the inside of modules that only summarise the deepest features."""
        for module in network.modules():
            self.nested |= isinstance(module, NESTED)
            if isinstance(module, SUMMARIES):
                module.register_forward_pre_hook(lambda *_: setattr(self, "summarising", True))
                module.register_forward_hook(lambda *_: setattr(self, "summarising", False))
        with torch.no_grad(), self:
            yield


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_cells_have_the_side_that_the_network_says(composed, experiment, stem_stride):
    config = composed(f"experiment={experiment}", "trainer=smoke", f"scale.stem_stride={stem_stride}")
    if not learns(config):
        pytest.skip("runs with weights alone: test_sam.py")
    network = build(config, num_classes=len(config.anatomy.structures) + 1).eval()
    watch = Watch()
    with watch.over(network):
        logits = network(torch.randn(1, 1, SIDE, SIDE)).logits
    assert logits.shape[2:] == (SIDE, SIDE)
    assert network.strides == Strides(low=SIDE // watch.low, bottleneck=SIDE // watch.bottleneck)
