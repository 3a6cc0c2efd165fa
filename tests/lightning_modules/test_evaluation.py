"""The way back: from the network's grid to the pixels of the scan."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from datamodules.batch import boxes_of_masks
from datamodules.reading.geometry import SliceGrid
from lightning_modules.evaluation.evaluated import evaluate
from lightning_modules.evaluation.native_grid import NativeGrid
from lightning_modules.evaluation.rows import slice_rows
from lightning_modules.losses.segmentation import class_shares
from lightning_modules.tasks.training import build
from models.prediction import Prediction
from tests.conftest import TINY_PHANTOM

# Drawn as plain numbers: beartype samples containers with `random`, which hypothesis forbids inside strategies.
GRIDS = st.tuples(
    st.tuples(st.sampled_from([32, 48]), st.sampled_from([32, 64])),
    st.sampled_from([0.8, 1.0, 1.7]),
    st.tuples(st.integers(-6, 6), st.integers(-6, 6)),
)


def slice_grid(size: tuple[int, int], spacing_mm: float, offset_mm: tuple[int, int]) -> SliceGrid:
    return SliceGrid(size=size, spacing_mm=spacing_mm, offset_mm=(float(offset_mm[0]), float(offset_mm[1])))


@given(drawn=GRIDS, spacing=st.sampled_from([(1.0, 1.0), (0.7, 1.3)]))
@settings(deadline=None, max_examples=30)
def test_what_went_to_the_network_comes_back_where_it_was(drawn, spacing):
    """A smooth picture, resampled to the grid and back, is itself inside the grid's field of view; zero outside."""
    grid = slice_grid(*drawn)
    rows, columns = np.meshgrid(np.arange(60), np.arange(50), indexing="ij")
    native = (2 + np.sin(rows / 9) + np.cos(columns / 7)).astype(np.float32)[None]
    scan = NativeGrid(grid=grid, size=(60, 50), spacing_mm=spacing)
    back = scan.values(torch.from_numpy(grid.resample_image(native, spacing)))[0].numpy()
    offsets = [
        np.abs((np.arange(n) - (n - 1) / 2) * spacing[axis] - grid.offset_mm[axis]) for axis, n in enumerate((60, 50))
    ]
    half_mm = [side * grid.spacing_mm / 2 for side in grid.size]
    inner = [offset < half - 3 * max(grid.spacing_mm, *spacing) for offset, half in zip(offsets, half_mm, strict=True)]
    margin = np.zeros((60, 50), dtype=bool)
    margin[4:-4, 4:-4] = True  # resampling cannot be exact at the border of the image
    well_inside = np.outer(*inner) & margin
    outside = ~np.outer(*(offset <= half for offset, half in zip(offsets, half_mm, strict=True)))
    assert np.abs(back - native[0])[well_inside].max(initial=0) < 0.05
    assert not back[outside].any()


@given(drawn=GRIDS)
@settings(deadline=None, max_examples=30)
def test_boxes_go_back_with_the_mask(drawn):
    grid = slice_grid(*drawn)
    mask = torch.zeros(1, *grid.size, dtype=torch.long)
    mask[0, 8:20, 10:26] = 1
    # A native grid of the same pixels, larger than the network's: the same box in the same millimetres.
    scan = NativeGrid(grid=grid, size=(200, 220), spacing_mm=(grid.spacing_mm, grid.spacing_mm))
    box = scan.boxes(boxes_of_masks(mask, 1)[0])
    probability = scan.values((mask == 1).float())
    expected = boxes_of_masks((probability > 0.5).long(), 1)[0]
    pixel = torch.tensor([1 / 220, 1 / 200, 1 / 220, 1 / 200])
    assert ((box - expected).abs() <= 1.01 * pixel).all(), "at most the pixel by which the two grids are shifted"


def perfect_prediction(mask: torch.Tensor, num_classes: int) -> Prediction:
    return Prediction(logits=20 * F.one_hot(mask, num_classes).movedim(-1, 1).float())


def test_a_perfect_network_scores_nearly_perfectly_on_the_native_grid(composed):
    """The whole way, phantom to table: right sides, right millimetres, only the resolution of the grid is lost."""
    data, _, _ = build(
        composed(*TINY_PHANTOM, "trainer=smoke", "experiment=unet", "data.spacing_mm=1.5", "data.size=[128,128]")
    )
    rows = []
    for batch in data.test_dataloader():
        prediction = perfect_prediction(batch.mask, data.anatomy.num_classes)
        for item in evaluate(prediction, batch, data.store):
            rows += slice_rows(item, data.anatomy.structures)
    cases = pd.DataFrame(rows)
    assert set(cases["status"]) == {"scored"}
    assert cases["dice"].min() > 0.9
    assert cases["hd95_mm"].max() <= 3.0 * 2**0.5


def native_settings(composed, *overrides):
    """A phantom whose slices lie on the network's own pixels."""
    return build(composed(*TINY_PHANTOM, "trainer=smoke", "experiment=unet", *overrides))[0]


def coarse_scores(mask: torch.Tensor, num_classes: int, scale: int) -> torch.Tensor:
    """What a preliminary mask would be if it knew the truth, as logits."""
    size = torch.Size(side // scale for side in mask.shape[1:])
    return class_shares(mask, num_classes, size, nearest=False).clamp(min=1e-8).log()


@pytest.mark.parametrize("scale", [1, 4, 8])
def test_the_ceiling_is_what_the_scale_of_the_preliminary_mask_allows(composed, scale):
    data = native_settings(composed)
    batch = next(iter(data.test_dataloader()))
    num_classes = data.anatomy.num_classes
    prediction = perfect_prediction(batch.mask, num_classes)
    scores = coarse_scores(batch.mask, num_classes, scale)
    ceilings = []
    for item in evaluate(prediction._replace(preliminary=scores), batch, data.store, mechanism=True):
        rows = slice_rows(item, data.anatomy.structures)
        for row in rows:
            assert row["preliminary_dice"] == row["preliminary_ceiling_dice"], "perfect scores reach the ceiling"
        ceilings += [row["preliminary_ceiling_dice"] for row in rows]
    assert (np.mean(ceilings) == 1) if scale == 1 else (0.2 < np.mean(ceilings) < 0.95)


def test_the_preliminary_mask_is_merged_for_unlabelled_classes_as_the_logits_are(composed):
    data = native_settings(composed)
    batch = next(iter(data.test_dataloader()))
    psoas = data.anatomy.class_index("psoas_left")
    labelled = batch.labelled.clone()
    labelled[:, psoas] = False
    partial = replace(batch, labelled=labelled, mask=batch.mask.masked_fill(batch.mask == psoas, 0))
    prediction = perfect_prediction(batch.mask, data.anatomy.num_classes)
    prediction = prediction._replace(preliminary=coarse_scores(batch.mask, data.anatomy.num_classes, 2))
    for item in evaluate(prediction, partial, data.store, mechanism=True):
        for mask in (item.mechanism.preliminary_mask, item.mechanism.ceiling_mask):
            assert not (mask == psoas).any()
            assert (mask > 0).any()


def test_maps_lie_where_the_network_saw_them(composed):
    """A map that is 1 in the left half of the network's field, and what validation leaves out."""
    data = native_settings(composed, "data.spacing_mm=2.0")
    batch = next(iter(data.test_dataloader()))
    half = torch.zeros(len(batch), 1, 4, 4)
    half[..., :2] = 1
    prediction = perfect_prediction(batch.mask, data.anatomy.num_classes)._replace(saliency=half, gated_features=half)
    item = evaluate(prediction, batch, data.store, mechanism=True)[0]
    field = item.mechanism.field
    rows, columns = np.nonzero(field)
    assert np.ptp(rows) + 1 == pytest.approx(64 * 2 / 3, abs=1), "128 mm of a field on pixels of 3 mm"
    left = columns < 24  # well on that side of the middle, where the bilinear map passes from 1 to 0
    assert (item.saliency[rows, columns][left] == 1).all()
    assert not item.saliency[~field].any()
    np.testing.assert_array_equal(item.gated_features, item.saliency)
    plain = evaluate(prediction, batch, data.store)[0]
    assert plain.gated_features is None
    assert plain.mechanism.field is None
    np.testing.assert_array_equal(plain.predicted_mask, item.predicted_mask)


def test_mirrored_predictions_are_caught(composed):
    """A network that mixes up the sides must not score: sides are real in the table."""
    data, _, _ = build(composed(*TINY_PHANTOM, "trainer=smoke", "experiment=unet"))
    batch = next(iter(data.test_dataloader()))
    swapped = torch.tensor(data.anatomy.mirrored_classes)[batch.mask]
    (item, *_) = evaluate(perfect_prediction(swapped, data.anatomy.num_classes), batch, data.store)
    left = data.anatomy.class_index("multifidus_left")
    assert not ((item.true_mask == left) & (item.predicted_mask == left)).any()


def test_unlabelled_classes_are_never_predicted(composed):
    data, _, _ = build(composed(*TINY_PHANTOM, "trainer=smoke", "experiment=unet"))
    batch = next(iter(data.test_dataloader()))
    psoas = data.anatomy.class_index("psoas_left")
    labelled = batch.labelled.clone()
    labelled[:, psoas] = False
    (item, *_) = evaluate(
        perfect_prediction(batch.mask, data.anatomy.num_classes), replace(batch, labelled=labelled), data.store
    )
    assert not (item.predicted_mask == psoas).any()
    assert (item.predicted_mask[item.true_mask == psoas] == 0).mean() > 0.9


def test_image_left_is_the_patients_right(composed):
    data, _, _ = build(composed(*TINY_PHANTOM, "trainer=smoke", "experiment=unet"))
    for index in range(len(data.store)):
        mask = data.store.native(index).mask
        columns = {
            side: np.nonzero(mask == data.anatomy.class_index(f"psoas_{side}"))[1].mean() for side in ("left", "right")
        }
        assert columns["right"] < columns["left"]


def test_the_order_of_training_slices_follows_from_seed_and_epoch():
    from datamodules.loading import Share, TrainingBatches

    batches = TrainingBatches(np.arange(10), batch_size=4, samples_per_epoch=25, seed=3, share=Share())
    batches.set_epoch(2)
    first = list(batches)
    again = TrainingBatches(np.arange(10), batch_size=4, samples_per_epoch=25, seed=3, share=Share())
    assert first != list(again)
    again.set_epoch(2)
    assert first == list(again)
    assert len(batches) == len(first) == 7
    seen = []
    for epoch in range(4):
        again.set_epoch(epoch)
        seen += [row for batch in again for row, _ in batch]
    assert np.bincount(seen).tolist() == [10] * 10, "every slice equally often, whatever the length of an epoch"


def test_a_batch_moves_whole_but_for_what_the_cpu_reads(composed):
    data, _, _ = build(composed(*TINY_PHANTOM, "trainer=smoke", "experiment=unet"))
    batch = next(iter(data.train_dataloader()))
    moved = batch.to("meta")
    where = {field.name: getattr(moved, field.name) for field in fields(moved)}
    stayed = {name for name, value in where.items() if isinstance(value, torch.Tensor) and value.device.type == "cpu"}
    assert stayed == {"index", "seed"}
    assert batch.image.shape == (4, 1, 64, 64)
    assert batch.labelled.shape == (4, 10)
