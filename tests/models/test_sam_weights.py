"""SAM's weights: from whichever file people have, or refused in one line that says what is wrong with it."""

import sys

import pytest
import torch

from models.sam.network import PromptedSam, Prompts
from models.sam.tiny_vit import MOBILE_SAM, TinyEncoder, size_of
from models.sam.weights import load_sam, renamed, sha256_of
from tests.made.networks import on_meta
from tests.made.sams import WITHOUT, tiny_mobile_sam, tiny_sam, with_original_names, write_sam

pytest.importorskip("transformers", reason=WITHOUT)
pytest.importorskip("timm", reason=WITHOUT)
# As in segment_anything's own file of vit_b, by heart.
ORIGINAL_NAMES = (
    "image_encoder.pos_embed",
    "image_encoder.patch_embed.proj.weight",
    "image_encoder.blocks.0.norm1.weight",
    "image_encoder.blocks.2.attn.rel_pos_h",
    "image_encoder.blocks.2.attn.qkv.bias",
    "image_encoder.blocks.1.mlp.lin2.weight",
    "image_encoder.neck.0.weight",
    "image_encoder.neck.3.bias",
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    "prompt_encoder.point_embeddings.3.weight",
    "prompt_encoder.not_a_point_embed.weight",
    "prompt_encoder.mask_downscaling.6.bias",
    "prompt_encoder.no_mask_embed.weight",
    "mask_decoder.transformer.layers.1.cross_attn_token_to_image.q_proj.weight",
    "mask_decoder.transformer.layers.0.norm4.weight",
    "mask_decoder.transformer.norm_final_attn.bias",
    "mask_decoder.output_upscaling.3.weight",
    "mask_decoder.output_hypernetworks_mlps.3.layers.1.weight",
    "mask_decoder.iou_prediction_head.layers.2.bias",
)

# As in MobileSAM's.
MOBILE_NAMES = (
    "image_encoder.patch_embed.seq.0.c.weight",
    "image_encoder.patch_embed.seq.2.bn.running_var",
    "image_encoder.layers.0.blocks.0.conv2.c.weight",
    "image_encoder.layers.0.downsample.conv3.bn.bias",
    "image_encoder.layers.1.blocks.0.attn.attention_biases",
    "image_encoder.layers.2.blocks.1.attn.qkv.weight",
    "image_encoder.layers.2.downsample.conv2.c.weight",
    "image_encoder.layers.3.blocks.0.local_conv.c.weight",
    "image_encoder.layers.3.blocks.0.mlp.fc1.bias",
    "image_encoder.neck.0.weight",
    "image_encoder.neck.3.bias",
)


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
@pytest.mark.parametrize("original", [False, True], ids=["transformers", "segment_anything"])
def test_both_kinds_of_names_give_the_same_network_bit_for_bit(tmp_path, original, suffix):
    sam = tiny_sam()
    state = with_original_names(sam.state_dict()) if original else sam.state_dict()
    if original:
        assert set(ORIGINAL_NAMES) <= set(state)
        assert not any("layer_norm" in name or name.startswith("vision") for name in state)
    loaded = load_sam(write_sam(tmp_path / f"sam.{suffix}", state), stand_in=True).eval()
    given = {"pixel_values": torch.randn(1, 3, 128, 128), "input_boxes": torch.tensor([[[10.0, 20.0, 70.0, 90.0]]])}
    with torch.no_grad():
        expected, found = sam(**given), loaded(**given)
    assert torch.equal(found.pred_masks, expected.pred_masks)
    assert torch.equal(found.iou_scores, expected.iou_scores)
    assert expected.pred_masks.std() > 0
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_encoding_of_places_may_be_there_once(tmp_path):
    """As transformers writes it: the second name is tied to the first."""
    state = tiny_sam().state_dict()
    del state["prompt_encoder.shared_embedding.positional_embedding"]
    assert load_sam(write_sam(tmp_path / "sam.safetensors", state), stand_in=True)


def test_every_published_name_has_its_own_in_transformers():
    state = tiny_sam().state_dict()
    found = renamed(with_original_names(state))
    assert set(found) == set(state)
    assert all(torch.equal(found[name], value) for name, value in state.items())


def refused(path, words, **settings):
    with pytest.raises(ValueError, match=words) as caught:
        load_sam(path, **settings)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_of_sam_is_refused_in_one_line(tmp_path):
    refused(tmp_path / "nowhere.pth", "does not exist; give the file of a state dict")
    (tmp_path / "cut.pth").write_bytes(write_sam(tmp_path / "sam.pth").read_bytes()[:1000])
    refused(tmp_path / "cut.pth", "cut off or holds no state dict")
    (tmp_path / "cut.safetensors").write_bytes(b"no tensors")
    refused(tmp_path / "cut.safetensors", "cut off or holds no state dict")
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "checkpoint.pth")
    refused(tmp_path / "checkpoint.pth", "holds no state dict")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    refused(tmp_path / "resnet.pth", r"holds no SAM: it lacks vision_encoder\.patch_embed\.projection\.weight")


def test_mobile_sam_is_read_under_its_own_names(tmp_path):
    sam = tiny_mobile_sam()
    state = with_original_names(sam.state_dict())
    assert set(MOBILE_NAMES) <= set(state)
    assert not any("trunk" in name or "stages" in name for name in state)
    classifier = {"image_encoder.norm_head.weight": torch.ones(24), "image_encoder.head.bias": torch.ones(1000)}
    loaded = load_sam(write_sam(tmp_path / "mobile_sam.pt", state | classifier), stand_in=True).eval()
    given = {"pixel_values": torch.randn(1, 3, 1024, 1024), "input_points": torch.tensor([[[[300.0, 500.0]]]])}
    with torch.no_grad():
        expected, found = sam(**given), loaded(**given)
    assert torch.equal(found.pred_masks, expected.pred_masks)
    assert expected.pred_masks.std() > 0
    refused(tmp_path / "mobile_sam.pt", "a SAM with a TinyViT of 8, 16, 16, 24 channels, which nobody published")
    del state["image_encoder.layers.1.blocks.0.attn.attention_biases"]
    refused(write_sam(tmp_path / "cut.pt", state), r"holds no SAM: it lacks vision_encoder.*attention_biases")


def test_mobile_sam_is_as_large_as_published():
    """5.74 M parameters, and 0.32 M of a classifier that is not built; the decoder gets cells of 16 pixels."""
    with on_meta():
        encoder = TinyEncoder(MOBILE_SAM).eval()
        features = encoder(torch.zeros(1, 3, 1024, 1024))[0]
    assert features.shape == (1, 256, 64, 64)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 5_743_892
    held = {f"vision_encoder.{name}": value for name, value in encoder.state_dict().items()}
    assert size_of(held, "vision_encoder.") == MOBILE_SAM


def test_weights_that_do_not_fit_are_named(tmp_path):
    whole = tiny_sam().state_dict()
    name = "mask_decoder.upscale_conv1.bias"
    changed = {key: value for key, value in whole.items() if key != name} | {"adapter.weight": torch.zeros(1)}
    refused(
        write_sam(tmp_path / "other.pth", changed),
        rf"lacks {name} \(1 such\), it has, beside SAM's own, adapter\.weight \(1 such\)",
        stand_in=True,
    )
    refused(
        write_sam(tmp_path / "wide.pth", {**whole, name: torch.zeros(9)}),
        rf"has in another shape {name} \(1 such\)",
        stand_in=True,
    )


def test_a_network_that_nobody_published_is_for_tests_alone(tmp_path):
    said = "a SAM of 3 layers with 32 channels .* 128 pixels, which nobody published"
    refused(write_sam(tmp_path / "tiny.pth"), said)


def test_without_transformers_one_line_says_what_to_install(tmp_path, monkeypatch):
    path = write_sam(tmp_path / "tiny.pth")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"transformers, which is not installed: pip install -e \"\.\[sam\]\""):
        load_sam(path)


def test_the_card_names_the_weights_and_what_was_told(tmp_path):
    path = write_sam(tmp_path / "tiny.pth")
    shown = {"in_channels": 1, "num_classes": 3, "weights": str(path), "stand_in": True}
    card = PromptedSam(**shown, prompt="point", prompts="grids/table/scarnet_baseline-0a1b").card
    assert card["weights_sha256"] == sha256_of(path)
    assert len(card["weights_sha256"]) == 64
    assert card["protocol"] == "a point a structure from the run scarnet_baseline-0a1b; the first of three masks"
    assert card["trained_parameters"] == 0
    assert "oracle" in PromptedSam(**shown).card["protocol"]
    assert PromptedSam(**shown, prompts="runs/x", mask="best").card["protocol"].endswith("by the truth, an oracle")


def test_without_weights_nothing_runs():
    network = PromptedSam(in_channels=1, num_classes=2)
    with pytest.raises(ValueError, match=r"not run without its weights: give model\.weights=FILE"):
        network(torch.zeros(1, 1, 8, 8), Prompts(torch.zeros(1, 1, 4)))
    assert not list(network.parameters())
