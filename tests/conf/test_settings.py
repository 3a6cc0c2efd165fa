"""What is wrong with a setting is said in one line, before a folder is made or an image is read."""

import pytest
import torch

from lightning_modules.tasks.command_line import mistake, options_first
from lightning_modules.tasks.settings import check_settings, did_you_mean
from tests.conftest import ROOT, TINY_PHANTOM
from tests.made.grids import places, start

EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))

WRONG = {
    "scale.epochs=two": "scale.epochs is 'two', expected a whole number from 1 on",
    "scale.epochs=0": "scale.epochs is 0, expected a whole number from 1 on",
    "trainer.max_epochs=-1": "trainer.max_epochs is -1, expected a whole number from 1 on",
    "scale.batch_size=0": "scale.batch_size is 0, expected a whole number from 1 on",
    "seed=-1": "seed is -1, expected a whole number from 0 on, at most 4294967295",
    "seed=true": "seed is True, expected a whole number",
    "fold=x": "fold is 'x', expected a whole number from 0 on",
    "model.width=0": "model.width is 0, expected a whole number from 1 on",
    "optimizer.lr=1e-3x": "optimizer.lr is '1e-3x', expected a number above 0",
    "optimizer.lr=-1": "optimizer.lr is -1, expected a number above 0",
    "optimizer.momentum=0.9": "there is no optimizer.momentum: torch.optim.Adam has",
    "optimizer.bettas=[0.9,0.99]": "there is no optimizer.bettas (did you mean betas?)",
    "split.num_folds=two": "split.num_folds is 'two', expected a whole number",
    "scheduler.power=abc": "scheduler.power is 'abc', expected a number",
    "trainer.limit_val_batches=all": "trainer.limit_val_batches is 'all', expected a number or null",
    "trainer.gradient_clip_vall=1": "there is no trainer.gradient_clip_vall (did you mean gradient_clip_val?)",
    "trainer.fast_dev_run=true": "trainer.fast_dev_run keeps no checkpoint",
    "trainer.limit_train_batches=0": "trainer.limit_train_batches is 0, expected a number above 0",
    "machine.precision=bf16-true": "machine.precision is 'bf16-true' (did you mean bf16-mixed?)",
    "machine.precision=64-true": "machine.precision is '64-true'",
    "callbacks.overlays.num_slices=x": "callbacks.overlays.num_slices is 'x', expected a whole number",
    "task=trian": "task is 'trian' (did you mean train?)",
    "cohort=axial_muscle": "cohort.root is missing: give cohort.root=VALUE",
}


@pytest.mark.parametrize("word", WRONG)
def test_a_wrong_setting_is_named_with_what_was_expected(composed, word):
    added = "+" * (word.split("=")[0] in ("optimizer.momentum", "optimizer.bettas", *ADDED))
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check_settings(composed("experiment=unet", f"{added}{word}"))
    assert str(error.value).startswith(WRONG[word])


ADDED = ("trainer.gradient_clip_vall", "trainer.fast_dev_run")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_passes(composed, experiment):
    check_settings(composed(f"experiment={experiment}", "trainer=paper"))


def test_a_processor_is_offered_where_there_is_no_device(composed, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=r"accelerator is gpu .* this machine has 0 CUDA device\(s\): machine=cpu"):
        check_settings(composed("machine=gpu"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_settings(composed("machine=gpu"))
    with pytest.raises(ValueError, match="devices=2"):
        check_settings(composed("machine=gpu", "machine.devices=2"))


LINES = {
    "scale.epochs=two": "scale.epochs is 'two'",
    "experiment=unett": "there is no experiment=unett (did you mean unet?): choose from attention_unet, ",
    "model.widht=8": "(did you mean width?)",
    "ablation=mcca": "ablation=mcca replaces model/adapter, which this experiment has not: give experiment=scarnet",
    "model.width=[3": "no viable alternative",
    "cohort=axial_muscle": "cohort.root is missing",
    "task=status": "task=status lists the cells of a grid",
}


@pytest.mark.parametrize("word", LINES)
def test_a_mistake_in_a_line_is_one_line_and_leaves_nothing(tmp_path, generated, capsys, word):
    first = () if word.startswith("experiment") else ("experiment=unet",)
    folders = (f"hydra.run.dir={tmp_path / 'run'}", *places(tmp_path / "grid", generated), "logger=csv")
    assert start(*first, word, *folders) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("paraspine: ")
    assert LINES[word] in line
    assert not list(tmp_path.iterdir())


def test_multirun_may_stand_between_the_overrides(tmp_path, generated, capsys):
    assert options_first(["experiment=unet", "-m", "fold=0,1"]) == ["-m", "experiment=unet", "fold=0,1"]
    assert options_first(["a=1", "--cfg", "job", "b=2"]) == ["--cfg", "job", "a=1", "b=2"]
    assert start("experiment=unet", "-m", "fold=0,1", "task=status", *places(tmp_path / "grid", generated)) == 1
    assert "none of the 2 cells" in capsys.readouterr().out


def test_the_nearest_name_is_offered_and_none_where_nothing_is_near():
    assert did_you_mean("bs_esnt", ["unet", "bs_esnet"]) == " (did you mean bs_esnet?)"
    assert did_you_mean("xyz", ["unet"]) == ""


def test_an_ablation_of_no_row_says_so_without_a_name():
    error = ValueError("In 'ablation/odd': Could not override 'model/part'. No match in the defaults list.")
    assert "give the experiment that it belongs to" in mistake(error, ROOT / "conf")
    assert "Could not override" in mistake(error)
    moved = ValueError("Could not override 'callbacks.case_table.smoothing'.")
    assert mistake(moved) == "callbacks.case_table.smoothing has moved: give metrics.smoothing"


def test_without_a_progress_bar_a_run_trains_as_well(composed):
    from lightning_modules.tasks.training import build

    config = composed(*TINY_PHANTOM, "experiment=unet", "trainer=smoke", "+trainer.enable_progress_bar=false")
    check_settings(config)
    _, _, trainer = build(config)
    assert trainer.progress_bar_callback is None


def test_a_checkpoint_of_other_channels_is_refused_in_one_line(composed):
    from lightning_modules.tasks.same_network import check_same_shapes
    from lightning_modules.tasks.training import build

    data, module, _ = build(composed(*TINY_PHANTOM, "experiment=unet", "trainer=smoke"))
    weights = module.state_dict()
    first = next(name for name in weights if weights[name].ndim == 4)
    wider = {**weights, first: torch.cat([weights[first]] * 2, dim=1)}
    with pytest.raises(ValueError, match=r"two\.ckpt was trained on images of other channels than the 1 of the cohort"):
        check_same_shapes(wider, "two.ckpt", module, data)
    check_same_shapes(weights, "one.ckpt", module, data)
