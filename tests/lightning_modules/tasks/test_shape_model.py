"""`task=shape_model`: a run without a network has the records of a run, whatever points it begins at."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from lightning_modules.tasks.provenance import run_card
from lightning_modules.tasks.settings import check_settings
from lightning_modules.tasks.shape_model import learned, segmented, shape_model, structures_of
from lightning_modules.tasks.training import build_data
from metrics.cases import CASE_COLUMNS
from models.shape_model.contours import inside
from models.shape_model.fitting import SpineModel
from records.folder import RunFolder
from records.identity import cell_name
from records.run import read_run
from tests.conftest import TINY_PHANTOM
from tests.made.grids import planned, start

LINE = (*TINY_PHANTOM, "experiment=sims", "phantom.masked_patients=8", "phantom.size=96", "phantom.spacing_mm=2.9")


@pytest.fixture
def fitted(generated, tmp_path):
    """Runs a command line; returns the run as reports read it."""

    def run(*words, folder="run"):
        data = (f"paths.data={generated}", f"paths.cache={generated}/cache", "logger=csv")
        assert start(*LINE, *data, f"hydra.run.dir={tmp_path / folder}", *words) == 0
        (found,), notes = read_run(tmp_path / folder)
        assert notes == []
        return found

    return run


def test_a_fit_is_a_run_of_its_fold_that_knows_the_truth(fitted, tmp_path, caplog):
    run = fitted()
    assert run.row == "sims (annotated points)"
    assert not run.competes, "who was told where the structures are is no competitor"
    assert not run.scored
    assert (run.fold, run.trained_epochs, run.summary["model"]["parameters"]) == (0, "fitted without epochs", 0)
    assert tuple(run.cases.columns)[: len(CASE_COLUMNS)] == CASE_COLUMNS
    own = set(run.parts.loc[(run.parts["fold"] == 0) & (run.parts["part"] == "test"), "patient"])
    assert set(run.cases["patient"]) == own
    assert run.summary["test"]["dice"]["mean"] > 0.7, "pixels of 2.9 mm, five training masks"
    assert len(run.predictions) == run.cases["case"].nunique()
    assert run.card["points"] == "annotated"
    before = (tmp_path / "run" / "cases.csv").read_bytes()
    written = (tmp_path / "run" / "summary.json").stat().st_mtime_ns
    fitted()
    assert (tmp_path / "run" / "summary.json").stat().st_mtime_ns == written, "finished: nothing to do"
    (tmp_path / "run" / "summary.json").unlink()  # as one that was killed
    shutil.rmtree(tmp_path / "run" / "predictions")
    fitted()
    assert (tmp_path / "run" / "cases.csv").read_bytes() == before


@pytest.fixture
def trained(composed, tmp_path):
    """A folder as a training of another row leaves it, whose key points are the annotated ones."""

    def write(*words, name="scarnet-1", shift=0.0, source="heatmap"):
        path = tmp_path / "grid" / name
        line = ["experiment=scarnet" if word == "experiment=sims" else word for word in LINE]
        config = composed(*line, f"output={path}", *words)
        folder = RunFolder(path, config)
        path.mkdir(parents=True)
        folder.claim()
        data = build_data(config)
        (path / "run_card.json").write_text(json.dumps(run_card(data)))
        rows = []
        for index in data.indices["test"]:
            case, number = data.store.table.loc[index, ["case", "slice"]]
            for structure, (x, y) in zip(data.anatomy.keypoints, native_points(data, index), strict=True):
                place = {"x": x + shift, "y": y} if np.isfinite(x) else {"x": "", "y": ""}
                rest = {"patient": case, "level": "", "visible": True, "error_mm": 0.0, "nearest": structure}
                rows.append({"case": case, "slice": number, "structure": structure, "source": source, **place, **rest})
        pd.DataFrame(rows).to_csv(path / "keypoints.csv", index=False)
        (path / "summary.json").write_text("{}")
        return path

    return write


def native_points(data, index):
    """Annotated key points in pixels of the image, computed here once more."""
    native, grid = data.store.native(int(index)), data.store.grid
    middle = np.array(native.mask.shape)[::-1] / 2 - 0.5
    centred_mm = (data.store.keypoints[index] - (np.array(grid.size)[::-1] - 1) / 2) * grid.spacing_mm
    return (centred_mm + np.array(grid.offset_mm)[::-1]) / np.array(native.spacing_mm)[::-1] + middle


def test_found_points_of_the_same_fold_make_another_row_that_competes(fitted, trained):
    path = trained()
    run, told = fitted(f"points={path}"), fitted(folder="told")
    assert run.row == "sims (found points)"
    assert run.competes
    # They are the annotated ones here, to the last digits: a point may find another sample all the same.
    assert np.abs(run.cases["dice"] - told.cases["dice"]).mean() < 0.01
    assert run.card["points"] == str(path)


@pytest.mark.slow
def test_of_several_runs_that_of_the_fold_counts(fitted, refused, trained, tmp_path):
    trained("fold=1", name="scarnet-1")
    trained(name="scarnet-0", source="mask")
    assert fitted(f"points={tmp_path / 'grid'}").row == "sims (found points)"
    assert fitted(f"points={tmp_path / 'grid'}/scar*", folder="pattern").row == "sims (found points)"
    trained(name="unet-0")
    refused(r"fold 0 has .*scarnet-0, .*unet-0; give one of them", f"points={tmp_path / 'grid'}")


@pytest.fixture
def refused(composed, tmp_path):
    """A line that is refused leaves no result."""

    def check(message, *words):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        with pytest.raises(ValueError, match=message) as error:
            shape_model(composed(*LINE, *words))
        assert "\n" not in str(error.value)
        assert not (tmp_path / "run" / "summary.json").exists()

    return check


def test_points_of_who_trained_on_the_tested_patients_are_refused(refused, trained):
    path = trained("fold=1")
    refused("trained for fold 1, on patients that fold 0 tests", f"points={path}")
    other = trained("split.seed=3", name="other-split")
    refused("is of another split than this run, and may have been trained on", f"points={other}")
    cohort = trained("cohort.seed=5", name="other-cohort")
    refused("is of another cohort", f"points={cohort}")


def test_points_that_are_not_whole_are_refused(refused, trained, tmp_path):
    refused("there is no training, whose patients are known; give the folder", f"points={tmp_path / 'nowhere'}")
    path = trained()
    table = pd.read_csv(path / "keypoints.csv")
    table.loc[table["case"] != table["case"][0]].to_csv(path / "keypoints.csv", index=False)
    refused(r"keypoints.csv has no key points of case .*, slice \d+; test it whole", f"points={path}")
    table.drop(columns="visible").to_csv(path / "keypoints.csv", index=False)
    refused(r"keypoints.csv.*visible.*test its run again", f"points={path}")
    (path / "keypoints.csv").unlink()
    refused("keypoints.csv is missing; test its run again", f"points={path}")
    (path / "summary.json").unlink()
    refused("is not finished", f"points={path}")


def test_what_a_fit_cannot_do_is_said_in_a_line(composed, refused):
    refused("needs points=annotated, or points=RUN", "points=null")
    refused(r"arms \(.*\) test a trained network", "arms=robustness")
    with pytest.raises(ValueError, match=r"task is train, but models\.shape_model.*leave the task out"):
        check_settings(composed("experiment=sims", "task=train"))
    with pytest.raises(ValueError, match="is a network; give experiment=sims"):
        check_settings(composed("experiment=unet_sagittal", "task=shape_model"))


def test_structures_go_from_head_to_foot_whatever_there_is(composed):
    def named(name):
        return structures_of(build_anatomy(composed, name))

    whole = named("sagittal10")
    assert tuple(whole.names) == ("L1", "L1/2", "L2", "L2/3", "L3", "L3/4", "L4", "L4/5", "L5", "L5/S1")
    assert tuple(whole.classes) == (1, 6, 2, 7, 3, 8, 4, 9, 5, 10)
    assert set(named("vertebrae5").kinds) == {"vertebra"}
    with pytest.raises(ValueError, match=r"anatomy axial9: .*disc.* is no vertebra or disc with a key point"):
        named("axial9")


def build_anatomy(composed, name):
    from hydra.utils import instantiate

    return instantiate(composed(f"anatomy={name}").anatomy)


def test_vertebrae_alone_are_fitted(composed):
    config = composed(*LINE, "anatomy=vertebrae5")
    data = build_data(config)
    structures = structures_of(data.anatomy)
    model = learned(data, structures, config)
    index = int(data.indices["test"][0])
    mask = segmented(data, index, model, structures, np.array(data.store.keypoints[index], np.float64))
    assert set(np.unique(mask)) == {0, 1, 2, 3, 4, 5}


def test_a_grid_starts_every_row_by_its_own_task_and_finds_it_again(composed):
    cells = planned("experiment=unet_sagittal,sims", "fold=0,1")
    assert [cell.experiment for cell in cells] == ["unet_sagittal"] * 2 + ["sims"] * 2
    looked = planned("experiment=unet_sagittal,sims", "fold=0,1", "task=status")
    assert [cell.folder for cell in looked] == [cell.folder for cell in cells]
    assert composed("experiment=sims").task == "shape_model"
    names = {cell_name(_root_=composed("experiment=sims", f"points={points}")) for points in ("annotated", "a", "b")}
    assert len(names) == 3
    moved = {cell_name(_root_=composed("experiment=sims", f"cohort.root={place}")) for place in ("a", "b")}
    assert len(moved) == 1, "where data lie changes nothing"


@pytest.mark.slow  # the scarnet_small cohort, every patient with a mask: a minute
def test_forty_synthetic_spines_do_not_overlap_and_are_well_found(composed, monkeypatch):
    """The paper's own claim, of overlap, on contours before they are made a mask."""
    config = composed("experiment=sims", "trainer=small")
    data = build_data(config)
    structures, rows = structures_of(data.anatomy), np.flatnonzero(data.store.table["has_mask"])
    assert len(rows) == 40
    model = learned(data, structures, config)

    def fit():
        shared, dice = 0, []
        for row in map(int, rows):
            points = np.array(data.store.keypoints[row], np.float64)
            native = data.store.native(row)
            seen = []
            monkeypatch.setattr(structures.__class__, "mask", watched(structures.__class__, seen))
            mask = segmented(data, row, model, structures, points)
            monkeypatch.undo()
            filled = [inside(contour, native.mask.shape) for contour in seen[0]]
            shared += sum(int((one & other).sum()) for one, other in pairwise(filled))
            pairs = [(mask == number, native.mask == number) for number in structures.classes]
            dice += [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs if b.any()]
        return shared, float(np.mean(dice))

    shared, dice = fit()
    assert dice > 0.93
    assert shared < 50, "pixels of 560 000"
    object.__setattr__(model, "spaces", ())
    assert isinstance(model, SpineModel)
    without, worse = fit()
    assert without > 50 * shared
    assert worse < dice


def watched(structures, seen):
    """`Structures.mask`, and what it was given."""
    own = structures.mask

    def mask(self, contours, shape):
        seen.append(contours)
        return own(self, contours, shape)

    return mask
