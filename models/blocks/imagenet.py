"""Encoders that ImageNet classifiers lend: torchvision's ResNets and VGGs, from scratch or from a local weight file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn

RESNETS = ("resnet18", "resnet34")
VGGS = ("vgg11", "vgg11_bn", "vgg16", "vgg16_bn")


class ResNetEncoder(nn.Module):
    """A ResNet without its pooling and classifier.

    Args:
        name: One of `RESNETS`.
        in_channels: Channels of the image; the first convolution takes as many.
        weights: Path of torchvision's state dict; None starts from scratch.

    Attributes:
        channels: Channels of the five outputs, finest first.

    Raises:
        ValueError: On an unknown name or a weight file that does not fit.
    """

    channels = (64, 64, 128, 256, 512)

    def __init__(self, name: str, *, in_channels: int, weights: str | None = None) -> None:
        super().__init__()
        check_name(name, RESNETS)
        network = torchvision.models.get_model(name, weights=None)
        assert isinstance(network, torchvision.models.ResNet)
        network.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        if weights is not None:
            load_classifier(network, read_weights(weights), first="conv1.weight", path=weights, but="fc.")
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu)
        self.pool = network.maxpool
        self.stages = nn.ModuleList([network.layer1, network.layer2, network.layer3, network.layer4])

    def forward(self, image: Float[Tensor, "b m h w"]) -> tuple[Tensor, ...]:
        """Returns the stem at half the side, and the four stages at a quarter to a thirty-second.

        Raises:
            ValueError: If height or width is not a multiple of 32.
        """
        check_multiple(image, 32)
        features = [self.stem(image)]
        for number, stage in enumerate(self.stages):
            features.append(stage(self.pool(features[-1]) if number == 0 else features[-1]))
        return tuple(features)


class VGGEncoder(nn.Module):
    """The convolutions of a VGG in their five stages.

    Args:
        name: One of `VGGS`.
        in_channels: Channels of the image; the first convolution takes as many.
        weights: Path of torchvision's state dict; None starts from scratch.

    Attributes:
        channels: Channels of the five outputs, finest first.
        stages: The stages, for networks that pool in their own way.

    Raises:
        ValueError: On an unknown name or a weight file that does not fit.
    """

    channels = (64, 128, 256, 512, 512)

    def __init__(self, name: str, *, in_channels: int, weights: str | None = None) -> None:
        super().__init__()
        check_name(name, VGGS)
        network = torchvision.models.get_model(name, weights=None)
        assert isinstance(network, torchvision.models.VGG)
        first = nn.Conv2d(in_channels, 64, kernel_size=3, padding=1)
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        layers = network.features
        assert isinstance(layers, nn.Sequential)
        layers[0] = first
        if weights is not None:
            state = read_weights(weights)
            load_classifier(network, state, first="features.0.weight", path=weights, but="classifier.")
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


def check_name(name: str, known: tuple[str, ...]) -> None:
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


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Reads a state dict.

    Raises:
        ValueError: If there is no such file.
    """
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
