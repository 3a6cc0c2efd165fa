"""How large a SAM is, told by the shapes of its weights: nobody has to say which of the published ones a file holds."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.sam import tiny_vit
from models.sam.frame import SIDE
from models.sam.tiny_vit import MOBILE_SAM, TinyEncoder

PUBLISHED = {(768, 12): "vit_b", (1024, 24): "vit_l", (1280, 32): "vit_h"}  # channels and layers of the encoder
HEADS = 8  # of the mask decoder, which no shape tells; Kirillov et al. 2023, appendix A
PLACES = "shared_image_embedding.positional_embedding"
ENCODER = "vision_encoder."
PATCHES = f"{ENCODER}patch_embed.projection.weight"


def is_tiny(state: Mapping[str, Tensor]) -> bool:
    """Whether the encoder is a TinyViT, as in MobileSAM."""
    return any(name.startswith(f"{ENCODER}trunk.") for name in state)


def size_of(state: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Channels and layers of the encoder, and the side in pixels of the square that it looks at.

    Args:
        state: Under the names of transformers.

    Raises:
        KeyError: If a weight that tells it is missing.
    """
    patch, cells = state[PATCHES], state["vision_encoder.pos_embed"].shape[1]
    return patch.shape[0], _count(state, r"vision_encoder\.layers\.(\d+)\."), cells * patch.shape[2]


def published_name(sam: Any) -> str | None:
    """Which of the published sizes a SamModel of transformers has: vit_b, vit_l, vit_h, vit_t (MobileSAM), or None."""
    if isinstance(sam.vision_encoder, TinyEncoder):
        return "vit_t" if sam.vision_encoder.size == MOBILE_SAM else None
    vision = sam.config.vision_config
    return PUBLISHED.get((vision.hidden_size, vision.num_hidden_layers)) if vision.image_size == SIDE else None


def description(sam: Any) -> str:
    """The size of a SamModel in words."""
    if isinstance(sam.vision_encoder, TinyEncoder):
        return f"a SAM with a TinyViT of {', '.join(map(str, sam.vision_encoder.size.widths))} channels"
    vision = sam.config.vision_config
    layers, channels, side = vision.num_hidden_layers, vision.hidden_size, vision.image_size
    return f"a SAM of {layers} layers with {channels} channels for pictures of {side} pixels"


def config_of(state: Mapping[str, Tensor]) -> Any:
    """SamConfig of transformers for the network that a state dict belongs to; of a TinyViT all but the encoder.

    Raises:
        KeyError: If a weight that tells it is missing.
    """
    from transformers import SamConfig

    square = {"image_size": SIDE, "patch_size": tiny_vit.CELL}
    if not is_tiny(state):
        square = {"image_size": size_of(state)[2], "patch_size": state[PATCHES].shape[2]}
    token = state["mask_decoder.iou_token.weight"].shape[1]
    prompts = {"hidden_size": token, "mask_input_channels": state["prompt_encoder.mask_embed.conv2.weight"].shape[0]}
    return SamConfig(
        vision_config={**(_around_tiny(state) if is_tiny(state) else _encoder(state)), **square},
        prompt_encoder_config={**prompts, **square},
        mask_decoder_config={"hidden_size": token, **_decoder(state, token)},
    )


def _encoder(state: Mapping[str, Tensor]) -> dict[str, Any]:
    channels, layers, side = size_of(state)
    # Of every layer as many distances of cells as its window has, in each direction, and the channels of a head.
    reach = [state[f"vision_encoder.layers.{layer}.attn.rel_pos_h"].shape for layer in range(layers)]
    whole = 2 * (side // state[PATCHES].shape[2]) - 1
    windows = [distances // 2 + 1 for distances, _ in reach if distances != whole]
    return {
        "hidden_size": channels,
        "num_hidden_layers": layers,
        "num_attention_heads": channels // reach[0][1] if reach else 1,
        "mlp_dim": state["vision_encoder.layers.0.mlp.lin1.weight"].shape[0],
        "output_channels": state["vision_encoder.neck.conv1.weight"].shape[0],
        "num_pos_feats": state[PLACES].shape[1],
        "window_size": windows[0] if windows else 0,
        "global_attn_indexes": [layer for layer, (distances, _) in enumerate(reach) if distances == whole],
    }


def _around_tiny(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """An encoder without layers, in whose place the TinyViT is put."""
    size = tiny_vit.size_of(state, ENCODER)
    whole = {"hidden_size": size.widths[-1], "output_channels": size.out_channels}
    return {**whole, "num_hidden_layers": 0, "num_pos_feats": state[PLACES].shape[1]}


def _decoder(state: Mapping[str, Tensor], token: int) -> dict[str, Any]:
    narrow = state["mask_decoder.transformer.final_attn_token_to_image.q_proj.weight"].shape[0]
    return {
        "num_attention_heads": HEADS,
        "attention_downsample_rate": token // narrow,
        "num_hidden_layers": _count(state, r"mask_decoder\.transformer\.layers\.(\d+)\."),
        "mlp_dim": state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        "num_multimask_outputs": state["mask_decoder.mask_tokens.weight"].shape[0] - 1,
        "iou_head_hidden_dim": state["mask_decoder.iou_prediction_head.proj_in.weight"].shape[0],
    }


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for name in state if (match := re.match(pattern, name))})
