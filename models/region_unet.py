"""The U-Net of Baur et al. (2021) in our reading: a ResNet-34 encoder and a sigmoid for each of several regions."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks.imagenet import ResNetEncoder
from models.blocks.width import in_proportion
from models.prediction import Prediction
from models.strides import Strides
from models.unet import DoubleConvolution

DECODER_CHANNELS = (256, 128, 64, 32, 16)  # at width 64


class RegionUNet(nn.Module):
    """Overall muscle, its lean part and its fat, each judged on its own, and one mask made of them.

    The paper's areas of lean muscle and fat do not add up to that of the whole, so its outputs are not exclusive; it
    grades by the fat inside the whole. Of the outputs that make the mask, a class is as likely as those that contain it
    are and the others are not; taken as independent, its score is the sum of their scores, and the background's is
    zero. So lean muscle is what of the whole is not fat. 24.4 M parameters at width 64.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        structures: Names of the classes, in order, without background.
        regions: Named unions of structures, as in the anatomy.
        outputs: What the network judges: names of regions or of single structures.
        mask_from: Those that make the mask.
        encoder: A ResNet of torchvision; the paper names none.
        width: Channels of the encoder's first stage; 64 as published, every other layer in proportion.
        stem_stride: Of the encoder's first convolution: 2 as published, 1 for cells half as large.
        weights: Path of an ImageNet state dict ("pre-trained", abstract); None starts from scratch.

    Raises:
        ValueError: If an output is unknown, or two classes belong to the same outputs of the mask.
    """

    membership: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        structures: Sequence[str],
        regions: Mapping[str, Sequence[str]],
        outputs: Sequence[str],
        mask_from: Sequence[str],
        encoder: str = "resnet34",
        width: int = 64,
        stem_stride: int = 2,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        assert num_classes == len(structures) + 1
        self.encoder = ResNetEncoder(
            encoder, in_channels=in_channels, width=width, stem_stride=stem_stride, weights=weights
        )
        self.strides = Strides(stem_stride, self.encoder.stride)
        self.enlargements = (2, 2, 2, 2, stem_stride)
        decoded = [in_proportion(channels, width) for channels in DECODER_CHANNELS]
        skips = (*self.encoder.channels[-2::-1], 0)
        steps = zip(pairwise((self.encoder.channels[-1], *decoded)), skips, strict=True)
        self.decoder = nn.ModuleList(DoubleConvolution(before + skip, after) for (before, after), skip in steps)
        self.head = nn.Conv2d(decoded[-1], len(outputs), kernel_size=3, padding=1)
        missing = [name for name in mask_from if name not in outputs]
        if missing:
            raise ValueError(f"model.mask_from names {', '.join(missing)}, expected some of {', '.join(outputs)}")
        self.in_mask = [outputs.index(name) for name in mask_from]
        self.register_buffer("membership", membership(structures, regions, mask_from), persistent=False)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Segments; annotated `boxes` are not used."""
        *skips, features = self.encoder(image)
        for step, (factor, stage) in enumerate(zip(self.enlargements, self.decoder, strict=True)):
            features = F.interpolate(features, scale_factor=factor, mode="nearest")
            if step < len(skips):
                features = torch.cat([features, skips[-1 - step]], dim=1)
            features = stage(features)
        regions = self.head(features)
        logits = torch.einsum("brhw,cr->bchw", regions[:, self.in_mask], self.membership.to(regions.dtype))
        return Prediction(logits=logits, regions=regions)


def membership(
    structures: Sequence[str], regions: Mapping[str, Sequence[str]], outputs: Sequence[str]
) -> Float[Tensor, "c r"]:
    """1 where a class (rows, background first) belongs to an output region (columns).

    Raises:
        ValueError: If an output is unknown, or two classes belong to the same outputs.
    """
    unknown = [name for name in outputs if name not in regions and name not in structures]
    if unknown:
        raise ValueError(
            f"model.outputs names {', '.join(unknown)}, expected regions ({', '.join(regions) or 'none'}) or "
            f"structures ({', '.join(structures)}) of the anatomy; this network is for anatomy=muscle_fat"
        )
    rows = [tuple(float(name in regions.get(output, [output])) for output in outputs) for name in structures]
    if len({*rows, (0.0,) * len(outputs)}) <= len(rows):
        raise ValueError(
            f"the outputs {', '.join(outputs)} cannot tell all of background, {', '.join(structures)} apart: each "
            "needs another set of regions"
        )
    return torch.tensor([(0.0,) * len(outputs), *rows])
