"""nnU-Net itself as a row: what `task=export_nnunet` writes it trains on, and `task=score` scores what it predicts."""

import json

import numpy as np
import pandas as pd
import pytest

from datamodules.nnunet_dataset import NUMBER
from lightning_modules.tasks.nnunet_export import export_nnunet
from lightning_modules.tasks.scoring import score
from records import load_run
from tests.conftest import TINY_PHANTOM
from tests.made.nnunet import TRAINER, Nnunet

LINE = (*TINY_PHANTOM, "split.num_folds=2")
NAME = f"Dataset{NUMBER}_phantom"


@pytest.fixture
def exported(composed, tmp_path):
    """The folder of a tiny phantom for nnU-Net."""
    export_nnunet(composed(*LINE, "task=export_nnunet", f"output={tmp_path / 'nnunet'}"))
    return tmp_path / "nnunet"


@pytest.mark.slow
def test_nnunet_trains_on_what_is_exported_and_its_masks_become_a_row(composed, exported, tmp_path):
    """Two folds of which one is trained, by four steps: what is asked is whether everything fits, not how well."""
    nnunet = Nnunet(tmp_path, exported)
    dataset = str(NUMBER)
    nnunet("plan_and_preprocess", "-d", dataset, "-c", "2d", "-np", "1", "-npfp", "1", "--verify_dataset_integrity")
    said = nnunet("train", dataset, "2d", "0", "-tr", TRAINER, "-device", "cpu")
    splits = json.loads((exported / "nnUNet_preprocessed" / NAME / "splits_final.json").read_text())
    numbers = f"{len(splits[0]['train'])} training and {len(splits[0]['val'])} validation cases"
    assert f"This split has {numbers}" in said, "folds of ours, not of its own"
    tests, masks = exported / "nnUNet_raw" / NAME / "imagesTs" / "fold_0", tmp_path / "masks"
    own = ("-c", "2d", "-f", "0", "-tr", TRAINER, "-device", "cpu", "-npp", "0", "-nps", "0")
    nnunet("predict", "-d", dataset, "-i", str(tests), "-o", str(masks), *own)
    score(composed(*LINE, "task=score", f"masks={masks}", "row=nnunet", "fold=0", "scored=fold"))
    cases = pd.read_csv(tmp_path / "run" / "cases.csv")
    slices = pd.read_csv(exported / "nnUNet_raw" / NAME / "slices.csv")
    assert set(cases["case"]) == set(slices.loc[slices["test_fold"] == 0, "case"])
    assert cases["dice"].notna().all()
    assert np.isfinite(cases["dice"]).all()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["masks"] == {"num_missing": 0, "num_resampled": 0, "num_extra_files": 2}, "two of nnU-Net's notes"
    run = load_run(tmp_path / "run")
    assert (run.row, run.fold) == ("nnunet", 0)


@pytest.mark.slow
def test_labels_that_come_back_as_they_went_are_perfect(composed, exported, tmp_path):
    """All folds together, as a second rater: ids are those of dataset.json, which are not the cohort's."""
    labels, raw = tmp_path / "masks", exported / "nnUNet_raw" / NAME
    (raw / "labelsTr").rename(labels)
    (raw / "dataset.json").rename(labels / "dataset.json")
    score(composed(*LINE, "task=score", f"masks={labels}", "row=nnunet"))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["test"]["dice"]["mean"] == 1
    assert summary["test"]["num_patients"] == 8
    card = json.loads((tmp_path / "run" / "run_card.json").read_text())
    assert set(card["masks"]) == {path.name.removesuffix(".nii.gz") for path in labels.glob("*.nii.gz")}
    assert load_run(tmp_path / "run").fold is None


@pytest.mark.parametrize("fold", [0, 1])
def test_a_fold_can_be_scored_by_itself(composed, exported, tmp_path, fold):
    labels, raw = tmp_path / "masks", exported / "nnUNet_raw" / NAME
    (raw / "labelsTr").rename(labels)
    (raw / "dataset.json").rename(labels / "dataset.json")
    score(composed(*LINE, "task=score", f"masks={labels}", "row=nnunet", f"fold={fold}", "scored=fold"))
    slices = pd.read_csv(raw / "slices.csv")
    cases = pd.read_csv(tmp_path / "run" / "cases.csv")
    assert set(cases["patient"]) == set(slices.loc[slices["test_fold"] == fold, "patient"])
    assert load_run(tmp_path / "run").fold == fold


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], r"needs output=DIR, the folder to write nnU-Net's folders into"),
        (["output={folder}"], r"expects a folder that is empty or not there yet; remove what is in it"),
        (["output={folder}/file"], r"expects a folder that is empty or not there yet"),
    ],
)
def test_what_an_export_needs_is_asked_for(composed, tmp_path, overrides, message):
    (tmp_path / "file").touch()
    config = composed("task=export_nnunet", *(word.format(folder=tmp_path) for word in overrides))
    if not overrides:
        config.output = "${hydra:runtime.output_dir}"
    with pytest.raises(ValueError, match=message):
        export_nnunet(config)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_to_be_scored_is_all_or_a_fold(composed, tmp_path):
    with pytest.raises(ValueError, match=r"scored is 'some', expected all \(annotated cases\) or fold"):
        score(composed(*LINE, "task=score", f"masks={tmp_path}", "row=nnunet", "scored=some"))
