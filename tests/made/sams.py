"""Tiny random SAMs, in files as the published ones are handed on."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.sam.tiny_vit import Size, TinyEncoder

SIDE, PATCH = 128, 16
SMALL = Size((8, 16, 16, 24), (1, 1, 2, 1), (1, 2, 2, 3), (1, 3, 4, 3), 32)
WITHOUT = "transformers is not installed: pip install -e '.[sam]'"
SHARED = "shared_image_embedding.positional_embedding"
# Names of the encoder of MobileSAM as this suite holds it, and MobileSAM's own.
MOBILE = {
    r"vision_encoder\.trunk\.patch_embed\.conv1": "image_encoder.patch_embed.seq.0",
    r"vision_encoder\.trunk\.patch_embed\.conv2": "image_encoder.patch_embed.seq.2",
    r"vision_encoder\.trunk\.stages\.1\.downsample": "image_encoder.layers.0.downsample",
    r"vision_encoder\.trunk\.stages\.2\.downsample": "image_encoder.layers.1.downsample",
    r"vision_encoder\.trunk\.stages\.3\.downsample": "image_encoder.layers.2.downsample",
    r"vision_encoder\.trunk\.stages": "image_encoder.layers",
    r"(image_encoder\.(layers|patch).*)\.conv\.": r"\1.c.",
}
# Transformers' names and those of segment_anything, written down apart from what the network reads them by.
ORIGINAL = {
    r"^vision_encoder\.layers": "image_encoder.blocks",
    r"^vision_encoder": "image_encoder",
    r"(image_encoder\.\S+)layer_norm([12])\.(?=\w+$)": r"\1norm\2.",
    r"projection\.": "proj.",
    r"neck\.conv1": "neck.0",
    r"neck\.norm1": "neck.1",
    r"neck\.conv2": "neck.2",
    r"neck\.norm2": "neck.3",
    r"prompt_encoder\.shared_embedding\.positional_embedding": (
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    ),
    r"\.point_embed\.": ".point_embeddings.",
    r"mask_embed\.conv1": "mask_downscaling.0",
    r"mask_embed\.layer_norm1": "mask_downscaling.1",
    r"mask_embed\.conv2": "mask_downscaling.3",
    r"mask_embed\.layer_norm2": "mask_downscaling.4",
    r"mask_embed\.conv3": "mask_downscaling.6",
    r"(transformer\.layers\.\d)\.layer_norm": r"\1.norm",
    r"layer_norm_final_attn": "norm_final_attn",
    r"upscale_conv1": "output_upscaling.0",
    r"upscale_layer_norm": "output_upscaling.1",
    r"upscale_conv2": "output_upscaling.3",
    r"(mlps\.\d|prediction_head)\.layers\.0": r"\1.layers.1",
    r"(mlps\.\d|prediction_head)\.proj_in": r"\1.layers.0",
    r"(mlps\.\d|prediction_head)\.proj_out": r"\1.layers.2",
}


def tiny_sam(seed: int = 5) -> nn.Module:
    """A SAM of three narrow layers for pictures of 128 pixels, with random weights everywhere."""
    transformers = pytest.importorskip("transformers", reason=WITHOUT)
    square = {"image_size": SIDE, "patch_size": PATCH}
    vision = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "output_channels": 32}
    vision |= {"window_size": 3, "global_attn_indexes": [1], "num_pos_feats": 16}
    return _random(transformers.SamModel(_config(vision, square)).eval(), seed)


def tiny_mobile_sam(size: Size = SMALL, seed: int = 5) -> nn.Module:
    """The same with an encoder as MobileSAM's, for pictures of 1024 pixels: its shapes do not tell their side."""
    transformers = pytest.importorskip("transformers", reason=WITHOUT)
    pytest.importorskip("timm", reason=WITHOUT)
    sam = transformers.SamModel(_config({"num_hidden_layers": 0, "num_pos_feats": 16, "output_channels": 32}, {}))
    sam.vision_encoder = TinyEncoder(size)
    sam = _random(sam.eval(), seed)
    for name, value in sam.named_buffers():  # of batch normalisation
        if "running" in name:
            value.uniform_(0.5, 1.5)
    return sam


def _config(vision: dict[str, Any], square: dict[str, int]) -> Any:
    return pytest.importorskip("transformers", reason=WITHOUT).SamConfig(
        vision_config={**vision, **square},
        prompt_encoder_config={"hidden_size": 32, **square},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 48, "iou_head_hidden_dim": 24},
    )


def _random(sam: nn.Module, seed: int) -> nn.Module:
    """The same network with random weights."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sam.named_parameters():  # those that begin at zero, too
        decodes = "decoder" in name or "positional" in name or "point_embed" in name
        strength = 0.2 if re.search(r"hypernetworks.*proj_out", name) else 0.5 if decodes else 0.2  # masks differ
        parameter.data = strength * torch.randn(parameter.shape, generator=generator)
    return sam


def write_sam(path: Path, state: dict[str, Tensor] | None = None) -> Path:
    """Writes a state dict, that of `tiny_sam` by default, as safetensors or as torch does."""
    state = {name: value.clone() for name, value in (state or tiny_sam().state_dict()).items()}
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def with_original_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of transformers as segment_anything would name it."""
    named = {}
    for name, value in state.items():
        if name != SHARED:  # there it is once, in the prompt encoder
            for pattern, new in (MOBILE | ORIGINAL).items():
                name = re.sub(pattern, new, name)
            named[name] = value
    return named
