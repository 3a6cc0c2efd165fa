"""`task=score`: somebody else's masks get the records of a run."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hydra.utils import instantiate
from omegaconf import OmegaConf

from datamodules.reading.foreign_masks import find_masks
from lightning_modules.tasks import scoring
from lightning_modules.tasks.scoring import score
from metrics.cases import CASE_COLUMNS, FACTOR_COLUMNS
from tests.conftest import TINY_PHANTOM, arrays_of, compose_line

pytestmark = pytest.mark.slow  # whole trainings and tests


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, generated):
    """The folder of a small phantom."""
    return instantiate(compose_line(tmp_path_factory.mktemp("unused"), generated, *TINY_PHANTOM).cohort)


@pytest.fixture
def masks(cohort, tmp_path):
    """A copy of the annotations, to be spoilt."""
    return shutil.copytree(cohort.root / "labels", tmp_path / "masks")


@pytest.fixture
def scored(composed, tmp_path):
    """Scores a folder; returns the case table and the summary."""

    def run(folder, *overrides):
        score(composed(*TINY_PHANTOM, "task=score", f"masks={folder}", "row=other", *overrides))
        cases = pd.read_csv(tmp_path / "run" / "cases.csv")
        return cases, json.loads((tmp_path / "run" / "summary.json").read_text())

    return run


def rewrite(path, change):
    """Changes the image of a file."""
    sitk.WriteImage(change(sitk.ReadImage(str(path))), str(path))


def test_the_annotation_itself_is_perfect_on_every_case_whatever_the_split(scored, masks, cohort, tmp_path, composed):
    cases, summary = scored(masks, "fold=3")
    assert summary["test"]["dice"]["mean"] == 1
    assert set(cases["status"]) == {"scored"}
    assert set(cases["case"]) == {case.case for case in cohort.cases}
    assert tuple(cases.columns) == CASE_COLUMNS
    assert summary["masks"] == {"num_missing": 0, "num_resampled": 0, "num_extra_files": 0}
    assert "train" not in summary
    assert "model" not in summary
    assert cases["box_iou"].eq(1).all(), "the box of a mask is its tight box"
    config = OmegaConf.load(tmp_path / "run" / "config.yaml")
    assert (config.task, config.row, config.fold) == ("score", "other", None)
    index = pd.read_csv(tmp_path / "run" / "predictions" / "index.csv")
    assert len(index) == len(cohort.cases)
    content = arrays_of(tmp_path / "run" / "predictions" / index["file"][0])
    np.testing.assert_array_equal(content["predicted_mask"], content["true_mask"])


@pytest.mark.slow
def test_the_second_rater_of_the_phantom_is_another_row_of_the_table(scored, cohort):
    _, summary = scored(cohort.root / "second_rater")
    assert 0.8 < summary["test"]["dice"]["mean"] < 0.99, "pixels of 3 mm"
    assert summary["test"]["num_patients"] == 8


@pytest.mark.slow
def test_factors_are_those_of_the_cohort(scored, masks, cohort):
    cases, _ = scored(masks)
    listed = pd.read_csv(cohort.root / "cohort.csv").set_index("case")
    assert cases["snr"].notna().all()
    for factor in FACTOR_COLUMNS:
        np.testing.assert_array_equal(cases[factor], listed.loc[cases["case"], factor])


def test_a_card_says_which_data_and_which_masks(scored, masks, tmp_path):
    scored(masks)
    before = json.loads((tmp_path / "run" / "run_card.json").read_text())
    assert {"command", "commit", "cohort_content", "data", "masks"} <= set(before)
    path = sorted(masks.iterdir())[0]
    rewrite(path, lambda image: image * 0)
    cases, _ = scored(masks)
    assert cases["status"].eq("missed").any(), "scored anew, though the folder was finished"
    after = json.loads((tmp_path / "run" / "run_card.json").read_text())
    case = path.name.removesuffix(".nii.gz")
    assert [name for name in before["masks"] if before["masks"][name] != after["masks"][name]] == [case]
    assert before["cohort_content"] == after["cohort_content"]


def test_a_missing_mask_is_a_miss_and_an_extra_file_is_named(scored, masks, caplog):
    first, second = sorted(masks.iterdir())[:2]
    first.unlink()
    shutil.copy(second, masks / "somebody_else.nii.gz")
    (masks / "notes.txt").write_text("ours")
    cases, summary = scored(masks)
    lost = cases[cases["case"] == first.name.removesuffix(".nii.gz")]
    assert set(lost["status"]) == {"missed"}
    assert summary["test"]["num_missed"] == len(lost) == 9
    assert summary["masks"] == {"num_missing": 1, "num_resampled": 0, "num_extra_files": 2}
    assert f"1 without a mask, counted as missed: {first.name.removesuffix('.nii.gz')}" in caplog.text
    assert "2 named after no annotated case of the cohort, left out: notes.txt, somebody_else.nii.gz" in caplog.text


@pytest.mark.slow
def test_an_empty_mask_is_a_miss_like_any_other(scored, masks):
    path = sorted(masks.iterdir())[0]
    rewrite(path, lambda image: image * 0)
    cases, summary = scored(masks)
    assert summary["test"]["num_missed"] == 9
    assert set(cases[cases["case"] == path.name.removesuffix(".nii.gz")]["status"]) == {"missed"}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".nii", ".mha", ".nrrd"])
def test_other_formats_and_orders_of_axes_are_the_same_mask(scored, masks, suffix):
    for path in list(masks.iterdir()):
        flipped = sitk.Flip(sitk.ReadImage(str(path)), [True, False, False])  # with its direction in the header
        sitk.WriteImage(flipped, str(path).replace(".nii.gz", suffix))
        path.unlink()
    cases, summary = scored(masks)
    assert summary["test"]["dice"]["mean"] == 1
    assert summary["masks"]["num_resampled"] == 0
    assert len(cases) == 32 * 9


def finer(image):
    """The same field on pixels of half the size."""
    size, spacing = image.GetSize(), image.GetSpacing()
    origin = image.TransformContinuousIndexToPhysicalPoint((-0.25, -0.25, 0.0))
    grid = sitk.Image([size[0] * 2, size[1] * 2, size[2]], image.GetPixelID())
    grid.SetSpacing([spacing[0] / 2, spacing[1] / 2, spacing[2]])
    grid.SetOrigin(origin)
    grid.SetDirection(image.GetDirection())
    return sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor)


@pytest.mark.slow
def test_a_mask_on_another_grid_of_the_same_field_is_resampled_and_said(scored, masks, caplog):
    path = sorted(masks.iterdir())[0]
    rewrite(path, finer)
    _, summary = scored(masks)
    assert summary["test"]["dice"]["mean"] == 1, "each pixel became four"
    assert summary["masks"]["num_resampled"] == 1
    assert "1 on another grid of the same field, resampled" in caplog.text


def lost_header(image):
    return sitk.GetImageFromArray(sitk.GetArrayFromImage(image))


def doubled_spacing(image):
    changed = sitk.Image(image)
    changed.SetSpacing([2 * size for size in image.GetSpacing()])
    return changed


def moved(image):
    changed = sitk.Image(image)
    changed.SetOrigin([place + 15 for place in image.GetOrigin()])
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lost_header, "spacing|does not lie|not axial|patient's left"),
        (doubled_spacing, "does not lie in the field of the image"),
        (moved, r"does not lie in the field of the image .*origin \(moved by"),
        (lambda image: image[:32, :, :], "does not lie in the field of the image .*size"),
        (lambda image: image + 100, "holds the unknown label id"),
        (lambda image: sitk.Cast(image, sitk.sitkFloat32) * 0.5, "holds the unknown label id 0.5|unknown label id"),
    ],
    ids=["lost header", "spacing", "moved", "cropped", "ids", "halves"],
)
def test_a_mask_that_cannot_be_trusted_is_refused_by_name(scored, masks, tmp_path, change, message):
    path = sorted(masks.iterdir())[3]
    rewrite(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        scored(masks)
    assert str(path) in str(caught.value)
    assert path.name.removesuffix(".nii.gz") in str(caught.value)
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["masks=null"], "task=score needs masks="),
        (["row=null"], "task=score needs row="),
        (["masks=/no/such/folder"], "there is no such folder"),
    ],
)
def test_what_a_score_needs_is_asked_for(scored, masks, overrides, message):
    with pytest.raises(ValueError, match=message):
        scored(masks, *overrides)


def test_a_folder_of_other_cases_is_refused(masks, tmp_path):
    with pytest.raises(ValueError, match=r"none of its 32 files is called after .* expected case_1\.nii\.gz"):
        find_masks(masks, ["case_1", "case_2"])
    twice = tmp_path / "twice"
    twice.mkdir()
    for name in ("case_1.nii.gz", "case_1.mha", ".hidden"):
        (twice / name).touch()
    with pytest.raises(ValueError, match="is a mask of the same case"):
        find_masks(twice, ["case_1"])


def test_pictures_are_masks_of_pictures(tmp_path, composed):
    """PNG images with their labels, as cohort.csv describes them; a mask lies where its image lies."""
    root = tmp_path / "pictures"
    (root / "masks").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for index in range(3):
        label = np.zeros((40, 48), np.uint8)
        label[10:20, 8 + index : 20] = 1
        label[10:20, 28:40] = 2
        for name, array in (("image", rng.integers(1, 200, label.shape).astype(np.uint8)), ("label", label)):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(root / f"{name}{index}.png"))
        shutil.copy(root / f"label{index}.png", root / "masks" / f"c{index}.png")
        rows.append((f"c{index}", f"p{index}", f"image{index}.png", f"label{index}.png", 2.0, "LP"))
    table = pd.DataFrame(rows, columns=["case", "patient", "image", "label", "spacing", "orientation"])
    table.to_csv(root / "cohort.csv", index=False)
    line = ("cohort=axial_muscle", f"cohort.root={root}", "task=score")
    config = composed(*line, f"masks={root / 'masks'}", "row=other")
    config.cohort.labels = {1: "multifidus_right", 2: "multifidus_left"}
    scoring.score(config)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["test"]["dice"]["multifidus_left"] == 1
    assert summary["test"]["num_unlabelled"] == 6
    smaller = sitk.ReadImage(str(root / "masks" / "c1.png"))[:40, :]
    sitk.WriteImage(smaller, str(root / "masks" / "c1.png"))
    with pytest.raises(ValueError, match=r"c1\.png: the mask does not lie in the field"):
        scoring.score(config)
