"""What a test leaves beside cases.csv, from a network with heat maps and from one without."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from callbacks.keypoint_sheet import middle_keypoint
from datamodules.batch import SpineBatch
from lightning_modules.evaluation.evaluated import evaluate
from lightning_modules.evaluation.network_grid import on_network_grid
from lightning_modules.evaluation.readouts import confusion, keypoints, morphometry
from lightning_modules.tasks import training
from metrics.levels import BACKGROUND
from metrics.spine_shape import SPINE_MEASURES
from models.prediction import Prediction
from tests.conftest import ROOT, UNDRAWN, compose_line

pytestmark = pytest.mark.slow  # whole trainings and tests

CONF = ROOT / "conf"

SAGITTAL = (
    *("phantom=scarnet", "phantom.num_patients=8", "phantom.masked_patients=8", "cohort.num_workers=1"),
    *("phantom.size=128", "phantom.spacing_mm=2.2", "trainer=smoke", "experiment=unet", "scale.epochs=2"),
    *("data.size=[96,64]", "data.spacing_mm=3.0"),
    *(word for word in UNDRAWN if "keypoint" not in word),
    "objective.undo_class_weights=false",  # with them a network of so few steps predicts something
)
NETWORK = {"_target_": "tests.made.keypoint_network.KeypointNetwork", "_partial_": True, "num_keypoints": 10}


@pytest.fixture(scope="module")
def tested(tmp_path_factory, generated):
    """A trained network with heat maps: its run folder, and its data."""
    folder = tmp_path_factory.mktemp("readouts") / "run"
    config = compose_line(folder, generated, *SAGITTAL, "arms=robustness")
    config.model = OmegaConf.create(NETWORK)
    training.train(config)
    return folder, training.build_data(config)


def test_every_key_point_has_a_row_from_its_map_and_one_from_its_mask(tested):
    folder, data = tested
    table = pd.read_csv(
        folder / "keypoints.csv", keep_default_na=False, na_values={"error_mm": "", "x": "", "peak": ""}
    )
    assert tuple(table.columns) == keypoints(data).columns
    num_slices = len(pd.read_csv(folder / "cases.csv")[["case", "slice"]].drop_duplicates())
    assert table["source"].value_counts().to_dict() == {"heatmap": 10 * num_slices, "mask": 10 * num_slices}
    assert set(table["structure"]) == set(data.anatomy.keypoints)
    assert set(table["visible"]) <= {True, False}
    found = table.loc[table["source"] == "heatmap"]
    assert found["x"].notna().all()
    assert found["peak"].notna().all()
    assert (found["error_mm"].notna() == found["visible"]).all()
    assert table.loc[table["source"] == "mask", "peak"].isna().all()


def test_true_points_are_the_centres_of_the_masks_on_the_scans_own_pixels(tested):
    folder, data = tested
    table = pd.read_csv(folder / "keypoints.csv", keep_default_na=False)
    visible = table.loc[(table["source"] == "heatmap") & table["visible"]]
    assert len(visible) > 5
    for row in visible.to_dict("records"):
        index = np.flatnonzero((data.store.table["case"] == row["case"]) & (data.store.table["slice"] == row["slice"]))
        rows, columns = np.nonzero(data.store.native(int(index[0])).mask == data.anatomy.class_index(row["structure"]))
        assert float(row["true_x"]) == pytest.approx(columns.mean(), abs=0.02)
        assert float(row["true_y"]) == pytest.approx(rows.mean(), abs=0.02)


def test_confusion_has_every_pixel_of_every_slice(tested):
    folder, data = tested
    table = pd.read_csv(folder / "confusion.csv")
    assert tuple(table.columns) == confusion(data).columns
    assert set(table["truth"]) | set(table["prediction"]) <= {BACKGROUND, *data.anatomy.structures}
    assert (table.groupby(["case", "slice"])["pixels"].sum() == 128**2).all()
    cases = pd.read_csv(folder / "cases.csv")
    right = table.loc[(table["truth"] == table["prediction"]) & (table["truth"] != BACKGROUND), "pixels"].sum()
    assert right == cases["tp"].sum()


def test_measures_of_the_truth_stand_beside_those_of_the_prediction(tested):
    folder, data = tested
    table = pd.read_csv(folder / "morphometry.csv", keep_default_na=False, na_values=dict.fromkeys(SPINE_MEASURES, ""))
    assert tuple(table.columns) == morphometry(data, None).columns
    counts = table.groupby(["case", "slice", "structure"])["source"].agg(sorted)
    assert all(sources == ["prediction", "truth"] for sources in counts)
    assert set(table["structure"]) == {*data.anatomy.structures, "lumbar"}
    truth = table.loc[(table["source"] == "truth") & (table["structure"] == "L3")]
    assert truth["middle_height_mm"].between(20, 34).all()


def test_every_pose_has_scores_of_the_same_truth(tested):
    folder, _ = tested
    own, truth = pd.read_csv(folder / "cases.csv"), ["case", "slice", "area_true_mm2"]
    arms = sorted(path.name for path in (folder / "arms").iterdir())
    assert arms == sorted(OmegaConf.load(CONF / "arms" / "robustness.yaml"))
    for name in arms:
        cases = pd.read_csv(folder / "arms" / name / "cases.csv")
        pd.testing.assert_frame_equal(cases[truth], own[truth])
        assert not cases["area_pred_mm2"].equals(own["area_pred_mm2"]), name
        assert sorted(path.name for path in (folder / "arms" / name).iterdir()) == ["cases.csv", "summary.json"]


def test_the_error_is_logged_and_the_sheet_drawn(tested):
    folder, _ = tested
    epochs = pd.read_csv(folder / "metrics.csv")
    assert epochs["val/keypoint_error_mm"].gt(0).all()
    assert epochs["val/score"].between(0, 1).all(), "chosen by Dice where masks validate"
    assert (folder / "figures" / "keypoints.png").stat().st_size > 10_000


def batch_and_prediction(data, *, shift_px=0.0) -> tuple[SpineBatch, Prediction]:
    """A test batch and heat maps that are right but for a shift to the right."""
    batch = next(iter(data.test_dataloader()))
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in batch.mask.shape[1:]), indexing="ij")
    x, y = (batch.keypoints[..., axis, None, None].nan_to_num(nan=-99) for axis in (0, 1))
    heatmaps = torch.exp(-((columns - x - shift_px) ** 2 + (rows - y) ** 2) / (2 * 1.5**2))
    logits = torch.nn.functional.one_hot(batch.mask, 11).movedim(-1, 1).float()
    return batch, Prediction(logits=9 * logits, heatmaps=heatmaps)


def test_decoded_points_lie_where_they_were_annotated(tested):
    _, data = tested
    for shift_px in (0.0, 2.0):
        batch, prediction = batch_and_prediction(data, shift_px=shift_px)
        for item in evaluate(prediction, batch, data.store, mechanism=True):
            rows = [
                row for row in keypoints(data).of_slice(item, data) if row["source"] == "heatmap" and row["visible"]
            ]
            np.testing.assert_allclose([row["error_mm"] for row in rows], 3.0 * shift_px, atol=0.3)
            if not shift_px:
                assert all(row["nearest"] == row["structure"] for row in rows)
            assert item.heatmap.shape == item.true_mask.shape
            assert 0.8 < item.heatmap.max() <= 1


def test_a_slice_without_a_mask_is_scored_against_nothing(tested):
    _, data = tested
    batch, prediction = batch_and_prediction(data)
    weak = replace(batch, has_mask=torch.zeros(len(batch), dtype=torch.bool))
    item = evaluate(prediction, weak, data.store)[0]
    assert not item.has_mask
    assert not item.true_mask.any(), "nobody peeks"
    assert confusion(data).of_slice(item, data) == []
    assert {row["source"] for row in morphometry(data, None).of_slice(item, data)} == {"prediction"}
    assert len(keypoints(data).of_slice(item, data)) == 20


@pytest.mark.parametrize("shift_px", [0.0, 2.0])
def test_without_masks_the_best_checkpoint_has_the_nearest_key_points(tested, composed, shift_px):
    _, data = tested
    batch, prediction = batch_and_prediction(data, shift_px=shift_px)
    weak = replace(batch, has_mask=torch.zeros(len(batch), dtype=torch.bool))
    measures = instantiate(composed(*SAGITTAL).metrics)
    place = {"patient_numbers": data.patient_numbers, "spacing_mm": data.store.grid.spacing_mm}
    measures.update(**on_network_grid(prediction, weak, **place))
    found = measures.end_epoch()
    assert set(found) == {"keypoint_error_mm", "score"}
    assert found["keypoint_error_mm"] == pytest.approx(3 * shift_px, abs=0.15)
    assert found["score"] == pytest.approx(-found["keypoint_error_mm"])


def test_attention_is_shown_from_the_middle_of_the_spine_unless_asked_otherwise(tested, composed):
    _, data = tested
    assert data.anatomy.keypoints[middle_keypoint(data.anatomy)] == "L3"
    with pytest.raises(ValueError, match=r"looks_from is 'hip', but anatomy sagittal10 has the key points L1, L2"):
        training.train(composed(*SAGITTAL, "callbacks.keypoint_sheet.looks_from=hip"))


def test_scored_masks_have_the_same_tables(composed, tmp_path, tested):
    from lightning_modules.tasks.scoring import score

    _, data = tested
    score(composed(*SAGITTAL, "task=score", f"masks={data.cohort.root / 'second_rater'}", "row=second_rater"))
    run = tmp_path / "run"
    assert set(pd.read_csv(run / "keypoints.csv")["source"]) == {"mask"}
    assert (run / "morphometry.csv").exists()
    assert json.loads((run / "summary.json").read_text())["test"]["dice"]["mean"] > 0.7
