"""Prompts of the annotation and of another run; whole runs of a network that nothing is trained of."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from datamodules.batch import boxes_of_masks
from datamodules.reading.geometry import SliceGrid
from datamodules.slice_batches import SliceBatches
from lightning_modules.evaluation.evaluated import evaluate
from lightning_modules.evaluation.native_grid import NativeGrid
from lightning_modules.prompting.found import FoundPrompts
from lightning_modules.prompting.offered import annotated
from lightning_modules.prompting.pieces import boxes_of, largest_piece, points_of
from lightning_modules.tasks import training
from lightning_modules.tasks.untrained import learns
from metrics.cases import CASE_COLUMNS
from records.predictions import Predictions
from records.runs import load_runs
from tests.conftest import TINY_PHANTOM, UNDRAWN, compose_line
from tests.made.batches import random_batch
from tests.made.sams import write_sam

SMOKE = (*TINY_PHANTOM, "phantom.masked_patients=6", "phantom.spacing_mm=4.4", "trainer=smoke", *UNDRAWN)
WHOLE = (*SMOKE, "trainer.limit_test_batches=1.0")
ROWS = ("sam_box_annotated", "sam_point_annotated", "sam_box_found", "sam_point_found")


def test_a_box_is_that_of_the_largest_piece():
    mask = np.zeros((20, 10), np.uint8)
    mask[2:8, 1:5] = 2
    mask[18, 8] = 2  # a stray pixel does not widen it
    boxes = boxes_of(mask, 3)
    assert boxes[[0, 2]].isnan().all()
    assert boxes[1].tolist() == pytest.approx([3 / 10, 5 / 20, 4 / 10, 6 / 20])
    assert not largest_piece(mask == 1).any()


def test_a_point_is_the_deepest_of_the_largest_piece():
    """Of an L with a thick foot the middle of the foot; beyond the picture begins the outside, too."""
    mask = np.zeros((30, 30), np.uint8)
    mask[0:25, 4:7] = 1
    mask[18:25, 4:20] = 1
    mask[0:5, 20:25] = 2  # at the border of the picture
    mask[28, 28] = 1
    first, second, absent = points_of(mask, 3, (1.0, 1.0)).tolist()
    assert first[1] == 21
    assert 7 <= first[0] <= 16
    assert second == [22, 2]
    assert np.isnan(absent).all()


def test_depth_is_in_millimetres():
    """A block on a strip: in square pixels the block is deepest, where rows are far apart the strip."""
    mask = np.zeros((14, 30), np.uint8)
    mask[2:8, 2:8] = 1
    mask[8:11, 2:22] = 1
    assert points_of(mask, 1, (1.0, 1.0))[0, 0] in (4, 5)
    assert points_of(mask, 1, (10.0, 1.0))[0, 0] in (11, 12)


def test_points_and_boxes_of_a_scan_are_seen_where_the_network_sees_them():
    """The inverse of the way that predictions take, on grids of other spacing, size and centre."""
    scan = NativeGrid(
        grid=SliceGrid(size=(80, 48), spacing_mm=3.5, offset_mm=(4.0, -7.0)), size=(301, 200), spacing_mm=(0.9, 1.1)
    )
    points = torch.tensor([[0.0, 0.0], [99.5, 150.0], [torch.nan, torch.nan], [199.0, 300.0]])
    boxes = torch.tensor([[0.5, 0.5, 0.1, 0.2], [0.1, 0.9, 0.3, 0.1], [torch.nan] * 4])
    torch.testing.assert_close(scan.points(scan.points_seen(points)), points, equal_nan=True, atol=1e-4, rtol=0)
    torch.testing.assert_close(scan.boxes(scan.boxes_seen(boxes)), boxes, equal_nan=True)
    seen = torch.zeros(1, 80, 48)
    seen[0, 30:40, 20:30] = 1
    mask = (scan.values(seen)[0] > 0.5).long()
    found = scan.boxes_seen(boxes_of_masks(mask[None], 1)[0])[0] * torch.tensor([48, 80, 48, 80])
    torch.testing.assert_close(found, torch.tensor([25.0, 35.0, 10.0, 10.0]), atol=0.5, rtol=0)


@pytest.mark.parametrize(("kind", "last"), [("box", 4), ("point", 2)])
def test_annotated_prompts_are_of_the_true_mask(kind, last):
    batch = random_batch()
    prompts = annotated(batch, kind, 1.5)
    assert prompts.shape == (2, 3, last)
    alone = [(mask == 3).sum() == 48 for mask in batch.mask]  # nothing was drawn over it
    for drawn, own, box in zip(alone, prompts, batch.boxes, strict=True):
        if drawn and kind == "box":
            torch.testing.assert_close(own[2], box[2])
        if drawn and kind == "point":
            centre = box[2, :2] * 32 - 0.5
            assert (own[2] - centre).abs().max() <= 1.5
    assert any(alone)


def test_sam_has_nothing_to_learn_and_the_others_have(composed):
    assert [learns(composed(f"experiment={name}")) for name in (*ROWS, "unet")] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["experiment=sam_box_annotated"], r"model\.weights is missing: SAM is not run without its weights"),
        (["experiment=sam_box_annotated", "task=test"], r"model\.weights is missing"),
        (["experiment=sam_box_found", "model.weights=sam.pth"], r"model\.prompts is missing: .*model\.prompts=RUN"),
        (["experiment=sam_box_annotated", "model.weights=sam.pth", "checkpoint=best.ckpt"], "has no checkpoint"),
        (["experiment=sam_box_annotated", "model.weights=sam.pth", "arms=robustness"], "arms are for trained networks"),
    ],
)
def test_what_is_missing_is_said_in_one_line_before_anything_is_written(composed, tmp_path, line, message):
    config = composed(*SMOKE, *line)
    task = training.test if config.task == "test" else training.train
    with pytest.raises(ValueError, match=message) as caught:
        task(config)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Settings of weights that are random, and said to be."""
    path = write_sam(tmp_path_factory.mktemp("sam") / "tiny.safetensors")
    return (f"model.weights={path}", "model.stand_in=true")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, generated):
    """Run folder of a training with heat maps, in a folder of runs."""
    folder = tmp_path_factory.mktemp("grid") / "scarnet_baseline-0a1b2c3d4e5f"
    training.train(compose_line(folder, generated, *WHOLE, "experiment=scarnet_baseline"))
    card = json.loads((folder / "run_card.json").read_text())
    card["choices"] = {"experiment": "scarnet_baseline", "ablation": "none"}  # as a command line leaves them
    (folder / "run_card.json").write_text(json.dumps(card))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_a_run_of_sam_leaves_a_row_for_every_slice_and_trains_nothing(generated, tmp_path, tiny, trained, row):
    found = (f"model.prompts={trained}",) if row.endswith("found") else ()
    line = (*WHOLE, f"experiment={row}", *tiny, *found)
    training.train(compose_line(tmp_path / "run", generated, *line))
    cases, card = pd.read_csv(tmp_path / "run" / "cases.csv"), json.loads((tmp_path / "run/run_card.json").read_text())
    assert tuple(cases.columns) == CASE_COLUMNS
    assert len(cases) == 10 * card["slices"]["test"]
    assert len(cases) == len(pd.read_csv(trained / "cases.csv"))
    assert card["network"]["trained_parameters"] == 0
    assert ("oracle" in card["network"]["protocol"]) == row.endswith("annotated")
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert not (tmp_path / "run" / "metrics.csv").exists()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["train"] is None
    assert summary["model"]["parameters"] > 0
    before = (tmp_path / "run" / "cases.csv").stat().st_mtime_ns
    training.train(compose_line(tmp_path / "run", generated, *line))  # finished: nothing to do
    assert (tmp_path / "run" / "cases.csv").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"(?s)no finished run.*stand-in for tests \(model\.stand_in=true\)"):
        load_runs([tmp_path / "run"])


class Fills(nn.Module):
    """Decodes every box to what is in it."""

    def get_image_embeddings(self, pictures):
        return pictures

    def forward(self, image_embeddings, multimask_output, input_boxes):
        edges = input_boxes[0] + 0.5
        places = (torch.arange(256) + 0.5) * 4
        columns = (places > edges[:, :1]) & (places < edges[:, 2:3])
        rows = (places > edges[:, 1:2]) & (places < edges[:, 3:])
        scores = 8.0 * (rows[:, :, None] & columns[:, None, :]) - 4.0
        every = scores[:, None].expand(-1, 3, -1, -1)
        return SimpleNamespace(pred_masks=every[None], iou_scores=torch.zeros(1, len(every), 3))


def test_what_is_drawn_in_annotated_boxes_lies_on_the_true_structures_of_the_scan(composed, tiny):
    """All the way: store, prompt, SAM's square, mask, native grid."""
    data, module, _ = training.build(composed(*WHOLE, "experiment=sam_box_annotated", *tiny))
    module.network.sam, module.network.side = Fills(), 1024
    batch = SliceBatches(data.store)[[(int(index), 0) for index in data.indices["test"]]]
    with torch.no_grad():
        slices = evaluate(module.eval().decided(batch), batch, data.store)
    assert len(slices) == 2
    for item in slices:
        present = ~np.isnan(item.true_boxes[:, 0])
        assert present.sum() >= 9
        classes = 1 + np.flatnonzero(present)
        found = [np.mean(item.predicted_mask[item.true_mask == index] == index) for index in classes]
        assert np.mean(found) > 0.75, "but for where boxes of neighbours overlap"
        centre_mm = (item.mask_boxes - item.true_boxes)[present, :2] * [64 * 4.4, 64 * 4.4]
        assert np.abs(centre_mm).mean() < 3.5, "a pixel of the network's grid"


@pytest.mark.slow
def test_a_test_of_sam_is_its_run(generated, tmp_path, tiny):
    for task in ("train", "test"):
        config = compose_line(tmp_path / task, generated, *WHOLE, "experiment=sam_box_annotated", *tiny, f"task={task}")
        (training.test if task == "test" else training.train)(config)
    first, second = (pd.read_csv(tmp_path / task / "cases.csv") for task in ("train", "test"))
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.slow
def test_found_prompts_are_those_that_the_run_has_kept(generated, tmp_path, trained):
    data = training.build_data(compose_line(tmp_path, generated, *WHOLE, "experiment=unet_sagittal"))
    index = int(data.indices["test"][0])
    row, native = data.store.table.iloc[index], data.store.native(index)
    kept = Predictions(trained).of(row["case"], int(row["slice"]))
    scan = NativeGrid(grid=data.store.grid, size=native.mask.shape, spacing_mm=native.spacing_mm)
    points = FoundPrompts(str(trained), data, "point")(index)
    keypoints = torch.from_numpy(kept["keypoints"]).float()
    assert keypoints.isfinite().any()
    torch.testing.assert_close(scan.points(points), keypoints, equal_nan=True, atol=1e-3, rtol=0)
    boxes = FoundPrompts(f"{trained.parent}/scarnet_baseline-*", data, "box")(index)
    torch.testing.assert_close(scan.boxes(boxes), boxes_of(kept["predicted_mask"], 10), equal_nan=True)


def changed(trained, tmp_path, **settings):
    """A copy of a run whose configuration says something else."""
    folder = tmp_path / f"{trained.name}-changed"
    shutil.copytree(trained, folder)
    config = OmegaConf.load(folder / "config.yaml")
    for key, value in settings.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    OmegaConf.save(config, folder / "config.yaml")
    return folder


@pytest.mark.slow
def test_prompts_of_another_fold_cohort_or_kind_of_run_are_refused(generated, tmp_path, trained):
    line = (*WHOLE, "experiment=unet_sagittal")
    data = training.build_data(compose_line(tmp_path, generated, *line))
    other = training.build_data(compose_line(tmp_path, generated, *line, "fold=1"))

    def refused(folder, message, data=data):
        with pytest.raises(ValueError, match=message) as caught:
            FoundPrompts(str(folder), data, "box")
        assert "\n" not in str(caught.value)
        shutil.rmtree(tmp_path / f"{trained.name}-changed", ignore_errors=True)

    refused(trained, "trained for fold 0, on patients that fold 1 tests", other)
    refused(f"{trained.parent}/scarnet_baseline-*", "trained for fold 0, on patients that fold 1 tests", other)
    refused(tmp_path / "nowhere", "there is no training")
    refused(changed(trained, tmp_path, task="test"), "there is no training, whose patients are known")
    refused(changed(trained, tmp_path, model__prompts="annotated"), "was itself told of the true masks")
    card = json.loads((trained / "run_card.json").read_text())
    for key, what in (("cohort_content", "cohort"), ("split", "split")):
        strange = changed(trained, tmp_path)
        (strange / "run_card.json").write_text(json.dumps({**card, key: "0" * 32}))
        refused(strange, f"is of another {what} than this run, and may have been trained on")
    fewer = changed(trained, tmp_path)
    lines = (fewer / "predictions" / "index.csv").read_text().splitlines(keepends=True)
    (fewer / "predictions" / "index.csv").write_text("".join(lines[:-1]))
    refused(fewer, r"no predictions of 1 of 2 test slices")
    unfinished = changed(trained, tmp_path)
    (unfinished / "summary.json").unlink()
    refused(unfinished, "not finished")
