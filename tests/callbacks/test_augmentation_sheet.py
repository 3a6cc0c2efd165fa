"""The sheet of slices before and after augmentation: what it shows and says, and that no training notices it."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from callbacks.augmentation_sheet import AugmentationSheet, draw_sheet, draws, telling_rows
from datamodules.anatomy import Anatomy
from datamodules.augment_batched import BatchedAugmentation
from datamodules.augmentation.mirror import mirror_slices
from datamodules.slices import SliceDataModule
from lightning_modules.segmentation import SegmentationModule
from lightning_modules.tasks import training
from pictures.view import grey_levels, window_of
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


def drawn(data, monkeypatch, *batches):
    """The panels of a sheet of slices that no cohort has, column by column."""
    monkeypatch.setattr(SliceDataModule, "anatomy", COLOURED)
    return draw_sheet(batches, data).axes


def outlines(axis):
    """x of the edges of every structure, by its colour."""
    places = {to_hex(lines.get_edgecolor()[0]): lines.get_paths() for lines in axis.collections if lines.get_paths()}
    return {
        colour: sorted(np.concatenate([path.vertices[:-1, 0] for path in paths]).tolist())
        for colour, paths in places.items()
        if colour in COLOURS.values()
    }


def test_colours_of_the_sides_follow_a_flip(data, monkeypatch):
    one, names = sample(3), {colour: name for name, colour in COLOURS.items()}
    stored, flipped = map(outlines, drawn(data, monkeypatch, one, mirror_slices(one, [True], COLOURED)))
    assert len(stored) == len(flipped) > 3
    for colour, places in stored.items():
        name = names[colour]
        name = name.replace("left", "-").replace("right", "left").replace("-", "right")
        mirrored = [one.mask.shape[2] - 1 - x for x in reversed(places)]
        assert flipped[COLOURS[name]] == pytest.approx(mirrored)


def test_the_network_s_pixels_stay_whole(data, monkeypatch):
    batches = draws(data, telling_rows(data, 3), 1)
    figure = draw_sheet(batches, data)
    panels = [axis.get_window_extent() for axis in figure.axes]
    rows, columns = batches[0].mask.shape[1:]
    zoom = round(256 / rows)
    for panel, axis in zip(panels, figure.axes, strict=True):
        assert (panel.height, panel.width) == pytest.approx((zoom * rows, zoom * columns))
        assert (panel.x0, panel.y0) == pytest.approx((round(panel.x0), round(panel.y0)), abs=1e-6)
        assert axis.images[0].get_interpolation() == "none"


def test_grey_levels_of_a_column_are_those_of_its_stored_slice(data, monkeypatch):
    one = sample(1, channels=1)
    darker = make(BatchedAugmentation, COLOURED, flip_probability=0.0, affine_probability=0.0, elastic_probability=0.0)
    changed = darker(one)
    images = (one.image[0, 0].numpy(), changed.image[0, 0].numpy())
    for axis, image in zip(drawn(data, monkeypatch, one, changed), images, strict=True):
        assert np.array_equal(axis.images[0].get_array()[..., 0], grey_levels(image, window_of(images[0])))


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
    (legend,) = figure.legends
    caption, title = sorted((text.get_text() for text in figure.texts), key=len, reverse=True)
    assert ANGLE in caption.replace("\n", " ")
    assert data.cohort.name in title
    box, page = legend.get_window_extent(), figure.bbox
    assert page.x0 <= box.x0 <= box.x1 <= page.x1
    assert box.y1 <= min(axis.get_window_extent().y0 for axis in figure.axes)
    assert figure.texts[0].get_window_extent().y1 <= box.y0 + 1
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
