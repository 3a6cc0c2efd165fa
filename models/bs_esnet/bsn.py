"""Boundary sensitive network: a coarse mask first, then one small box regressor per organ (BS-ESNet, section 2.1)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.unet import Decoder

# Side of the input per side of the preliminary mask -> index of the encoder stage that has the mask's size.
STAGE_OF_SCALE = {2: 1, 4: 2, 8: 3}


class BoundarySensitiveNetwork(nn.Module):
    """Preliminary mask (in the paper at a quarter of the input side), and a box per organ from its own channel of it.

    Args:
        encoder_channels: Channels of the five encoder stages, finest first.
        num_classes: Classes with background.
        generator: "unet" (decoder steps with skips) or "light" (lateral 1 x 1 convolutions, summed).
        scale: How many times smaller than the input the sides of the preliminary mask are: 2, 4 or 8. The generator
            takes three, two or one steps up from the deepest stage.
        mask_mode: How the mask reaches the detectors. The paper says binary masks and end-to-end training, which
            exclude each other: "soft" probabilities (differentiable), "hard" one-hot (the box loss stops here),
            "straight_through" (one-hot forward, soft backward).
        detector_channels: Channels of the two convolutions of a detector.
        hidden: Units between its two fully connected layers.
    """

    def __init__(
        self,
        *,
        encoder_channels: tuple[int, ...],
        num_classes: int,
        generator: str = "unet",
        scale: int = 4,
        mask_mode: str = "soft",
        detector_channels: Sequence[int] = (16, 32),
        hidden: int = 128,
    ) -> None:
        super().__init__()
        if mask_mode not in ("soft", "hard", "straight_through"):
            raise ValueError(f"model.bsn.mask_mode is {mask_mode!r}, expected soft, hard or straight_through")
        if generator not in ("unet", "light"):
            raise ValueError(f"model.bsn.generator is {generator!r}, expected unet or light")
        if scale not in STAGE_OF_SCALE:
            raise ValueError(f"model.bsn.scale is {scale!r}, expected 2, 4 or 8")
        self.mask_mode = mask_mode
        generators = {"unet": UNetGenerator, "light": LateralGenerator}
        self.generator = generators[generator](encoder_channels, num_classes, STAGE_OF_SCALE[scale])
        self.detectors = OrganDetectors(num_classes - 1, channels=detector_channels, hidden=hidden)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Float[Tensor, "b c h_p w_p"], Float[Tensor, "b n 4"]]:
        """Returns the scores of the preliminary mask and the boxes (cx, cy, w, h) in 0..1."""
        preliminary = self.generator(features)
        return preliminary, self.detectors(self._organ_masks(preliminary))

    def _organ_masks(self, scores: Float[Tensor, "b c h_p w_p"]) -> Float[Tensor, "b n h_p w_p"]:
        probabilities = scores.softmax(dim=1)
        if self.mask_mode == "soft":
            return probabilities[:, 1:]
        binary = F.one_hot(scores.argmax(dim=1), scores.shape[1]).movedim(-1, 1).to(scores.dtype)
        if self.mask_mode == "straight_through":
            binary = binary + probabilities - probabilities.detach()
        return binary[:, 1:]


class UNetGenerator(nn.Module):
    """A U-Net decoder cut short at the size of encoder stage `stage` (from 0, finest), then a 1 x 1 convolution."""

    def __init__(self, encoder_channels: tuple[int, ...], num_classes: int, stage: int) -> None:
        super().__init__()
        self.decoder = Decoder(encoder_channels, num_steps=len(encoder_channels) - 1 - stage)
        self.head = nn.Conv2d(self.decoder.channels[-1], num_classes, kernel_size=1)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """Scores on the grid of the stage."""
        return self.head(self.decoder(features)[-1])


class LateralGenerator(nn.Module):
    """Stages from `stage` down brought to `width` channels, resized and summed: 0.67 M parameters at paper width."""

    def __init__(self, encoder_channels: tuple[int, ...], num_classes: int, stage: int, width: int = 128) -> None:
        super().__init__()
        self.stage = stage
        self.lateral = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, width, kernel_size=1),
                nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            for channels in encoder_channels[stage:]
        )
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """Scores on the grid of the stage."""
        size = features[self.stage].shape[2:]
        lateral = [layers(feature) for layers, feature in zip(self.lateral, features[self.stage :], strict=True)]
        resized = [F.interpolate(feature, size, mode="bilinear", align_corners=False) for feature in lateral]
        return self.head(torch.stack(resized).sum(dim=0))


class MaxPoolWithRoom(nn.Module):
    """Maxima of 2 x 2 cells where that leaves at least `least` cells a side; a smaller map is handed on as it is."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self.least = least

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h_p w_p"]:
        """Halves the side, or keeps it."""
        return F.max_pool2d(features, 2) if min(features.shape[2:]) >= 2 * self.least else features


class OrganDetectors(nn.Module):
    """N independent detectors (two convolutions, two fully connected layers, coordinate channels) run as one.

    Grouped convolutions keep the organs apart: group i sees the mask of organ i and the coordinates, nothing else. A
    fully connected layer per organ is a grouped convolution whose kernel covers the whole pooled map.

    The two convolutions halve the side, and the maxima between them halve it a third time where that leaves the dense
    layers `pooled` cells a side: from 64 x 64 on, the paper's masks. Of smaller masks, 32 x 32 at 128 pixels, it would
    leave 4 x 4 cells, and the average pooling would only repeat them: a box could not be placed any finer.
    """

    pooled = 8

    def __init__(self, num_organs: int, *, channels: Sequence[int], hidden: int) -> None:
        super().__init__()
        n, (first, second) = num_organs, channels
        self.num_organs = n
        self.layers = nn.Sequential(
            nn.Conv2d(3 * n, first * n, kernel_size=3, stride=2, padding=1, groups=n),
            nn.ReLU(inplace=True),
            MaxPoolWithRoom(2 * self.pooled),  # the second convolution halves them once more
            nn.Conv2d(first * n, second * n, kernel_size=3, stride=2, padding=1, groups=n),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(self.pooled),
            nn.Conv2d(second * n, hidden * n, kernel_size=self.pooled, groups=n),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden * n, 4 * n, kernel_size=1, groups=n),
        )

    def forward(self, masks: Float[Tensor, "b n h_p w_p"]) -> Float[Tensor, "b n 4"]:
        """Boxes (cx, cy, w, h) in 0..1."""
        batch, num_organs, height, width = masks.shape
        rows = torch.linspace(-1, 1, height, device=masks.device, dtype=masks.dtype)
        columns = torch.linspace(-1, 1, width, device=masks.device, dtype=masks.dtype)
        coordinates = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))
        stacked = torch.cat([masks[:, :, None], coordinates.expand(batch, num_organs, 2, height, width)], dim=2)
        return self.layers(stacked.flatten(1, 2)).view(batch, num_organs, 4).sigmoid()
