"""The sheet of slices before and after augmentation: what it shows and says, and that no training notices it."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from callbacks.augmentation_sheet import AugmentationSheet, draw_sheet, draws, mosaic, outlined, telling_rows
from datamodules.anatomy import Anatomy
from datamodules.augment_batched import BatchedAugmentation
from datamodules.augmentation.mirror import mirror_slices
from lightning_modules.segmentation import SegmentationModule
from lightning_modules.tasks import training
from tests.conftest import TINY_PHANTOM, compose_line
from tests.made.augmentation_samples import ANATOMY, GEOMETRY_ONLY, KEYPOINTS, STRUCTURES, make, sample

COLOURS = {name: f"#{40 * index + 30:02x}{220 - 30 * index:02x}80" for index, name in enumerate(STRUCTURES)}
COLOURED = Anatomy(
    name="sided", view="axial", structures=STRUCTURES, colours=COLOURS, mirror=ANATOMY.mirror, keypoints=KEYPOINTS
)
ANGLE = "rotation up to 12° to either side"


@pytest.fixture(scope="module", params=["papers", "batched"])
def data(request, tmp_path_factory, generated):
    line = (*TINY_PHANTOM, "trainer=smoke", "experiment=unet", f"data/augmentation={request.param}")
    return training.build_data(compose_line(tmp_path_factory.mktemp("data") / "run", generated, *line))


def global_streams():
    """Python's own is left out: beartype, which checks annotations in tests, draws from it."""
    state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  the global one is what is asked about
    return torch.get_rng_state().numpy(), state["key"].copy(), state["pos"]


@pytest.mark.parametrize(
    ("choice", "has", "lacks"),
    [
        ("papers", ["scale 0.9 to 1.1, shift up to 5 %", "elastic", "flip", "brightness up to 0.2 SD"], ["gamma"]),
        ("msff", ["rotation up to 10° to either side (in every slice)", "contrast up to 20 %"], ["scale", "elastic"]),
        ("baur", ["optical distortion up to 5 %", "elastic displacement up to 4 mm"], ["flip", "brightness"]),
        ("batched", ["gamma 0.8 to 1.25 (in 70 %", "noise up to 0.05 SD (in 30 % of slices)"], ["optical"]),
        ("none", [], ["rotation"]),
    ],
)
def test_what_is_on_is_said_with_its_range(composed, choice, has, lacks):
    config = composed(f"data/augmentation={choice}")
    text = "; ".join(instantiate(config.data.augmentation, anatomy=instantiate(config.anatomy)).in_words)
    assert [part for part in has if part not in text] == []
    assert [part for part in lacks if part in text] == []
    assert bool(text) == bool(has)


def test_a_sagittal_slice_is_not_said_to_be_flipped():
    only = {"affine_probability": 0.0, "elastic_probability": 0.0, **GEOMETRY_ONLY}
    assert make(BatchedAugmentation, **only).in_words == ["flip left to right, sides swapped (in 50 % of slices)"]
    sagittal = Anatomy(name="s", view="sagittal", structures=["disc"], colours={"disc": "#000000"})
    assert not any("flip" in text for text in make(BatchedAugmentation, sagittal).in_words)


def test_colours_of_the_sides_follow_a_flip():
    one, colours = sample(3), list(COLOURS.values())
    flipped = mirror_slices(one, [True], COLOURED)
    grey, mask = one.image[0, 0].numpy(), one.mask[0].numpy()
    shown = outlined(flipped.image[0, 0].numpy(), flipped.mask[0].numpy(), colours, 2)
    other = outlined(grey, np.array(COLOURED.mirrored_classes)[mask], colours, 2)
    assert np.array_equal(shown, other[:, ::-1])
    assert not np.array_equal(shown, outlined(grey, mask, colours, 2)[:, ::-1])


def test_only_the_edge_of_a_structure_is_coloured_and_the_network_s_pixels_stay_whole():
    mask = np.zeros((9, 9), dtype=np.int64)
    mask[2:7, 2:7] = 1
    picture = outlined(np.full((9, 9), 100.0, np.float32), mask, ["#ff0000"], 3)
    red = (picture == (255, 0, 0)).all(axis=2)
    assert picture.shape == (27, 27, 3)
    assert red.sum() == 4 * 14
    assert red[6:21, 6:21].sum() == red.sum()
    assert not red[7:20, 7:20].any()
    assert set(picture[~red].ravel()) == {100}


def test_grey_levels_of_a_column_are_those_of_its_stored_slice():
    one = sample(1, channels=1)
    darker = make(BatchedAugmentation, COLOURED, flip_probability=0.0, affine_probability=0.0, elastic_probability=0.0)
    changed = darker(one)
    sheet = mosaic([one, changed], COLOURED, 1).astype(int)
    height = one.mask.shape[1]
    assert sheet.shape == (2 * height + 5, one.mask.shape[2], 3)
    assert (sheet[height : height + 5] == 255).all()
    inside = ~np.isin(one.mask[0].numpy(), range(1, 7))
    before, after = sheet[:height][inside].mean(), sheet[height + 5 :][inside].mean()
    expected = float((changed.image - one.image)[0, 0][torch.from_numpy(inside)].mean())
    assert np.sign(after - before) == np.sign(expected)


def test_random_streams_and_slices_are_left_alone(data):
    before = global_streams()
    batches = draws(data, telling_rows(data, 3), 2)
    again = draws(data, telling_rows(data, 3), 2)
    assert all(map(np.array_equal, before, global_streams()))
    assert [len(batch) for batch in batches] == [3, 3, 3]
    for batch, other in zip(batches, again, strict=True):
        assert torch.equal(batch.image, other.image)
        assert torch.equal(batch.mask, other.mask)
    assert torch.equal(batches[0].image, torch.from_numpy(data.store.image[batches[0].index.numpy()]))
    assert all(not torch.equal(batch.image, batches[0].image) for batch in batches[1:])
    trained = {*data.patients("train")}
    assert {patient for batch in batches for patient in batch.patient} <= trained
    assert int(batches[1].seed.min()) >= 2**31, "training draws below"


def test_the_sheet_is_whole(data):
    batches = draws(data, telling_rows(data, 3), 2)
    figure = draw_sheet(batches, data)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axis,) = figure.axes
    (legend,) = figure.legends
    caption, title = sorted((text.get_text() for text in figure.texts), key=len, reverse=True)
    assert ANGLE in caption.replace("\n", " ")
    assert data.cohort.name in title
    box, page = legend.get_window_extent(), figure.bbox
    assert page.x0 <= box.x0 <= box.x1 <= page.x1
    assert box.y1 <= axis.get_window_extent().y0
    assert figure.texts[0].get_window_extent().y1 <= box.y0 + 1
    sheet = axis.images[0].get_array()
    assert axis.get_window_extent().size == pytest.approx(sheet.shape[1::-1])
    assert to_hex(legend.get_patches()[0].get_facecolor()) == next(iter(data.anatomy.colours.values()))


def test_a_folder_keeps_its_sheet_and_without_augmentation_there_is_none(data, composed, tmp_path, monkeypatch, caplog):
    module = SegmentationModule.__new__(SegmentationModule)
    trainer = SimpleNamespace(is_global_zero=True, loggers=[])
    monkeypatch.setattr(SegmentationModule, "data", data)
    sheet = AugmentationSheet(str(tmp_path), num_slices=2, num_draws=1)
    sheet.on_train_start(trainer, module)
    written = sheet.path.stat().st_mtime_ns
    sheet.on_train_start(trainer, module)
    assert sheet.path.stat().st_mtime_ns == written
    monkeypatch.setattr(data, "augmentation", instantiate(composed("data/augmentation=none").data.augmentation))
    none = AugmentationSheet(str(tmp_path / "none"))
    with caplog.at_level(logging.INFO):
        none.on_train_start(trainer, module)
    assert "not augmented, so there is no augmentations.png" in caplog.text
    assert not none.path.exists()
