"""`task=export`: one file of a network, which does what the network does."""

import json
import logging
from dataclasses import replace

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from datamodules.store.seen_images import SeenImages
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.prior import without_class_weights
from lightning_modules.tasks.export import export, facts_of
from lightning_modules.tasks.onnx_export import Probabilities
from lightning_modules.tasks.trained_network import CLASS_WEIGHTS, read_trained
from records.starters import card_facts, sha256
from tests.conftest import compose_line
from tests.made.predicted_scans import run_config, write_run


@pytest.fixture
def checkpoint(tmp_path, generated):
    return write_run(tmp_path / "run", run_config(tmp_path / "run", generated))


def test_weights_and_their_card_are_written_where_asked(tmp_path, generated, checkpoint, caplog):
    file = tmp_path / "given" / "mine.safetensors"
    with caplog.at_level(logging.INFO):
        export(compose_line(file, generated, "task=export", f"checkpoint={checkpoint}"))
    facts = card_facts(file.with_suffix(".md"))
    assert facts["sha256"] == sha256(file)
    assert facts["structures"] == "multifidus_left, multifidus_right, erector_spinae_left, erector_spinae_right"
    assert facts["grid"] == "48 x 64 pixels of 1 mm"
    assert file.stat().st_mode & 0o777 == file.with_suffix(".md").stat().st_mode & 0o777, "others may read it, too"
    assert "# mine" in file.with_suffix(".md").read_text()
    assert facts["sha256"] in caplog.text


def test_a_card_says_what_was_typed_but_not_on_which_machine(tmp_path, generated, checkpoint):
    command = "python run.py experiment=unet cohort.root=/home/anna/scans paths.cache=~/cache 'model.width=8' seed=1"
    (checkpoint.parents[1] / "run_card.json").write_text(json.dumps({"command": command, "commit": "abc"}))
    facts = facts_of(read_trained(checkpoint), "hash")
    assert facts["command"] == "python run.py experiment=unet model.width=8 seed=1"
    assert facts["commit"] == "abc"


@pytest.mark.parametrize("name", ["mine", "mine.pt"])
def test_another_kind_of_file_is_refused(tmp_path, generated, checkpoint, name):
    with pytest.raises(ValueError, match=r"needs output=FILE\.safetensors or FILE\.onnx, .*given: "):
        export(compose_line(tmp_path / name, generated, "task=export", f"checkpoint={checkpoint}"))


def test_nothing_to_export_is_said(tmp_path, generated):
    with pytest.raises(ValueError, match="task=export checkpoint=FILE needs an existing checkpoint"):
        export(compose_line(tmp_path / "mine.onnx", generated, "task=export"))


def unet_run(folder, generated):
    """A run folder with a small U-Net that was trained with class weights."""
    config = compose_line(folder, generated, "experiment=unet", "trainer=smoke", "model.depth=2")
    structures = len(config.anatomy.structures) + 1
    torch.manual_seed(0)
    network = instantiate(config.model)(in_channels=1, num_classes=structures)
    path = write_run(folder, config)
    saved = torch.load(path, weights_only=True)
    saved["state_dict"] = {f"network.{name}": value for name, value in network.state_dict().items()}
    saved["state_dict"][CLASS_WEIGHTS] = torch.linspace(0.5, 2.0, structures)
    torch.save(saved, path)
    return path


def test_what_is_exported_gives_what_a_prediction_decides_on(tmp_path, generated):
    """Class weights undone, and a class that nobody drew is background."""
    trained = read_trained(unet_run(tmp_path / "run", generated))
    structures = trained.anatomy.structures
    seen = SeenImages(
        structures=structures[2:], num_patients=1, num_channels=1, pixel_mm=[1.0], field_mm=[9.0], looks={}
    )
    slices = torch.randn(2, 1, 16, 16)
    found = Probabilities(replace(trained, seen=seen))(slices)
    scores = without_class_weights(trained.network().eval()(slices), trained.class_weights).logits
    taught = torch.tensor([[True, False, False, *[True] * (len(structures) - 2)]]).expand(2, -1)
    torch.testing.assert_close(found, merge_unlabelled(scores, taught).softmax(dim=1))


@pytest.mark.slow
def test_onnx_gives_the_probabilities_of_torch_and_says_what_goes_in(tmp_path, generated, caplog):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    path, file = unet_run(tmp_path / "run", generated), tmp_path / "mine.onnx"
    with caplog.at_level(logging.INFO):
        export(compose_line(file, generated, "task=export", f"checkpoint={path}"))
    assert "probabilities differ from torch's by up to" in caplog.text
    props = {item.key: json.loads(item.value) for item in onnx.load(file).metadata_props}
    trained = read_trained(path)
    assert props["structures"] == ["background", *trained.anatomy.structures]
    assert props["size_px"] == OmegaConf.to_object(trained.config.data.size)
    assert props["spacing_mm"] == trained.config.data.spacing_mm
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    slices = torch.randn(3, 1, *props["size_px"])
    (found,) = session.run(["probabilities"], {"image": slices.numpy()})
    scores = trained.network().eval()(slices).logits - trained.class_weights.log()[:, None, None]
    torch.testing.assert_close(torch.from_numpy(found), scores.softmax(dim=1), atol=1e-4, rtol=0)
