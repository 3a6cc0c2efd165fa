"""A sheet of a run, and a panel of a report that reads its files: the same part of a slice, from the same side."""

import io
from base64 import b64decode

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from callbacks import overlays
from lightning_modules.evaluation.prediction_files import PredictionFolder
from reports.pictures.panels import MARGIN_MM, common_view, load_slice, panel
from tests.callbacks.test_marked_sheets import evaluated
from tests.made.predicted_scans import anatomy_of


def places(picture: np.ndarray, colour: str) -> np.ndarray:
    """Top, bottom, left and right of what has a hue, as shares of the picture."""
    red, green, blue = np.moveaxis(picture.astype(float) - picture.mean(axis=2, keepdims=True), 2, 0)
    hue = np.array(to_rgb(colour)) - np.mean(to_rgb(colour))
    least = 0.2 * 255 * (hue**2).sum()  # half of what the fainter of both is painted
    rows, columns = np.nonzero(red * hue[0] + green * hue[1] + blue * hue[2] > least)
    edges = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
    return np.divide(edges, np.repeat(picture.shape[:2], 2))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (0.5, 1.25)])
@pytest.mark.parametrize("name", ["axial_muscle4", "sagittal10"])
def test_a_report_shows_what_the_overlays_show(tmp_path, monkeypatch, name, spacing_mm):
    anatomy = anatomy_of(name)
    colours = [anatomy.colours[structure] for structure in anatomy.structures]
    item = evaluated(anatomy, spacing_mm, network_boxes=None, saliency=None)
    monkeypatch.setattr(overlays, "MARGIN_MM", MARGIN_MM)
    figure = overlays.draw_sheet([(0.5, item)], anatomy)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.axes[1].get_window_extent()
    pixels, height = np.asarray(canvas.buffer_rgba())[..., :3], figure.bbox.height
    sheet = pixels[round(height - box.y1) + 2 : round(height - box.y0) - 2, round(box.x0) + 2 : round(box.x1) - 2]

    predictions = PredictionFolder(tmp_path)
    predictions.add(item)
    stored = load_slice(next(predictions.path.iterdir()))
    assert stored is not None
    source = panel(stored, "truth", common_view([stored], colours, view=anatomy.view), alt="a").source
    report = np.asarray(Image.open(io.BytesIO(b64decode(source.partition(",")[2]))).convert("RGB"))

    assert report.shape[0] / report.shape[1] == pytest.approx(sheet.shape[0] / sheet.shape[1], rel=0.03)
    assert places(report, colours[0]) == pytest.approx(places(sheet, colours[0]), abs=0.025)
    assert places(sheet, colours[0])[2:].mean() > 0.45, "on the right half of the image, the patient's left"
