"""The image encoder of MobileSAM (Zhang C. et al. 2023): a TinyViT (Wu et al. 2022) of timm, and SAM's neck.

Everything else of MobileSAM is SAM's, so `models.sam.weights` puts this in the place of the encoder of transformers'
SamModel. It is for weights from a file: nothing here is initialised to be trained.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

CELL = 16  # pixels along a side of the features' cells, as SAM's decoder wants them
# From MobileSAM's names to those of `TinyEncoder` within a SamModel, in this order. A stage of timm begins with the
# step that was the end of the stage before.
RENAMED = (
    (r"^image_encoder\.layers\.0\.downsample\.", "vision_encoder.trunk.stages.1.downsample."),
    (r"^image_encoder\.layers\.1\.downsample\.", "vision_encoder.trunk.stages.2.downsample."),
    (r"^image_encoder\.layers\.2\.downsample\.", "vision_encoder.trunk.stages.3.downsample."),
    (r"^image_encoder\.layers\.", "vision_encoder.trunk.stages."),
    (r"^image_encoder\.patch_embed\.seq\.0\.", "vision_encoder.trunk.patch_embed.conv1."),
    (r"^image_encoder\.patch_embed\.seq\.2\.", "vision_encoder.trunk.patch_embed.conv2."),
    (r"^(vision_encoder\.trunk\..*\.)c\.", r"\1conv."),
)


class Size(NamedTuple):
    """What tells one encoder from another.

    Attributes:
        widths: Channels of each stage.
        depths: Blocks of each stage.
        heads: Of the attention, by stage; the first has none, and 1 stands for it.
        windows: Cells along a side of its windows, likewise.
        out_channels: Of the features that the decoder sees.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    windows: tuple[int, ...]
    out_channels: int


MOBILE_SAM = Size((64, 128, 160, 320), (2, 2, 6, 2), (1, 4, 5, 10), (1, 7, 14, 7), 256)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Returns features of the same size."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class TinyEncoder(nn.Module):
    """Features of SAM's square in cells of 16 pixels; 5.74 M parameters as in MobileSAM.

    Args:
        size: Of its stages.

    Raises:
        ImportError: If timm is not installed.
    """

    def __init__(self, size: Size) -> None:
        from timm.models.tiny_vit import TinyVit

        super().__init__()
        self.size = size
        trunk: Any = TinyVit(
            embed_dims=size.widths,
            depths=size.depths,
            num_heads=size.heads,
            window_sizes=size.windows,
            drop_path_rate=0.0,
            num_classes=0,
        )
        trunk.head = nn.Identity()
        # MobileSAM's last stage keeps the cells of the one before.
        trunk.stages[-1].downsample.conv2.conv.stride = (1, 1)
        last, out = size.widths[-1], size.out_channels
        self.trunk = trunk
        self.neck = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=nn.Conv2d(last, out, kernel_size=1, bias=False),
                layer_norm1=ChannelNorm(out),
                conv2=nn.Conv2d(out, out, kernel_size=3, padding=1, bias=False),
                layer_norm2=ChannelNorm(out),
            )
        )

    def forward(self, pixel_values: Float[Tensor, "b 3 s s"], **_: Any) -> Any:
        """Returns the features as "last_hidden_state", as SamModel takes them from its encoder: "b d c c"."""
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=self.neck(self.trunk.forward_features(pixel_values)))


def size_of(state: Mapping[str, Tensor], prefix: str) -> Size:
    """The size of the encoder whose weights are called so, told by their shapes.

    Args:
        state: Weights under the names of `TinyEncoder`, with a prefix.
        prefix: Of their names.

    Raises:
        KeyError: If a weight that tells it is missing.
    """
    place = re.compile(rf"{prefix}trunk\.stages\.(\d+)\.blocks\.(\d+)\.")
    blocks = {match.groups() for name in state if (match := place.match(name))}
    stages = [str(stage) for stage in range(len({stage for stage, _ in blocks}))]
    stem = f"{prefix}trunk.stages."
    biases = [state[f"{stem}{stage}.blocks.0.attn.attention_biases"].shape for stage in stages[1:]]
    widths = [state[f"{stem}{stage}.blocks.0.local_conv.bn.weight"].shape[0] for stage in stages[1:]]
    return Size(
        widths=(state[f"{prefix}trunk.patch_embed.conv2.bn.weight"].shape[0], *widths),
        depths=tuple(sum(stage == own for own, _ in blocks) for stage in stages),
        heads=(1, *(heads for heads, _ in biases)),
        windows=(1, *(round(distances**0.5) for _, distances in biases)),  # a bias for each distance
        out_channels=state[f"{prefix}neck.conv1.weight"].shape[0],
    )
