"""SAM from a file of weights, with the names of transformers or of Meta's `segment_anything`; nothing is downloaded."""

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.sam import tiny_vit
from models.sam.sizes import ENCODER, PLACES, config_of, description, is_tiny, published_name

CLASSIFIER = ("image_encoder.norm_head.", "image_encoder.head.")
# Of one encoding of places, which the encoder and the prompts share.
SHARED = (PLACES, "prompt_encoder.shared_embedding.positional_embedding")
# From the names of segment_anything to those of transformers, in this order; what is not here is called the same.
RENAMED = (
    *tiny_vit.RENAMED,
    (r"^image_encoder\.", "vision_encoder."),
    (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.neck\.0\.", ".neck.conv1."),
    (r"\.neck\.1\.", ".neck.layer_norm1."),
    (r"\.neck\.2\.", ".neck.conv2."),
    (r"\.neck\.3\.", ".neck.layer_norm2."),
    (r"\.pe_layer\.positional_encoding_gaussian_matrix$", ".shared_embedding.positional_embedding"),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"(mlps\.\d+|iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(mlps\.\d+|iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
    (r"(mlps\.\d+|iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
)


def load_sam(path: str | Path, *, stand_in: bool = False) -> nn.Module:
    """SamModel of transformers with the weights of a file, of the size that their shapes tell; nothing of it learns.

    Args:
        path: State dict of transformers' SamModel, of segment_anything's vit_b, vit_l, vit_h, or of MobileSAM's vit_t.
        stand_in: Whether a network of another size than the published ones will do; for tests.

    Raises:
        ValueError: If the file is missing or damaged, holds another network, or transformers is not installed.
    """
    state = read_state(path)
    try:
        sam = _built(state)
    except ImportError as error:
        raise ValueError(
            f'SAM needs {error.name}, which is not installed: pip install -e ".[sam]"; without it the row is not run'
        ) from None
    except KeyError as error:
        raise ValueError(f"model.weights={path} holds no SAM: it lacks {error.args[0]}; {_expected()}") from None
    if not stand_in and published_name(sam) is None:
        raise ValueError(f"model.weights={path} holds {description(sam)}, which nobody published; {_expected()}")
    sam.requires_grad_(False)
    _check_fit(sam, state, path)
    sam.load_state_dict(state)
    return sam


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file, under the names of transformers.

    Raises:
        ValueError: If the file is missing or holds no state dict.
    """
    try:
        content = load_file(path) if Path(path).suffix == ".safetensors" else _unpickled(path)
    except FileNotFoundError:
        raise ValueError(f"model.weights={path} does not exist; {_expected()}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, pickle.UnpicklingError, SafetensorError):
        raise ValueError(f"model.weights={path} is cut off or holds no state dict; {_expected()}") from None
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"model.weights={path} holds no state dict (a tensor for every name); {_expected()}")
    return renamed(content)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of segment_anything under the names of transformers; one of transformers stays as it is.

    Whatever their names, the one encoding of places is under both of its names: files may have it once. MobileSAM's
    classifier of ImageNet, which nothing uses, is left out.
    """
    names = {name: name for name in state if not name.startswith(CLASSIFIER)}
    if any(name.startswith("image_encoder.") for name in state):
        for pattern, new in RENAMED:
            names = {name: re.sub(pattern, new, known) for name, known in names.items()}
    found = {known: state[name] for name, known in names.items()}
    shared = next((found[name] for name in SHARED if name in found), None)
    return found if shared is None else {**dict.fromkeys(SHARED, shared), **found}


def sha256_of(path: str | Path) -> str:
    """Of a file's content: what a run's card names its weights by."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _built(state: Mapping[str, Tensor]) -> Any:
    """SamModel of transformers, of the size of a state dict; its encoder is of timm where that is MobileSAM's."""
    from transformers import SamModel

    sam: Any = SamModel(config_of(state))
    if is_tiny(state):
        sam.vision_encoder = tiny_vit.TinyEncoder(tiny_vit.size_of(state, ENCODER))
    return sam


def _check_fit(sam: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    own = sam.state_dict()
    wrong = {
        "lacks": [name for name in own if name not in state],
        "has, beside SAM's own,": [name for name in state if name not in own],
        "has in another shape": [name for name in own if name in state and state[name].shape != own[name].shape],
    }
    told = [f"{what} {names[0]} ({len(names)} such)" for what, names in wrong.items() if names]
    if told:
        raise ValueError(f"model.weights={path} holds another network than SAM: it {', it '.join(told)}; {_expected()}")


def _unpickled(path: str | Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _expected() -> str:
    return (
        "give the file of a state dict of transformers' SamModel, of segment_anything's vit_b, vit_l or vit_h "
        "(sam_vit_b_01ec64.pth and its like), or of MobileSAM (mobile_sam.pt)"
    )
