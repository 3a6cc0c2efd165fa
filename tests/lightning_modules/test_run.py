"""Whole runs: what they leave, that they go on where they stopped, and what they refuse."""

import json
import shutil
from pathlib import Path

import lightning
import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from datamodules.slices import SliceDataModule
from lightning_modules.tasks import training
from lightning_modules.tasks.rescoring import rescore_folder
from metrics.cases import CASE_COLUMNS
from records.folder import RunFolder
from records.identity import cell_name
from records.registry import LIST, Written, register
from tests.conftest import TINY_PHANTOM, UNDRAWN, compose_line
from tests.made.stopped_runs import StopAt, assert_same_run, stop_at, weights

SMOKE = (*TINY_PHANTOM, "trainer=smoke", "scale.epochs=4", "scale.joint_epochs=1", "trainer.limit_test_batches=1.0")
# A cycle of one epoch each, so that four short epochs hold every phase.
ASYNCHRONOUS = ("experiment=bs_esnet", "callbacks.asynchronous_training.cycle={esnet: 1, bsn: 1}")
CARD = {"command", "commit", "dirty", "data", "split", "versions", "patients", "slices"}


@pytest.fixture(scope="module", autouse=True)
def keep_last():
    """A finished run has no use for last.ckpt; here it shows whether two trainings ended at the same weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "forget_resumption", lambda folder: None)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, generated) -> Path:
    """A finished run, undisturbed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    training.train(compose_line(folder, generated, *SMOKE, *ASYNCHRONOUS))
    return folder


def test_what_a_run_leaves(finished):
    cases = pd.read_csv(finished / "cases.csv")
    assert tuple(cases.columns) == CASE_COLUMNS
    assert not cases.duplicated(["case", "slice", "structure"]).any()
    epochs = pd.read_csv(finished / "metrics.csv")
    assert epochs["epoch"].tolist() == [0, 1, 2, 3]
    assert epochs["schedule/esnet"].tolist() == [1, 1, 0, 0]
    assert epochs["schedule/bsn"].tolist() == [1, 0, 1, 1]
    assert epochs["loss/boxes"].isna().tolist() == [False, True, False, False]
    assert epochs["loss/segmentation"].isna().tolist() == [False, False, True, True]
    assert {"val/dice", "val/box_iou", "val/score", "loss/total"} <= set(epochs.columns)
    summary = json.loads((finished / "summary.json").read_text())
    structures = OmegaConf.load(finished / "config.yaml").anatomy.structures
    assert set(structures) | {"mean"} == set(summary["test"]["dice"])
    for count in ("num_missed", "num_false_alarms", "num_absent", "num_undefined"):
        assert isinstance(summary["test"][count], int)
    assert summary["test"]["num_missed"] == (cases["status"] == "missed").sum()
    assert summary["train"]["num_images"] == 4 * 8
    assert summary["train"]["images_per_s"] > 0
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    learned = {key: value for key, value in weights(finished).items() if key.startswith("network.")}
    expected = sum(value.numel() for key, value in learned.items() if not key.endswith(statistics))
    assert summary["model"]["parameters"] == expected
    assert set(json.loads((finished / "run_card.json").read_text())) >= CARD
    for picture in ("overlays.png", "curves.png", "augmentations.png"):
        assert (finished / "figures" / picture).stat().st_size > 10_000
    assert not list(finished.rglob("*.partial"))


def test_everything_that_a_run_leaves_is_registered(finished):
    known = Written(finished).names
    left = [path.relative_to(finished) for path in finished.rglob("*") if path.is_file()]
    unknown = [str(path) for path in left if not {str(path), *map(str, path.parents)} & set(known)]
    assert sorted(unknown) == [".lock", LIST]


def test_tables_computed_again_from_predictions_are_the_same_to_the_byte(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("checkpoints"))
    assert rescore_folder(copy) == ([], {})
    names = ("cases.csv", "confusion.csv", "morphometry.csv", "summary.json")
    expected = [(finished / name).read_bytes() for name in names]
    assert [(copy / name).read_bytes() for name in names] == expected
    assert all(expected)
    cases = pd.read_csv(copy / "cases.csv", dtype=str, keep_default_na=False)
    cases.drop(columns=["nsd_2mm"]).assign(dice=0.5).to_csv(copy / "cases.csv", index=False)  # of an earlier version
    assert rescore_folder(copy)[0] == ["cases.csv"]
    assert [(copy / name).read_bytes() for name in names] == expected


def test_test_patients_were_never_trained_on(finished):
    split = pd.read_csv(finished / "split.csv", dtype=str, comment="#").query("fold == '0'")
    tested = set(pd.read_csv(finished / "cases.csv", dtype=str)["patient"])
    assert tested == set(split.query("part == 'test'")["patient"])
    assert not tested & set(split.query("part != 'test'")["patient"])


def test_the_best_checkpoint_is_chosen_by_the_smoothed_score(finished):
    epochs = pd.read_csv(finished / "metrics.csv")
    raw = (epochs["val/dice"] + epochs["val/box_iou"]) / 2
    expected = [raw[0]]
    for value in raw[1:]:
        expected.append(0.7 * expected[-1] + 0.3 * value)
    np.testing.assert_allclose(epochs["val/score"], expected, rtol=1e-5)
    best = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == int(np.argmax(epochs["val/score"]))


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 3, 5, 7], ids=["joint", "esnet", "bsn", "tail"])
def test_a_run_stopped_in_any_phase_ends_as_an_undisturbed_one(finished, composed, tmp_path, monkeypatch, step):
    config = composed(*SMOKE, *ASYNCHRONOUS, *UNDRAWN)
    build = training.build

    def build_and_stop(given):
        data, module, trainer = build(given)
        trainer.callbacks.append(StopAt(step))
        return data, module, trainer

    monkeypatch.setattr(training, "build", build_and_stop)
    with pytest.raises(RuntimeError, match="killed"):
        training.train(config)
    monkeypatch.setattr(training, "build", build)
    if step == 5:  # what the disk lost when the machine went down; the checkpoint knows it all
        (tmp_path / "run" / "metrics.csv").write_text("")
        last = tmp_path / "run" / "checkpoints" / "last.ckpt"
        last.write_bytes(last.read_bytes()[:1000])
    training.train(config)
    assert_same_run(finished, tmp_path / "run")


@pytest.mark.slow
def test_albumentations_resume_bit_for_bit_too(composed, tmp_path, generated):
    """The slice-wise augmentation draws from the slices' seeds as well; two epochs in one go and in two."""
    line = (*SMOKE, "experiment=unet", "data/augmentation=papers", "scale.epochs=2")
    whole = compose_line(tmp_path / "whole", generated, *line)
    training.train(whole)
    stop_at(2, compose_line(tmp_path / "parts", generated, *line))
    training.train(compose_line(tmp_path / "parts", generated, *line))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_finished_run_is_not_trained_again_unless_asked(finished, generated):
    before = (finished / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    training.train(compose_line(finished, generated, *SMOKE, *ASYNCHRONOUS))
    assert (finished / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


@pytest.mark.slow
def test_retrain_starts_anew_and_ends_at_the_same_numbers(finished, composed, tmp_path):
    config = composed(*SMOKE, *ASYNCHRONOUS)
    training.train(config)
    stale, foreign = tmp_path / "run" / "region_outputs.csv", tmp_path / "run" / "figures" / "mine.png"
    register(stale)
    for path in (stale, foreign):
        path.write_text("here before")
    config.retrain = True
    training.train(config)
    assert not stale.exists()
    assert foreign.exists(), "what no run has written is not ours to delete"
    assert_same_run(finished, tmp_path / "run")


def test_a_folder_of_another_run_is_refused(finished, generated):
    with pytest.raises(ValueError, match=r"other settings: .*max_epochs: 4 -> 5.*retrain=true"):
        training.train(compose_line(finished, generated, *SMOKE, *ASYNCHRONOUS, "scale.epochs=5"))


def test_two_processes_do_not_share_a_run_folder(composed):
    config = composed(*SMOKE)
    with (
        RunFolder(config.output, config).locked(),
        pytest.raises(ValueError, match="another process is at work"),
        RunFolder(config.output, config).locked(),
    ):
        pass


def test_testing_a_checkpoint_reproduces_the_numbers(finished, composed, tmp_path):
    best = finished / "checkpoints" / "best.ckpt"
    training.test(composed(*SMOKE, *ASYNCHRONOUS, *UNDRAWN, "task=test", f"checkpoint={best}"))
    again = pd.read_csv(tmp_path / "run" / "cases.csv")
    pd.testing.assert_frame_equal(pd.read_csv(finished / "cases.csv"), again)


@pytest.mark.slow
def test_external_validation_tests_every_case_of_another_folder(finished, composed, tmp_path):
    best = finished / "checkpoints" / "best.ckpt"
    other = ("cohort.seed=7", "phantom.num_patients=2", "split=all")
    training.test(composed(*SMOKE, *ASYNCHRONOUS, *other, "task=test", f"checkpoint={best}"))
    cases = pd.read_csv(tmp_path / "run" / "cases.csv")
    assert cases["patient"].nunique() == 2
    assert len(cases[["case", "slice"]].drop_duplicates()) == 8


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["experiment=unet"], r"holds another network.*_target_"),
        (["experiment=bs_esnet", "model.width=8"], r"width: 4 -> 8"),
        (["experiment=bs_esnet", "anatomy=axial7"], "cannot be asked for axial7: it knows no dural_sac, lig"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(finished, composed, overrides, message):
    best = finished / "checkpoints" / "best.ckpt"
    with pytest.raises(ValueError, match=message):
        training.test(composed(*SMOKE, *overrides, "task=test", f"checkpoint={best}"))


@pytest.mark.slow
def test_a_checkpoint_is_asked_for_some_of_its_structures(finished, composed, tmp_path):
    asked = (*SMOKE, "experiment=bs_esnet", "anatomy=axial_muscle4", "task=test", f"output={tmp_path / 'asked'}")
    training.test(composed(*asked, f"checkpoint={finished / 'checkpoints' / 'best.ckpt'}"))
    found = pd.read_csv(tmp_path / "asked" / "cases.csv").query("structure == 'multifidus_left'")
    own = pd.read_csv(finished / "cases.csv").query("structure == 'multifidus_left'")
    assert len(found) == len(own) > 0
    assert (found["area_true_mm2"].to_numpy() == own["area_true_mm2"].to_numpy()).all()


@pytest.mark.parametrize("anatomy", ["axial9", "axial_muscle4"])
def test_images_of_other_channels_are_refused_before_a_tensor_is_too_wide(
    finished, composed, tmp_path, monkeypatch, anatomy
):
    monkeypatch.setattr(SliceDataModule, "num_channels", 2)
    asked = (*SMOKE, "experiment=bs_esnet", f"anatomy={anatomy}", "task=test", f"output={tmp_path / 'asked'}")
    with pytest.raises(ValueError, match=r"best\.ckpt was trained on images of .*cohort phantom.*cohort\.channels"):
        training.test(composed(*asked, f"checkpoint={finished / 'checkpoints' / 'best.ckpt'}"))


def test_testing_never_touches_the_folder_of_the_training(finished, generated):
    best = finished / "checkpoints" / "best.ckpt"
    with pytest.raises(ValueError, match=r"other settings: .*task: train -> test"):
        training.test(compose_line(finished, generated, *SMOKE, *ASYNCHRONOUS, "task=test", f"checkpoint={best}"))
    assert best.exists()


def test_task_test_needs_a_checkpoint(composed):
    with pytest.raises(ValueError, match="task=test checkpoint=FILE needs an existing checkpoint"):
        training.test(composed(*SMOKE, "task=test"))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_cases(composed, tmp_path, monkeypatch):
    config = composed(*SMOKE, *UNDRAWN, "experiment=unet")
    build = training.build
    seen = []

    class Poison(lightning.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 3:
                batch.image.fill_(torch.nan)
                seen.extend(batch.case)

    def build_and_poison(given):
        data, module, trainer = build(given)
        trainer.callbacks.append(Poison())
        return data, module, trainer

    monkeypatch.setattr(training, "build", build_and_poison)
    with pytest.raises(ValueError, match="the loss is nan at epoch 1, step 3, on the cases") as caught:
        training.train(config)
    assert all(case in str(caught.value) for case in seen)
    saved = weights(tmp_path / "run")
    assert all(np.isfinite(value.numpy()).all() for value in saved.values()), "the last good checkpoint is kept"


@pytest.mark.slow
def test_no_validation_in_a_cohort_of_two(composed, tmp_path, caplog):
    """With two patients one trains and one tests: best is last."""
    with caplog.at_level("INFO"):
        training.train(composed(*SMOKE, "experiment=unet", "phantom.num_patients=2", "split.num_folds=2"))
    assert "Nobody validates" in caplog.text
    best, last = weights(tmp_path / "run", "best"), weights(tmp_path / "run")
    assert all(torch.equal(best[key], last[key]) for key in last)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["fold=5"], r"fold.*5"),
        pytest.param(["phantom.num_patients=3"], r"only 3 patient", marks=pytest.mark.slow),
        pytest.param(["data.size=[60,64]"], r"60 x 64 pixels.*data\.size=\[64,64\]", marks=pytest.mark.slow),
        (["callbacks.asynchronous_training.joint_epochs=4"], r"do not fit into trainer\.max_epochs=4"),
    ],
)
def test_what_cannot_be_trained_is_refused(composed, overrides, message):
    from hydra.errors import InstantiationException

    with pytest.raises((ValueError, InstantiationException), match=message):
        training.train(composed(*SMOKE, "experiment=bs_esnet", *overrides))


@pytest.mark.slow
def test_the_name_of_a_run_follows_from_what_comes_out_of_it(composed):
    def name(*overrides: str) -> str:
        return cell_name(_root_=composed(*overrides))

    base = name()
    assert len(base) == 12
    assert base == name("output=elsewhere", "machine.num_workers=1", "logger=csv", "retrain=true", "paths.data=d")
    assert base == name("experiment=bs_esnet", "ablation=none")
    assert base == name("~callbacks.augmentation_sheet"), "cells from before there was a sheet keep their names"
    assert base == name("callbacks.overlays.num_slices=3", "callbacks.progress_bar.refresh_rate=9", "~callbacks.cost")
    assert base == name("anatomy.colours.disc='#123456'", "trainer.log_every_n_steps=1", "logger=wandb")
    assert name("experiment=unet") == name("experiment=unet", "callbacks=agreement")
    assert base != name("metrics.smoothing=0.5")
    names = [base, name("seed=1"), name("fold=1"), name("ablation=no_sag"), name("task=test", "checkpoint=a")]
    names.append(name("task=test", "checkpoint=b"))
    assert len(set(names)) == len(names)
