"""Pictures without axes bear the patient's sides and a bar of millimetres, too."""

import numpy as np
import pytest

from callbacks.augmentation_sheet import draw_sheet, draws, telling_rows
from callbacks.wandb_review import review_media
from lightning_modules.tasks import training
from tests.callbacks.test_wandb_review import ANATOMY, cases_of, slice_of
from tests.conftest import TINY_PHANTOM, compose_line


def test_pictures_for_wandb_are_marked():
    image = np.random.default_rng(0).normal(size=(1, 128, 96)).astype(np.float32)
    mask = np.zeros((128, 96), np.int64)
    mask[40:80, 30:60] = 1
    item = slice_of(image=image, true_mask=mask, predicted_mask=mask, saliency=np.zeros((128, 96), np.float32))
    for has_mm in (True, False):
        shown = review_media([(0.7, item)], cases_of(3), ANATOMY, has_mm=has_mm)
        for key in ("test/overlays", "test/saliency"):
            pixels = np.array(shown[key][0].image.convert("RGB"))
            assert pixels.shape == (128, 96, 3)
            white = (pixels == 255).all(axis=2)[117:126]
            assert (white.sum(axis=1).max() >= 9) == has_mm, "20 mm of 2 mm each"


def test_every_panel_of_the_augmentation_sheet_has_both(tmp_path, generated):
    data = training.build_data(compose_line(tmp_path / "run", generated, *TINY_PHANTOM, "experiment=unet"))
    axes = draw_sheet(draws(data, telling_rows(data, 3), 2), data).axes
    assert len(axes) == 9
    for axis in axes:
        assert [text.get_text() for text in axis.texts] == ["R", "L", "20 mm"]
        bars = [line for line in axis.get_lines() if line.get_gid() == "bar"]
        lengths = [np.ptp(line.get_xdata()) * data.store.grid.spacing_mm for line in bars]
        assert lengths == pytest.approx([20.0] * 2)
