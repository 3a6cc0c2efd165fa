"""The name of a run's folder holds what is in a file that it was given, not where that file lies."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lightning_modules.tasks.same_network import network_differences
from records.folder import RunFolder
from records.identity import cell_name, run_name
from records.registry import IDENTITY
from tests.records.test_run_folder import claimed, config_of

SETTINGS = [("split", "path"), ("model", "weights"), ("model", "init")]
TEXT = "fold,part,patient\n0,test,a\n"


def file_in(folder: Path, text: str = TEXT) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "given").write_text(text)
    return str(folder / "given")


@pytest.mark.parametrize(("group", "key"), SETTINGS)
def test_a_moved_file_changes_no_name_and_another_content_does(tmp_path, monkeypatch, group, key):
    def name(path: str) -> str:
        return cell_name(_root_=config_of(tmp_path / "run", **{group: {key: path}}))

    first = name(file_in(tmp_path / "home"))
    assert first == name(file_in(tmp_path / "other home" / "x"))
    monkeypatch.chdir(tmp_path / "home")
    assert first == name("given")
    assert first != name(file_in(tmp_path / "new", TEXT.replace("a", "b")))
    assert first != name(str(tmp_path / "missing"))


def test_prompts_are_named_by_what_their_run_has_found(tmp_path):
    """A run folder that is moved is the same; one that was trained anew is not."""

    def name(path: Path) -> str:
        return cell_name(_root_=config_of(tmp_path / "run", model={"prompts": str(path)}))

    for folder, scores in (("here", "0.9"), ("there", "0.9"), ("anew", "0.8")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cases.csv").write_text(f"case,dice\na,{scores}\n")
    assert name(tmp_path / "here") == name(tmp_path / "there") != name(tmp_path / "anew")
    assert name(tmp_path / "nowhere") != name(tmp_path / "here")


def test_the_folder_of_an_older_version_keeps_its_name_and_goes_on(tmp_path):
    path = file_in(tmp_path)
    old = tmp_path / "runs" / "unet-0123456789ab"
    claimed(old, split={"path": path})
    stored = json.loads((old / IDENTITY).read_text())
    (old / IDENTITY).write_text(json.dumps({**stored, "split": {"path": path}}))  # as it wrote it
    config = config_of(old, split={"path": file_in(tmp_path / "moved")})
    assert run_name(str(tmp_path / "runs"), "unet", _root_=config) == old.name
    with RunFolder(old, config).locked():
        RunFolder(old, config).claim()
    other = config_of(old, split={"path": file_in(tmp_path / "other", TEXT + "0,train,b\n")})
    with pytest.raises(ValueError, match=r"a run with other settings: split\.path: content:\w{12} -> content:\w{12}"):
        RunFolder(old, other).claim()


def test_a_network_is_the_same_wherever_its_training_started_from(tmp_path):
    model = {"_target_": "models.unet.UNet", "width": 8}
    checkpoint = {"network": OmegaConf.to_yaml({"model": {**model, "weights": "/gone/a.pt"}, "structures": ["a"]})}
    config = OmegaConf.create({"model": {**model, "weights": None}, "anatomy": {"structures": ["a"]}})
    assert network_differences(checkpoint, "best.ckpt", config) == []
    wider = OmegaConf.merge(config, {"model": {"width": 16}})
    assert network_differences(checkpoint, "best.ckpt", wider) == ["model.width: 8 -> 16"]
