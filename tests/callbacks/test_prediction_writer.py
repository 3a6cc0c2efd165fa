"""predictions/: what pictures are drawn from."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lightning_modules.evaluation.evaluated import EvaluatedSlice
from lightning_modules.evaluation.prediction_files import INDEX_COLUMNS, PredictionFolder
from lightning_modules.tasks import training
from tests.conftest import TINY_PHANTOM, UNDRAWN, arrays_of, compose_line

SMOKE = (*TINY_PHANTOM, *UNDRAWN, "trainer=smoke", "scale.epochs=2", "trainer.limit_test_batches=1.0")


@pytest.fixture(scope="module")
def run(tmp_path_factory, generated):
    """A finished run of BS-ESNet, and the store that it was tested on."""
    folder = tmp_path_factory.mktemp("predictions") / "run"
    config = compose_line(folder, generated, *SMOKE, "experiment=bs_esnet")
    training.train(config)
    return folder, training.build(config)[0]


def files_of(folder):
    index = pd.read_csv(folder / "predictions" / "index.csv", dtype=str, keep_default_na=False)
    return [(row, arrays_of(folder / "predictions" / row.file)) for row in index.itertuples()]


def test_every_test_slice_has_a_file_of_the_agreed_shapes(run):
    folder, data = run
    found = files_of(folder)
    cases = pd.read_csv(folder / "cases.csv", dtype=str)
    assert [(row.case, row.slice) for row, _ in found] == list(
        cases[["case", "slice"]].drop_duplicates().itertuples(index=False, name=None)
    )
    assert {path.name for path in (folder / "predictions").iterdir()} == {"index.csv", *(row.file for row, _ in found)}
    n = data.anatomy.num_structures
    for _, content in found:
        maps = ("image", "true_mask", "predicted_mask", "saliency", "gated_features")
        shapes = dict.fromkeys(maps, (64, 64)) | dict.fromkeys(("true_boxes", "network_boxes"), (n, 4))
        assert {name: content[name].shape for name in content} == shapes | {
            **{"labelled": (n + 1,), "spacing_mm": (2,), "has_mask": (), "regions": (0, 0, 0)},
            **{"true_keypoints": (0, 2), "keypoints": (0, 2), "keypoint_peaks": (0,)},
        }
        types = dict.fromkeys(maps, np.uint8) | dict.fromkeys(("labelled", "has_mask", "regions"), np.bool_)
        types |= dict.fromkeys(("spacing_mm", "true_keypoints", "keypoints", "keypoint_peaks"), np.float64)
        assert {name: content[name].dtype for name in content} == {
            name: types.get(name, np.float32) for name in content
        }
        assert content["image"].max() == 255
        assert content["gated_features"].max() == 255
        assert content["spacing_mm"].tolist() == [3, 3]


def test_the_patients_right_is_on_the_images_left_and_masks_are_the_annotated_ones(run):
    folder, data = run
    for row, content in files_of(folder):
        native = data.store.native(int(row.file.split("_")[0]))
        np.testing.assert_array_equal(content["true_mask"], native.mask)
        middle = {}
        for side in ("left", "right"):
            structure = data.anatomy.class_index(f"psoas_{side}")
            middle[side] = np.nonzero(content["true_mask"] == structure)[1].mean()
            centre = content["true_boxes"][structure - 1, 0] * content["true_mask"].shape[1]
            assert centre == pytest.approx(middle[side], abs=3)
        assert middle["right"] < middle["left"]
        grey, levels = native.image[0].ravel(), content["image"].ravel()
        assert np.corrcoef(grey, levels)[0, 1] > 0.9


@pytest.mark.slow
def test_a_network_without_boxes_and_maps_says_so_by_empty_arrays(composed, tmp_path):
    training.train(composed(*SMOKE, "experiment=unet"))
    for _, content in files_of(tmp_path / "run"):
        assert content["network_boxes"].shape == (0, 4)
        assert content["saliency"].shape == content["gated_features"].shape == (0, 0)


@pytest.mark.slow
def test_it_can_be_left_out(composed, tmp_path):
    training.train(composed(*SMOKE, "experiment=unet", "callbacks.prediction_writer.enabled=false"))
    assert (tmp_path / "run" / "summary.json").exists()
    assert not (tmp_path / "run" / "predictions").exists()


def small_slice(index, case):
    mask = np.zeros((4, 5), np.int64)
    return EvaluatedSlice(
        index=index,
        case=case,
        patient="p",
        level="L4/5",
        slice=0,
        image=np.zeros((1, 4, 5), np.float32),
        true_mask=mask,
        predicted_mask=mask,
        labelled=np.array([True, True]),
        true_boxes=np.full((1, 4), np.nan, np.float32),
        mask_boxes=np.full((1, 4), np.nan, np.float32),
        network_boxes=None,
        saliency=np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5),
        spacing_mm=(1.0, 1.0),
    )


def test_any_name_of_a_case_makes_a_file_of_its_own(tmp_path):
    names = ["a/b", "a_b", "../../etc", "Müller, Ä?", "x" * 300, ".hidden", "", "water+fat", "con:1"]
    predictions = PredictionFolder(tmp_path)
    for index, name in enumerate(names):
        predictions.add(small_slice(index, name))
    predictions.finish()
    found = files_of(tmp_path)
    assert [row.case for row, _ in found] == names
    assert len({row.file for row, _ in found}) == len(names)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions"]


def test_saliency_is_kept_to_a_level_and_a_black_image_stays_black(tmp_path):
    predictions, item = PredictionFolder(tmp_path), small_slice(0, "a")
    predictions.add(item)
    predictions.add(replace(item, index=1, case="b", saliency=None))
    predictions.finish()
    (_, first), (_, second) = files_of(tmp_path)
    np.testing.assert_allclose(first["saliency"] / 255, item.saliency, atol=0.5 / 255)
    assert not first["image"].any()
    assert second["saliency"].size == 0
    assert np.isnan(first["true_boxes"]).all()


def test_the_index_comes_last_and_a_new_test_starts_with_an_empty_folder(tmp_path):
    predictions = PredictionFolder(tmp_path)
    predictions.add(small_slice(0, "a"))
    assert not (predictions.path / "index.csv").exists()
    predictions.finish()
    assert tuple(pd.read_csv(predictions.path / "index.csv").columns) == INDEX_COLUMNS
    predictions.clear()
    assert not predictions.path.exists()
