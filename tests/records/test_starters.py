"""Networks that are handed on: their files, their cards, what they predict unasked, what starts from them."""

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from datamodules.anatomy import Anatomy
from lightning_modules.evaluation.regrouped import Regrouped, class_groups
from lightning_modules.prediction import task as prediction_task
from lightning_modules.prediction.task import predict
from lightning_modules.tasks.checkpoint_files import read_checkpoint
from lightning_modules.tasks.initial_weights import take
from lightning_modules.tasks.named_checkpoints import one_checkpoint
from lightning_modules.tasks.trained_network import TrainedNetwork, read_trained, write_weights
from models.prediction import Prediction
from models.strides import Strides
from models.unet import UNet
from records import starters
from records.starters import card_facts, shipped_starters, starter_of, write_card
from tests.conftest import compose_line
from tests.made.predicted_scans import picture, run_config, write_run, write_scan


def anatomy(*structures: str, view="axial", **more) -> Anatomy:
    return Anatomy(name="made", view=view, structures=structures, colours=dict.fromkeys(structures, "#000000"), **more)


FINE = anatomy(*("dural_sac", "epidural_space", "psoas_left", "psoas_right", "disc"), parts={"disc": ["L3/4", "L4/5"]})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, generated):
    folder = tmp_path_factory.mktemp("trained") / "run"
    return write_run(folder, run_config(folder, generated))


@pytest.fixture
def shipped(tmp_path, monkeypatch, generated, checkpoint):
    """A folder of starters in which axial has one, with its card."""
    folder = tmp_path / "weights"
    folder.mkdir()
    path = folder / "starter_axial.safetensors"
    write_card(path.with_suffix(".md"), {"sha256": write_weights(read_trained(checkpoint), path)}, "# A network\n")
    monkeypatch.setattr(starters, "FOLDER", folder)
    monkeypatch.setattr(prediction_task, "shipped_starters", lambda: shipped_starters(folder))
    return path


def test_canal_is_what_lies_between_its_walls():
    coarse = anatomy("canal", "psoas", "disc", "liver", parts={"canal": ["dural_sac", "epidural_space"]})
    assert coarse.unions_of(FINE) == {"canal": ("dural_sac", "epidural_space"), "disc": ("disc",)}
    both = anatomy("psoas", parts={"psoas": ["psoas_left", "psoas_right"]})
    assert both.unions_of(FINE) == {"psoas": ("psoas_left", "psoas_right")}
    half = anatomy("canal", parts={"canal": ["dural_sac", "fat"]})
    assert half.unions_of(FINE) == {}, "a part of it is nobody's"


def test_probabilities_of_parts_are_added_and_the_rest_is_background():
    coarse = anatomy("disc", "canal", parts={"canal": ["dural_sac", "epidural_space"]})
    assert class_groups(FINE, coarse) == [[0, 3, 4], [5], [1, 2]]
    scores = torch.randn(2, 6, 3, 4)
    weights = torch.tensor([0.5, 1.0, 2.0, 1.0, 1.0, 3.0])

    class Fixed(torch.nn.Module):
        strides = Strides(1, 16)

        def forward(self, image, boxes=None):
            return Prediction(logits=scores)

    network = Regrouped(Fixed(), weights, trained=FINE, asked=coarse)
    found = network(torch.zeros(2, 1, 3, 4)).logits.softmax(dim=1)
    fine = (scores - weights.log()[:, None, None]).softmax(dim=1)
    expected = torch.stack([fine[:, [0, 3, 4]].sum(1), fine[:, 5], fine[:, [1, 2]].sum(1)], dim=1)
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="anatomy made and cannot be asked for made: it knows no liver"):
        class_groups(FINE, anatomy("liver"))
    with pytest.raises(ValueError, match="axial slices, not sagittal"):
        class_groups(FINE, anatomy("disc", view="sagittal"))


def test_weights_come_back_in_half_precision_and_name_nobodys_files(tmp_path, checkpoint):
    trained = read_trained(checkpoint)
    digest = write_weights(trained, tmp_path / "given.safetensors")
    again = read_trained(tmp_path / "given.safetensors")
    assert again.weights["threshold"] == trained.weights["threshold"].half().float()
    assert again.anatomy == trained.anatomy
    assert "somewhere" not in (tmp_path / "given.safetensors").read_bytes().decode(errors="ignore")
    assert write_weights(trained, tmp_path / "again.safetensors") == digest, "the same file of the same network"


def test_what_is_no_file_of_weights_says_so(tmp_path):
    path = tmp_path / "odd.safetensors"
    with pytest.raises(ValueError, match=r"odd\.safetensors is missing: fetch it"):
        read_checkpoint(path, "fetch it")
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"odd\.safetensors is cut off or holds no weights: fetch it"):
        read_checkpoint(path, "fetch it")
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="does not say how to use its weights"):
        read_checkpoint(path, "fetch it")


def test_a_starter_is_trusted_by_its_hash(shipped):
    assert starter_of("axial", shipped.parent) == shipped
    assert shipped_starters(shipped.parent) == [shipped]
    with pytest.raises(ValueError, match="there is no starter for sagittal slices"):
        starter_of("sagittal", shipped.parent)
    content = bytearray(shipped.read_bytes())
    content[-1] ^= 1
    shipped.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"its SHA-256 is [0-9a-f]{64}, but its card says [0-9a-f]{64}"):
        starter_of("axial", shipped.parent)


def test_the_words_of_a_card_outlive_new_facts(tmp_path):
    card = tmp_path / "card.md"
    write_card(card, {"sha256": "1"}, "# Written once\n")
    card.write_text(card.read_text() + "\nBy people.\n")
    write_card(card, {"sha256": "2", "patients": "240 synthetic"}, "# Not this\n")
    assert card_facts(card) == {"sha256": "2", "patients": "240 synthetic"}
    assert card.read_text().endswith("# Written once\n\nBy people.\n")
    assert card_facts(tmp_path / "none.md") == {}


def test_without_a_checkpoint_the_starter_of_the_view_predicts(tmp_path, generated, shipped):
    scans, output = tmp_path / "scans", tmp_path / "predicted"
    scans.mkdir()
    write_scan(scans / "anna.nii.gz", picture())
    write_scan(scans / "bert.nii.gz", picture(), view="sagittal")
    line = ("task=predict", f"input={scans}")
    with pytest.raises(ValueError, match=r"1 scan\(s\) could not be predicted:\nbert: .*not axial"):
        predict(compose_line(output, generated, *line))
    assert list(pd.read_csv(output / "morphometry.csv")["case"].unique()) == ["anna"]
    page = (output / "anna" / "summary.html").read_text()
    assert "1 network(s): starter_axial" in page


def test_each_starter_takes_the_scans_of_its_view(tmp_path, generated, shipped, monkeypatch, caplog):
    config = run_config(tmp_path / "run", generated)
    config.anatomy.view = "sagittal"
    config.anatomy.mirror = []
    second = write_run(tmp_path / "run", config)
    sagittal = shipped.with_name("starter_sagittal.safetensors")
    write_card(sagittal.with_suffix(".md"), {"sha256": write_weights(read_trained(second), sagittal)}, "")
    scans, output = tmp_path / "scans", tmp_path / "predicted"
    scans.mkdir()
    write_scan(scans / "anna.nii.gz", picture())
    write_scan(scans / "bert.nii.gz", picture(), view="sagittal")
    predict(compose_line(output, generated, "task=predict", f"input={scans}", "checkpoint=starter"))
    for view, name in (("axial", "anna"), ("sagittal", "bert")):
        cases = pd.read_csv(output / view / "scans.csv").set_index("case")["refused"]
        assert cases.isna()[name]
        assert list(pd.read_csv(output / view / "morphometry.csv")["case"].unique()) == [name]
        assert not (output / view / ("bert" if name == "anna" else "anna")).exists(), "no page of what is not its own"
    assert "is not predicted" not in caplog.text


def test_no_checkpoint_and_no_starter_says_what_is_needed(tmp_path, generated, monkeypatch):
    monkeypatch.setattr(prediction_task, "shipped_starters", list)
    scan = write_scan(tmp_path / "scan.nii.gz", picture())
    with pytest.raises(ValueError, match="needs checkpoint=FILE"):
        predict(compose_line(tmp_path / "out", generated, "task=predict", f"input={scan}"))
    with pytest.raises(ValueError, match="checkpoint=starter: no starter is part of this version"):
        predict(compose_line(tmp_path / "out", generated, "task=predict", f"input={scan}", "checkpoint=starter"))


def unet(structures: Anatomy, *, width=4, seed=0, channels=1) -> UNet:
    torch.manual_seed(seed)
    return UNet(in_channels=channels, num_classes=structures.num_classes, width=width, depth=3)


def trained_unet(structures: Anatomy, tmp_path, **more) -> TrainedNetwork:
    plain = {"name": structures.name, "view": structures.view, "structures": list(structures.structures)}
    node = {"_target_": "datamodules.anatomy.Anatomy", **plain, "colours": dict(structures.colours)}
    node["parts"] = {name: list(parts) for name, parts in structures.parts.items()}
    config = OmegaConf.create({"anatomy": node, "model": {"width": 4}, "cohort": {}})
    weights = unet(structures, seed=1, **more).state_dict()
    path = tmp_path / "given.ckpt"
    return TrainedNetwork(
        path=path, config=config, weights=weights, class_weights=torch.ones(structures.num_classes), seen=None
    )


def test_classes_are_matched_by_name_and_what_has_no_counterpart_starts_fresh(tmp_path):
    mine = anatomy("liver", "canal", "disc", parts={"canal": ["dural_sac", "epidural_space"], "disc": ["L3/4", "L4/5"]})
    trained, network = trained_unet(FINE, tmp_path), unet(mine)
    fresh = {name: weight.clone() for name, weight in network.state_dict().items()}
    taken = take(network, trained, mine)
    given, own = trained.weights["head.weight"], network.state_dict()["head.weight"]
    torch.testing.assert_close(own[0], given[0])
    torch.testing.assert_close(own[1], fresh["head.weight"][1])
    torch.testing.assert_close(own[2], (given[1] + given[2]) / 2)
    torch.testing.assert_close(own[3], given[5])
    torch.testing.assert_close(
        network.state_dict()["encoder.stages.0.0.weight"], trained.weights["encoder.stages.0.0.weight"]
    )
    assert taken.classes == {
        "background": "background",
        "liver": "fresh",
        "canal": "dural_sac + epidural_space",
        "disc": "disc",
    }
    assert taken.fresh == ()
    table = taken.table()
    assert set(table["kind"]) == {"class", "weights"}


def test_images_of_other_channels_start_with_a_fresh_first_layer(tmp_path):
    network = unet(FINE, channels=2)
    taken = take(network, trained_unet(FINE, tmp_path), FINE)
    assert taken.fresh == ("encoder.stages.0.0.weight",)


def test_another_network_or_view_is_no_start(tmp_path):
    with pytest.raises(ValueError, match=r"holds another network: .*model\.width=4"):
        take(unet(FINE, width=8), trained_unet(FINE, tmp_path), FINE)
    with pytest.raises(ValueError, match="was trained on axial slices, anatomy made has sagittal ones"):
        take(unet(FINE), trained_unet(FINE, tmp_path), anatomy("disc", view="sagittal"))
    with pytest.raises(ValueError, match=r"model\.init needs an existing checkpoint, .*given: nowhere\.ckpt"):
        one_checkpoint("nowhere.ckpt", "axial", "model.init")
