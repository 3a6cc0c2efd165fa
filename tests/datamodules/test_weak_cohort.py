"""Patients with key points alone from another folder, and whole runs under mixed supervision."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamodules.augment_batched import NoAugmentation
from datamodules.folds import PatientFolds
from datamodules.slices import SliceDataModule
from datamodules.supervision import Supervision
from lightning_modules.tasks import training
from records.identity import cell_name
from tests.conftest import UNDRAWN, compose_line
from tests.made.spines import edit_keypoints, spine_anatomy, spine_cohort, write_spines
from tests.made.stopped_runs import assert_same_run, stop_at

MASKED, WEAK = [f"m{number}" for number in range(5)], ["w0"]


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """A handful of small volumes is read sooner than a second process starts."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture
def roots(tmp_path) -> tuple[Path, Path]:
    """The main cohort, and one of another scanner, whose owner has drawn masks too."""
    main = write_spines(tmp_path / "main", masked=MASKED, weak=WEAK)
    return main, write_spines(tmp_path / "elsewhere", masked=["e0"], weak=["e1", "e2"], pixel_mm=0.9, seed=50)


def data_module(root, weak, *, cohort=None, **changes) -> SliceDataModule:
    cohort = cohort or spine_cohort(root, slices="middle")
    mixed = Supervision(masks=True, keypoints=True, batch={"masked": 2, "weak": 2}, weak_cohort=weak, **changes)
    return SliceDataModule(
        cohort=cohort,
        split=PatientFolds(num_folds=5),
        supervision=mixed,
        fold=0,
        size=(24, 16),
        spacing_mm=1.6,
        batch_size=4,
        augmentation=NoAugmentation(anatomy=cohort.anatomy),
        cache=root.parent / "cache",
    )


def test_the_patients_of_another_folder_train_with_key_points_alone(roots):
    main, elsewhere = roots
    data = data_module(main, elsewhere)
    table = data.store.table
    assert table["domain"].tolist() == [""] * 6 + ["elsewhere"] * 3
    assert table["spacing_row_mm"].tolist() == pytest.approx([1.6] * 6 + [0.9] * 3)
    assert not table["has_mask"][6:].any(), "a domain that is not tested gives no masks"
    assert not data.store.mask[6:].any()
    assert data.teaching.weak_patients == ("e0", "e1", "e2", "w0")
    for fold in range(5):
        tested = {*table["patient"].iloc[data.split.indices(fold, "test", table)]}
        assert tested <= {*MASKED}
    assert data.class_pixel_counts()[1:].tolist() == [30 * len(data.teaching.masked)] * 3
    distances = np.diff(data.store.keypoints[..., 1], axis=1) * 1.6
    np.testing.assert_allclose(distances, [[11.2] * 2] * 6 + [[6.3] * 2] * 3, rtol=1e-4)


def test_without_a_weak_cohort_the_data_are_others(roots):
    main, elsewhere = roots
    alone, both = data_module(main, None), data_module(main, elsewhere)
    assert alone.identity["images"] != both.identity["images"]
    assert alone.identity["split"] != both.identity["split"]
    assert set(alone.store.table["domain"]) == {""}


def test_a_node_of_its_own_may_read_it_differently(roots):
    main, elsewhere = roots
    edit_keypoints(elsewhere, "L1,1", "Th12,1")
    cohort = spine_cohort(elsewhere, name="tianchi", slices="middle", other_keypoints=["Th12"], prefix="t_")
    data = data_module(main, cohort)
    assert set(data.store.table["domain"]) == {"", "tianchi"}
    assert data.teaching.weak_patients == ("t_e0", "t_e1", "t_e2", "w0")
    assert data.store.table["case"].tolist()[-1] == "t_e2"


@pytest.mark.parametrize(
    ("weak", "words"),
    [
        (
            lambda main, elsewhere: elsewhere / "nowhere",
            r"supervision\.weak_cohort=.*nowhere: .*there is no such folder",
        ),
        (lambda main, elsewhere: main, r"main and spines both have the case m0, m1, m2, \.\.\.\..*prefix: TEXT"),
        (
            lambda main, elsewhere: spine_cohort(elsewhere, anatomy=spine_anatomy(name="other")),
            r"spines is read with anatomy other, spines with spine; give both the same",
        ),
    ],
    ids=["no folder", "same names", "another anatomy"],
)
def test_a_cohort_that_does_not_go_with_the_main_one_is_refused(roots, weak, words):
    given = weak(*roots)
    with pytest.raises(ValueError, match=words):
        data_module(roots[0], given)


def test_the_same_person_in_both_is_a_leak(roots):
    main, elsewhere = roots
    image = (main / "images" / "m1.nii.gz").read_bytes()
    (elsewhere / "images" / "e1.nii.gz").write_bytes(image)
    with pytest.raises(ValueError, match=r"cohort elsewhere: case 'e1'.*'m1' have the same image.*take the case out"):
        data_module(main, elsewhere)


# ---------------------------------------------------------------------------------------------------- whole runs

SAGITTAL = ("phantom=scarnet", "phantom.num_patients=8", "phantom.masked_patients=5", "phantom.size=72")
LINE = (
    *(*SAGITTAL, "phantom.spacing_mm=4.0", "cohort.num_workers=1", "experiment=unet", "trainer=smoke"),
    *("scale.epochs=2", "supervision=mixed", "supervision.masked_patients=3", *UNDRAWN),
)


@pytest.mark.slow
def test_a_mixed_run_stopped_in_the_middle_ends_as_an_undisturbed_one(generated, tmp_path, caplog):
    with caplog.at_level("INFO"):
        training.train(compose_line(tmp_path / "whole", generated, *LINE))
    assert "training on 2 slice(s) with masks and 4 with key points alone; 0 that would teach nothing" in caplog.text
    stop_at(3, compose_line(tmp_path / "parts", generated, *LINE))
    training.train(compose_line(tmp_path / "parts", generated, *LINE))
    assert_same_run(tmp_path / "whole", tmp_path / "parts", ["best"])
    card = json.loads((tmp_path / "whole" / "run_card.json").read_text())["supervision"]
    assert len(card["masked_patients"]) == 3
    assert set(card["validation_patients"]) < set(card["masked_patients"])
    assert len(card["weak_patients"]) == 3 + 1, "those without masks, and the fourth training patient with them"
    tested = set(pd.read_csv(tmp_path / "whole" / "cases.csv")["patient"])
    assert tested.isdisjoint([*card["masked_patients"], *card["weak_patients"]])


@pytest.mark.slow
def test_a_fold_with_nobody_to_teach_key_points_ends_before_the_first_batch(composed):
    with pytest.raises(ValueError, match=r"no case with key points alone is left to train on in fold 0"):
        training.train(composed(*LINE, "phantom.num_patients=5", "supervision.masked_patients=null"))


def test_supervision_names_the_cell_and_the_place_of_a_folder_does_not(composed):
    def name(*words):
        return cell_name(_root_=composed("experiment=unet", *words))

    names = [
        *(name(f"supervision={arm}") for arm in ("full", "mixed", "keypoint")),
        *(name("supervision=mixed", f"supervision.masked_patients={number}") for number in (3, 6)),
        name("supervision=mixed", "supervision.draw=1"),
    ]
    weak = [name("supervision=mixed", f"supervision.weak_cohort={place}") for place in ("a/weak", "b/weak", "b/other")]
    assert len({*names, *weak}) == len(names) + 2
    assert weak[0] == weak[1]
    nodes = [
        name(
            "supervision=mixed",
            "supervision.weak_cohort={_target_: datamodules.cohort.Cohort, name: weak, root: " + place + "}",
        )
        for place in ("a", "b")
    ]
    assert nodes[0] == nodes[1] not in names
