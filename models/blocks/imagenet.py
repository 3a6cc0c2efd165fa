"""Encoders that ImageNet classifiers lend: ResNets and VGGs of any width, from scratch or from a local weight file."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from monai.networks.nets.resnet import ResNet, ResNetBlock
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from models.blocks.width import PUBLISHED_WIDTH, in_proportion

RESNETS = {"resnet18": [2, 2, 2, 2], "resnet34": [3, 4, 6, 3]}  # blocks of each stage
# Torchvision's list of layers, and whether there is batch normalisation.
VGGS = {"vgg11": ("A", False), "vgg11_bn": ("A", True), "vgg16": ("D", False), "vgg16_bn": ("D", True)}


class ResNetEncoder(nn.Module):
    """A ResNet without its pooling and classifier.

    MONAI builds it, whose channels can be chosen; at width 64 its parameters and features are torchvision's.

    Args:
        name: One of `RESNETS`.
        in_channels: Channels of the image; the first convolution takes as many.
        width: Channels of the stem and the first stage; 64 as published, the later stages have 2, 4 and 8 times these.
        stem_stride: Of the first convolution: 2 as published; 1 keeps the cells of all features half as large.
        weights: Path of torchvision's state dict; None starts from scratch.

    Attributes:
        channels: Channels of the five outputs, finest first.
        stride: Of the deepest features; height and width of the image must be multiples of this.

    Raises:
        ValueError: On an unknown name, another stride, or a weight file that does not fit.
    """

    def __init__(
        self, name: str, *, in_channels: int, width: int = 64, stem_stride: int = 2, weights: str | None = None
    ) -> None:
        super().__init__()
        check_name(name, RESNETS)
        if stem_stride not in (1, 2):
            raise ValueError(f"model.stem_stride is {stem_stride!r}, expected 1 or 2")
        stages = [width, 2 * width, 4 * width, 8 * width]
        self.channels = (width, *stages)
        self.stride = 16 * stem_stride
        network = ResNet(
            *("basic", RESNETS[name], stages),
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_stride=stem_stride,
            bias_downsample=False,
            feed_forward=False,
        )
        if weights is not None:
            state = read_weights(weights, width)
            load_classifier(network, state, first="conv1.weight", path=weights, but="fc.")
        for block in network.modules():
            if isinstance(block, ResNetBlock) and isinstance(block.downsample, nn.Sequential):
                convolution, norm = block.downsample
                assert isinstance(convolution, nn.Conv2d)
                block.downsample = in_two_steps(convolution, norm)
        self.stem = nn.Sequential(network.conv1, network.bn1, network.act)
        self.pool = network.maxpool
        self.stages = nn.ModuleList([network.layer1, network.layer2, network.layer3, network.layer4])

    def forward(self, image: Float[Tensor, "b m h w"]) -> tuple[Tensor, ...]:
        """Returns the stem's features, then those of the four stages, each at half the side of the one before.

        Raises:
            ValueError: If height or width is not a multiple of `stride`.
        """
        check_multiple(image, self.stride)
        features = [self.stem(image)]
        for number, stage in enumerate(self.stages):
            features.append(stage(self.pool(features[-1]) if number == 0 else features[-1]))
        return tuple(features)


def in_two_steps(convolution: nn.Conv2d, norm: nn.Module) -> nn.Sequential:
    """A shortcut's strided 1 x 1 convolution as a selection of pixels and one without a stride.

    In one step, channels last, oneDNN's backward pass (torch 2.14) writes beyond its buffer and crashes the
    process.
    """
    subsample = nn.AvgPool2d(kernel_size=1, stride=convolution.stride[0])
    convolution.stride = (1, 1)
    return nn.Sequential(subsample, convolution, norm)


class VGGEncoder(nn.Module):
    """The convolutions of a VGG in their five stages.

    Args:
        name: One of `VGGS`.
        in_channels: Channels of the image; the first convolution takes as many.
        width: Channels of the first stage; 64 as published, the later stages have 2, 4, 8 and 8 times these.
        weights: Path of torchvision's state dict; None starts from scratch.

    Attributes:
        channels: Channels of the five outputs, finest first.
        stages: The stages, for networks that pool in their own way.

    Raises:
        ValueError: On an unknown name or a weight file that does not fit.
    """

    def __init__(self, name: str, *, in_channels: int, width: int = 64, weights: str | None = None) -> None:
        super().__init__()
        check_name(name, VGGS)
        letter, normalised = VGGS[name]
        plan = [entry if isinstance(entry, str) else in_proportion(entry, width) for entry in cfgs[letter]]
        layers = make_layers(plan, batch_norm=normalised)
        layers[0] = nn.Conv2d(in_channels, width, kernel_size=3, padding=1)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                assert layer.bias is not None
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        if weights is not None:
            state, network = read_weights(weights, width), nn.ModuleDict({"features": layers})
            load_classifier(network, state, first="features.0.weight", path=weights, but="classifier.")
        self.channels = (width, 2 * width, 4 * width, 8 * width, 8 * width)
        stages: list[list[nn.Module]] = [[]]
        for layer in layers:
            if isinstance(layer, nn.MaxPool2d):
                stages.append([])
            else:
                stages[-1].append(layer)
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages if stage)
        self.pool = nn.MaxPool2d(2)

    def forward(self, image: Float[Tensor, "b m h w"]) -> tuple[Tensor, ...]:
        """Returns every stage before its pooling, at the full side to a sixteenth.

        Raises:
            ValueError: If height or width is not a multiple of 32.
        """
        check_multiple(image, 32)
        features = [self.stages[0](image)]
        for stage in self.stages[1:]:
            features.append(stage(self.pool(features[-1])))
        return tuple(features)


def check_name(name: str, known: Collection[str]) -> None:
    """Refuses an encoder that is not in the list.

    Raises:
        ValueError: With the list.
    """
    if name not in known:
        raise ValueError(f"model.encoder is {name!r}, expected one of {', '.join(known)}")


def check_multiple(image: Float[Tensor, "b m h w"], stride: int) -> None:
    """Refuses an image whose sides are no multiples of `stride`.

    Raises:
        ValueError: With the size that fits.
    """
    height, width = image.shape[2:]
    if height % stride or width % stride:
        fitting = ",".join(str(-(-side // stride) * stride) for side in (height, width))
        raise ValueError(
            f"input is {height} x {width} pixels, but this encoder needs multiples of {stride}: set "
            f"data.size=[{fitting}]"
        )


def read_weights(path: str | Path, width: int = PUBLISHED_WIDTH) -> dict[str, Tensor]:
    """Reads a state dict for a network of `width`.

    Raises:
        ValueError: If there is no such file, or none could fit: published weights are of one width.
    """
    if width != PUBLISHED_WIDTH:
        raise ValueError(
            f"model.weights={path} are of width {PUBLISHED_WIDTH}, but model.width is {width}: set "
            f"model.width={PUBLISHED_WIDTH} or model.weights=null"
        )
    if not Path(path).exists():
        raise ValueError(f"model.weights={path} does not exist: give the path of a state dict, or null")
    return torch.load(path, map_location="cpu", weights_only=True)


def load_classifier(network: nn.Module, state: Mapping[str, Tensor], *, first: str, path: str | Path, but: str) -> None:
    """Loads a classifier's state dict, its last layers excepted.

    Args:
        network: What is loaded into.
        state: As read.
        first: Name of the first convolution's weight.
        path: Where the state dict is from, for messages.
        but: Beginning of the names of the layers that are left out.

    Raises:
        ValueError: If it belongs to another network.
    """
    own: dict[str, Any] = network.state_dict()
    fitting = {name: value for name, value in state.items() if not name.startswith(but)}
    if first in fitting:
        fitting[first] = share_among_channels(fitting[first], own[first].shape[1])
    wanted = [name for name in own if not name.startswith(but)]
    odd = [name for name in wanted if name not in fitting or fitting[name].shape != own[name].shape]
    if odd:
        raise ValueError(f"model.weights={path} belongs to another network: {odd[0]} does not fit")
    network.load_state_dict(fitting, strict=False)


def share_among_channels(filters: Float[Tensor, "o i k k"], channels: int) -> Float[Tensor, "o j k k"]:
    """Filters of colour images for images of `channels` channels: as if the mean of these were shown in grey."""
    if filters.shape[1] == channels:
        return filters
    return filters.sum(dim=1, keepdim=True).expand(-1, channels, -1, -1) / channels
