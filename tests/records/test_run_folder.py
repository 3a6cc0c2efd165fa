"""The folder of a run: what is cleared, what is never touched, what is damaged, and how its name is found."""

import json
from pathlib import Path

import lightning
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from callbacks.checkpoints import AtomicCheckpointIO
from callbacks.loggers import run_id
from lightning_modules.tasks.checkpoint_files import latest_whole, read_checkpoint
from lightning_modules.tasks.training import card_identity
from records.folder import ERROR, RunFolder
from records.identity import ACTING, MEASURES, ONLOOKERS, cell_name, run_name
from records.registry import IDENTITY, LIST, Written, register
from tests.conftest import ROOT


class MyPicture(lightning.Callback):
    """A callback of one's own that only draws."""

    only_looks_on = True


class MyStop(lightning.Callback):
    """A callback of one's own that does not say what it does."""


def config_of(folder: Path, **changed) -> DictConfig:
    """As small as a configuration can be that has an identity."""
    callbacks = {"overlays": {"_target_": "callbacks.overlays.Overlays", "num_slices": 6}}
    given = {
        **{"task": "train", "output": str(folder), "checkpoint": None, "seed": 0, "paths": {}, "machine": {}},
        **{"cohort": {"root": None, "licence": "CC0"}, "supervision": {"weak_cohort": None}},
        **{"anatomy": {"view": "axial", "colours": {"disc": "#000000"}}, "callbacks": callbacks},
        "trainer": {"max_epochs": 4},
    }
    return OmegaConf.create({**given, **changed})


def claimed(folder: Path, **changed) -> RunFolder:
    run = RunFolder(folder, config_of(folder, **changed))
    with run.locked():
        run.claim()
    return run


def leave(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("somebody's")


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {".lock"}


def test_nothing_is_touched_in_a_folder_that_is_no_runs(tmp_path):
    theirs = ("figures/a.png", "config.yaml", "checkpoints/last.ckpt", "predictions/index.csv")
    leave(tmp_path, *theirs)
    run = RunFolder(tmp_path, config_of(tmp_path))
    run.clear()
    with pytest.raises(ValueError, match=r"config\.yaml, which no run wrote .*hydra\.run\.dir"):
        run.claim()
    assert files_in(tmp_path) == set(theirs)
    assert {(tmp_path / name).read_text() for name in theirs} == {"somebody's"}


def test_what_a_writer_registers_is_cleared_and_what_lies_beside_it_is_not(tmp_path):
    run = claimed(tmp_path)
    register(tmp_path / "region_outputs.csv", tmp_path / "figures" / "overlays.png", tmp_path / "predictions")
    leave(tmp_path, "region_outputs.csv", "figures/overlays.png", "predictions/0.npz", ".region_outputs.csv.partial")
    leave(tmp_path, "figures/mine.png", "cases.csv")
    run.clear()
    assert files_in(tmp_path) == {"figures/mine.png", "cases.csv"}
    assert not (tmp_path / "predictions").exists()
    claimed(tmp_path)
    with pytest.raises(ValueError, match=r"cases\.csv, which no run wrote"):
        register(tmp_path / "cases.csv")


def test_a_run_from_before_there_was_a_list_is_cleared_as_a_whole(tmp_path):
    leave(tmp_path, IDENTITY, "region_outputs.csv", "figures/overlays.png", "summary.json", "notes.txt")
    RunFolder(tmp_path).clear()
    assert files_in(tmp_path) == {"notes.txt"}


def test_a_list_that_names_a_place_outside_of_the_folder_deletes_nothing_there(tmp_path):
    run = claimed(tmp_path / "run")
    leave(tmp_path, "outside.txt")
    with (tmp_path / "run" / LIST).open("a") as file:
        file.write("../outside.txt\n")
    run.clear()
    assert (tmp_path / "outside.txt").exists()


def test_a_cell_that_failed_and_was_repaired_by_a_single_run_has_no_error_left(tmp_path):
    leave(tmp_path, ERROR)
    claimed(tmp_path)
    assert not (tmp_path / ERROR).exists()


@pytest.mark.parametrize("text", ["", '{"task": "tr'])
def test_a_damaged_identity_is_named_and_a_new_start_mends_it(tmp_path, text):
    run = claimed(tmp_path)
    (tmp_path / IDENTITY).write_text(text)
    with pytest.raises(ValueError, match=r"\.identity\.json is (empty|cut off).*retrain=true"):
        run.claim()
    run.clear()
    run.claim()
    assert json.loads((tmp_path / IDENTITY).read_text())["seed"] == 0


def test_a_damaged_run_card_is_named_with_the_remedy(tmp_path):
    (tmp_path / "run_card.json").write_text("")
    with pytest.raises(ValueError, match=r"run_card\.json is empty: .*Put the file back, or start anew"):
        card_identity(tmp_path)


def test_an_empty_id_of_a_wandb_run_does_not_stop_a_run(tmp_path, caplog):
    (tmp_path / "run_id").touch()
    made = run_id(tmp_path / "run_id", "cell")
    assert made.startswith("cell-")
    assert "is empty" in caplog.text
    assert run_id(tmp_path / "run_id", "cell") == made


def test_the_checkpoint_before_the_last_takes_the_place_of_a_damaged_one(tmp_path, caplog):
    writer, run = AtomicCheckpointIO(), RunFolder(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for epoch in range(3):
        writer.save_checkpoint({"state_dict": {}, "epoch": epoch}, tmp_path / "checkpoints" / "last.ckpt")
        writer.save_checkpoint({"state_dict": {}, "epoch": epoch}, tmp_path / "checkpoints" / "best.ckpt")
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
        "last.previous.ckpt",
    ]

    def went_on_from() -> tuple[str, int]:
        found = latest_whole(run.last_checkpoints)
        assert found is not None
        return found[0].name, found[1]["epoch"]

    assert went_on_from() == ("last.ckpt", 2)
    last, previous = run.last_checkpoints
    last.write_bytes(last.read_bytes()[:200])
    assert went_on_from() == ("last.previous.ckpt", 1)
    assert "last.ckpt is cut off" in caplog.text
    previous.write_bytes(b"")
    with pytest.raises(ValueError, match=r"last\.previous\.ckpt is cut off or no checkpoint: start anew"):
        went_on_from()
    run.forget_resumption()
    assert latest_whole(run.last_checkpoints) is None


def test_what_is_no_checkpoint_is_named(tmp_path):
    torch.save({"weights": 1}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"a\.ckpt holds no checkpoint: take another"):
        read_checkpoint(tmp_path / "a.ckpt", "take another")


LIGHTNING = "lightning.pytorch.callbacks"
HERE = "tests.records.test_run_folder"


def callbacks_with(**changed):
    return {"callbacks": {**OmegaConf.to_container(config_of(Path()).callbacks), **changed}}


CASE_TABLE = {"_target_": "callbacks.case_table.CaseTable", "folder": None}


def chosen_by(*, score=("dice",), smoothing=0.7, **measures):
    """Settings that choose the best checkpoint, where they stand today."""
    ours = {name: {"_target_": target} for name, target in zip("abc", sorted(MEASURES), strict=True)}
    metrics = {"measures": {**ours, **measures}, "score": list(score), "smoothing": smoothing}
    return {**callbacks_with(case_table=CASE_TABLE), "metrics": metrics}


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        (callbacks_with(overlays={"_target_": "callbacks.overlays.Overlays", "colours": {"truth": "#ffffff"}}), True),
        (callbacks_with(progress_bar={"_target_": f"{LIGHTNING}.TQDMProgressBar", "refresh_rate": 7}), True),
        (callbacks_with(mine={"_target_": f"{LIGHTNING}.LearningRateMonitor"}), True),
        (callbacks_with(mine={"_target_": f"{HERE}.MyPicture"}), True),
        ({"anatomy": {"view": "axial", "colours": {"disc": "#ffffff"}}}, True),
        ({"logger": {"_target_": "callbacks.loggers.CellLogger"}}, True),
        ({"trainer": {"max_epochs": 4, "log_every_n_steps": 1, "enable_progress_bar": False}}, True),
        ({"cohort": {"root": "elsewhere", "licence": "CC-BY"}}, True),
        (callbacks_with(mine={"_target_": f"{HERE}.MyStop"}), False),
        (callbacks_with(mine={"_target_": "callbacks.region_table.RegionTable", "outputs": ["muscle"]}), True),
        (callbacks_with(mine={"_target_": f"{LIGHTNING}.EarlyStopping", "monitor": "val/dice"}), False),
        (chosen_by(), True),
        (chosen_by(smoothing=0.5), False),
        (chosen_by(score=["dice", "box_iou"]), False),
        (chosen_by(mine={"_target_": f"{HERE}.MyMeasure"}), False),
        ({"trainer": {"max_epochs": 5}}, False),
        ({"seed": 1}, False),
    ],
)
def test_a_name_changes_with_what_can_change_a_number_and_with_nothing_else(tmp_path, changed, is_same):
    # Before there was a node `metrics`, what chooses the best checkpoint stood at the table of cases.
    older = (
        callbacks_with(case_table={**CASE_TABLE, "score": ["dice"], "smoothing": 0.7}) if "metrics" in changed else {}
    )
    before, after = (cell_name(_root_=config_of(tmp_path, **more)) for more in (older, changed))
    assert (before == after) == is_same


def test_a_folder_that_an_older_version_named_is_found(tmp_path):
    """Its identity had the callbacks that draw, and colours, so that its name was another."""
    older = OmegaConf.to_container(config_of(tmp_path))
    assert isinstance(older, dict)
    older |= {"output": None}
    leave(tmp_path, f"unet-000000000000/{IDENTITY}", f"unet-111111111111/{IDENTITY}")
    (tmp_path / "unet-111111111111" / IDENTITY).write_text(json.dumps(older))
    assert run_name(str(tmp_path), "unet", _root_=config_of(tmp_path)) == "unet-111111111111"
    ours = claimed(tmp_path / "unet-111111111111").path
    assert run_name(str(tmp_path), "unet", _root_=config_of(tmp_path)) == ours.name
    new = run_name(str(tmp_path), "unet", _root_=config_of(tmp_path, seed=1))
    assert new == f"unet-{cell_name(_root_=config_of(tmp_path, seed=1))}"
    assert run_name(str(tmp_path), "bs_esnet", _root_=config_of(tmp_path)).startswith("bs_esnet-")


def test_every_callback_of_ours_is_known_to_look_on_or_to_act():
    from hydra.utils import get_class

    chosen = set()
    for file in (ROOT / "conf" / "callbacks").glob("*.yaml"):
        nodes = [node for node in OmegaConf.load(file).values() if isinstance(node, DictConfig)]
        chosen |= {node["_target_"] for node in nodes if "_target_" in node}
    assert chosen <= ONLOOKERS | ACTING
    assert not ONLOOKERS & ACTING
    assert all(issubclass(get_class(target), lightning.Callback) for target in ONLOOKERS | ACTING)


def test_the_list_survives_a_second_claim(tmp_path):
    claimed(tmp_path)
    register(tmp_path / "cases.csv")
    claimed(tmp_path)
    assert Written(tmp_path).names == ["config.yaml", IDENTITY, "cases.csv"]
