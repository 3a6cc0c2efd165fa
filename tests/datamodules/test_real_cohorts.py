"""The shared real scans, where they are there: the documented commands run, with all their options."""

import json

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from datamodules.anatomy import Anatomy
from datamodules.cohort import Cohort
from datamodules.reading.geometry import SliceGrid
from lightning_modules.tasks import training
from tests.conftest import ROOT, SHARED

DATA = SHARED / "data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the shared real scans are not beside the checkout")

AXIAL = ("cohort=axial_muscle", f"cohort.root={DATA / 'axial_muscle'}", "trainer=smoke")


def cases_of(composed, tmp_path, *overrides: str) -> pd.DataFrame:
    training.train(composed(*overrides))
    return pd.read_csv(tmp_path / "run" / "cases.csv")


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param((), marks=pytest.mark.slow, id="a case each"),
        pytest.param(("cohort.channels=[water,fat]",), id="two channels"),
    ],
)
def test_one_volunteer_trains_and_the_other_tests(composed, tmp_path, overrides):
    cases = cases_of(composed, tmp_path, "experiment=bs_esnet", *AXIAL, *overrides)
    assert cases["patient"].nunique() == 1
    assert cases["structure"].nunique() == 4
    split = pd.read_csv(tmp_path / "run" / "split.csv", comment="#").query("fold == 0")
    assert split["part"].tolist() == ["test", "train"] or split["part"].tolist() == ["train", "test"]
    assert split["patient"].nunique() == 2


@pytest.mark.slow
def test_a_nine_organ_network_learns_from_cases_that_show_four(composed, tmp_path):
    """Partially labelled: what the annotators did not draw is neither trained on nor scored."""
    cases = cases_of(composed, tmp_path, "experiment=bs_esnet", *AXIAL, "anatomy=axial9")
    unlabelled = cases[cases["status"] == "unlabelled"]
    assert set(unlabelled["structure"]) == {"disc", "canal", "lamina", "psoas_left", "psoas_right"}
    assert unlabelled[["dice", "box_iou", "tp", "area_pred_mm2"]].isna().all(axis=None)
    assert not cases[cases["structure"] == "multifidus_left"]["dice"].isna().any()


@pytest.mark.slow
def test_copies_of_a_volunteer_stay_in_one_part(composed, tmp_path):
    """The set holds three pairs of the same images under two names; they are one patient."""
    line = (
        "experiment=unet",
        "cohort=sagittal_vertebrae",
        f"cohort.root={DATA / 'sagittal_vertebrae'}",
        "trainer=smoke",
    )
    cases_of(composed, tmp_path, *line)
    split = pd.read_csv(tmp_path / "run" / "split.csv", comment="#", dtype=str)
    assert not {"tum19", "tum33", "tum53"} & set(split["patient"])
    assert not split.duplicated(["fold", "patient"]).any()


@pytest.mark.slow
def test_the_copies_are_refused_where_nobody_named_them(composed):
    from hydra.errors import InstantiationException

    root = f"cohort.root={DATA / 'sagittal_vertebrae'}"
    with pytest.raises((ValueError, InstantiationException), match=r"same image.*same_patient"):
        training.train(composed("experiment=unet", "cohort=sagittal_vertebrae", root, "cohort.same_patient=[]"))


def test_key_points_of_real_scans_lie_in_their_vertebrae():
    names = [f"L{number}" for number in range(1, 6)]
    anatomy = Anatomy(
        name="vertebrae", view="sagittal", structures=names, colours=dict.fromkeys(names, "#000000"), keypoints=names
    )
    cohort = Cohort(
        name="sagittal", root=DATA / "sagittal_vertebrae", anatomy=anatomy, labels=dict(enumerate(names, 1)), slices=5
    )
    masked = [case for case in cohort.cases if case.labels]
    for case in masked[::6]:
        (record,) = cohort.read(case)
        assert np.isfinite(record.keypoints).all(), "stated on one slice, centroids on the four beside it"
        assert record.clicked.sum(axis=1).tolist().count(5) == 1
        for mask, points in zip(record.mask, record.keypoints, strict=True):
            for number, (x, y) in enumerate(points, 1):
                assert mask[round(float(y)), round(float(x))] == number, (case.case, number)
        rows = [np.nonzero(record.mask == number)[1].mean() for number in range(1, 6)]
        assert rows == sorted(rows), "L1 lies above L5"


def discs() -> Cohort:
    names = [*(f"L{number}" for number in range(1, 6)), "L1/2", "L2/3", "L3/4", "L4/5", "L5/S1"]
    anatomy = Anatomy(
        name="discs", view="sagittal", structures=names, colours=dict.fromkeys(names, "#000000"), keypoints=names
    )
    settings = {"name": "discs", "root": DATA / "sagittal_discs", "labels": dict(enumerate(names, 1))}
    return Cohort(anatomy=anatomy, **settings)


def test_the_ten_structures_of_real_pictures_lie_in_order_in_the_field_of_the_network():
    small = OmegaConf.load(ROOT / "conf" / "grids" / "sagittal.yaml").small
    grid = SliceGrid(size=small.size, spacing_mm=small.spacing_mm, offset_mm=small.offset_mm)
    cohort = discs()
    for case in cohort.cases[::9]:
        (record,) = cohort.read(case)
        downwards = record.keypoints[0, [0, 5, 1, 6, 2, 7, 3, 8, 4, 9], 1]
        assert (np.diff(downwards) > 0).all(), f"{case.case}: L1, L1/2, L2 and so on, from the head to the feet"
        seen = grid.resample_mask(record.mask[0], record.spacing_mm)
        assert not seen[[0, -1]].any(), f"{case.case}: nothing is cut off above or below"
        assert not seen[:, [0, -1]].any(), f"{case.case}: nothing is cut off in front or behind"
        assert set(np.unique(seen)) == set(range(11))


@pytest.mark.slow
def test_patients_who_all_have_masks_train_in_both_ways_and_no_millimetre_is_told(composed, tmp_path, capsys):
    line = ("cohort=sagittal_discs", f"cohort.root={DATA / 'sagittal_discs'}", "supervision.masked_patients=10")
    cases = cases_of(composed, tmp_path, "experiment=scarnet", *line, "trainer=smoke")
    assert cases["dice"].notna().all()
    assert cases[["hd95_mm", "area_true_mm2", "nsd_1mm"]].isna().all(axis=None)
    assert "keypoint_error_mm" not in (tmp_path / "run" / "metrics.csv").read_text()
    assert " mm" not in capsys.readouterr().out
    card = json.loads((tmp_path / "run" / "run_card.json").read_text())
    taught = card["supervision"]
    assert (len(taught["masked_patients"]), len(taught["weak_patients"])) == (10, 9)


def test_the_left_of_real_scans_is_on_the_right_of_the_image():
    names = ["erector_spinae_right", "multifidus_right", "multifidus_left", "erector_spinae_left"]
    anatomy = Anatomy(
        name="muscles",
        view="axial",
        structures=names,
        colours=dict.fromkeys(names, "#000000"),
        mirror=[names[1:3], [names[0], names[3]]],
    )
    cohort = Cohort(
        name="axial", root=DATA / "axial_muscle", anatomy=anatomy, labels=dict(enumerate(names, 1)), slices=3
    )
    (record,) = cohort.read(cohort.cases[0])
    columns = [np.nonzero(record.mask == number)[2].mean() for number in range(1, 5)]
    middle = (record.mask.shape[2] - 1) / 2
    assert columns[0] < columns[1] < middle < columns[2] < columns[3]
    assert np.nonzero(record.mask)[1].mean() > record.mask.shape[1] / 2, "the back is at the bottom"
