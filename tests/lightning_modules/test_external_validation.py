"""Every cohort file reads a folder that is not the one it was written for, and a trained network is tested on it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hydra.utils import instantiate
from omegaconf import DictConfig

from callbacks.terminal import print_summary
from datamodules.folds import HoldOut, PatientFolds
from lightning_modules.tasks import training
from lightning_modules.tasks.scoring import score
from tests.conftest import ROOT, compose_line
from tests.made.scans import random_image, write_volume
from tests.made.spines import SAGITTAL

pytestmark = pytest.mark.slow  # whole trainings and tests

COHORTS = sorted(path.stem for path in (ROOT / "conf" / "cohort").glob("*.yaml"))
PHANTOMS = {
    "phantom": ("phantom.size=64", "phantom.spacing_mm=3.0", "cohort.num_workers=1"),
    "phantom_sagittal": ("phantom.size=72", "phantom.spacing_mm=4.0", "cohort.num_workers=1"),
}
PIXEL_MM, SHAPE = 3.0, (3, 80, 48)  # slices, rows, columns
HERE, ELSEWHERE = [f"here{number}" for number in range(6)], ["elsewhere0", "elsewhere1"]


def write_scans(root: Path, config: DictConfig, patients: list[str], seed: int) -> Path:
    """A folder with a volume per patient, on which every label id of a cohort file is a block of its own."""
    mask = np.zeros(SHAPE, np.uint8)
    for place, label in enumerate(config.cohort.labels):
        mask[:, 10 + 6 * place : 15 + 6 * place, 18:30] = int(label)
    direction = SAGITTAL if config.anatomy.view == "sagittal" else None
    lines = ["case,patient,image,label,contrast"]
    for number, name in enumerate(patients):
        for folder, array in (("images", random_image(seed + number, SHAPE)), ("labels", mask)):
            spacing = (PIXEL_MM, PIXEL_MM, 4.0)
            write_volume(root / folder / f"{name}.nii.gz", array, spacing=spacing, direction=direction)
        lines.append(f"{name},{name},images/{name}.nii.gz,labels/{name}.nii.gz,T2")
    (root / "cohort.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """A handful of small volumes is read sooner than a second process starts."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture
def words(composed, tmp_path):
    """The command line of a cohort file for a folder, which is written: where it was trained, or another one."""

    def of(cohort: str, place: str) -> tuple[str, ...]:
        folder = tmp_path / place
        line = (f"cohort={cohort}", f"cohort.root={folder}", *PHANTOMS.get(cohort, ()))
        if cohort in PHANTOMS:
            number, seed = (len(HERE), 0) if place == "here" else (len(ELSEWHERE), 1)
            weak = () if cohort == "phantom" else (f"phantom.masked_patients={number}",)
            return (*line, *weak, f"phantom.num_patients={number}", f"cohort.seed={seed}")
        if not folder.exists():
            patients, seed = (HERE, 0) if place == "here" else (ELSEWHERE, 100)
            write_scans(folder, composed(*line), patients, seed)
        return line

    return of


@pytest.mark.slow
@pytest.mark.parametrize("cohort", COHORTS)
def test_every_case_of_another_folder_is_tested(composed, words, cohort):
    """Facts about one copy of the data (how many patients it has, who is in it twice) are not asked of the other."""
    data = instantiate(composed("experiment=unet", "trainer=smoke", *words(cohort, "elsewhere"), "split=all").data)
    masked = data.store.table["has_mask"].to_numpy(dtype=bool)
    np.testing.assert_array_equal(data.indices["test"], np.flatnonzero(masked))
    assert len(data.patients("test")) == len(ELSEWHERE)
    assert not len(data.indices["validation"])


@pytest.mark.slow
@pytest.mark.parametrize("cohort", COHORTS)
def test_a_trained_network_is_tested_on_every_case_of_another_folder(composed, words, generated, tmp_path, cohort):
    line = ("experiment=unet", "trainer=smoke", "scale.epochs=1", "trainer.limit_test_batches=1.0")
    training.train(composed(*line, *words(cohort, "here")))
    asked = ("task=test", f"checkpoint={tmp_path}/run/checkpoints/best.ckpt", "split=all")
    training.test(compose_line(tmp_path / "external", generated, *line, *words(cohort, "elsewhere"), *asked))
    here, elsewhere = (pd.read_csv(tmp_path / name / "cases.csv") for name in ("run", "external"))
    card = json.loads((tmp_path / "external" / "run_card.json").read_text())
    assert elsewhere["patient"].nunique() == card["patients"]["test"]
    if cohort not in PHANTOMS:
        assert set(elsewhere["patient"]) == set(ELSEWHERE)
        assert set(here["patient"]) < set(HERE)


def test_a_small_cohort_says_how_many_folds_it_needs_and_the_command_line_wins(composed):
    def folds(*line: str) -> int:
        split = instantiate(composed("cohort.root=somewhere", *line).split)
        assert isinstance(split, PatientFolds)
        return split.num_folds

    assert folds() == 5
    assert folds("cohort=axial_muscle") == 2
    assert folds("cohort=axial_muscle", "split.num_folds=3") == 3
    assert folds("cohort=axial_muscle", "split=baur") == 10, "what a paper did is not a cohort's to change"
    hold_out = instantiate(composed("cohort=axial_muscle", "cohort.root=somewhere", "split=msff").split)
    assert isinstance(hold_out, HoldOut), "it has no number of folds"


def test_with_a_nominal_spacing_everything_but_millimetres_is_the_same(composed, words, generated, tmp_path, capsys):
    line = (*words("sagittal_discs", "elsewhere"), "experiment=unet", "trainer=smoke", "task=score", "row=other")
    folders = {}
    for nominal in (True, False):
        folders[nominal] = tmp_path / f"nominal_{nominal}"
        shifted = write_shifted_masks(tmp_path / "elsewhere" / "labels", tmp_path / "masks")
        more = (f"masks={shifted}", f"cohort.nominal_spacing={nominal}")
        score(compose_line(folders[nominal], generated, *line, *more))
        card = json.loads((folders[nominal] / "run_card.json").read_text())
        assert card["nominal_spacing"] is nominal
        print_summary(json.loads((folders[nominal] / "summary.json").read_text()), ["L1", "L5/S1"], tmp_path)
        assert (" mm" in capsys.readouterr().out) is not nominal
    for name, in_mm in {
        "cases.csv": {"hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm", "area_true_mm2", "area_pred_mm2"},
        "keypoints.csv": {"error_mm"},
        "morphometry.csv": {f"{part}_mm" for part in ("middle_height", "depth", "disc_height")}
        | {"anterior_height_mm", "posterior_height_mm"},
    }.items():
        nominal, measured = (pd.read_csv(folders[each] / name) for each in (True, False))
        assert measured[list(in_mm)].notna().any().all(), "the test has something to lose"
        assert nominal[list(in_mm)].isna().all(axis=None)
        rest = [column for column in measured.columns if column not in in_mm]
        pd.testing.assert_frame_equal(nominal[rest], measured[rest])
        assert not [column for column in rest if "mm" in column]
    summary = json.loads((folders[True] / "summary.json").read_text())["test"]
    assert set(summary["hd95_mm"].values()) == {None}
    assert 0 < summary["dice"]["mean"] < 1


def write_shifted_masks(labels: Path, folder: Path) -> Path:
    """Masks that are one pixel too low."""
    for path in labels.iterdir():
        image = sitk.ReadImage(str(path))
        moved = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(image), 1, axis=1))
        moved.CopyInformation(image)
        folder.mkdir(exist_ok=True)
        sitk.WriteImage(moved, str(folder / path.name))
    return folder
