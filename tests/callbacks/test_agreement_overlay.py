"""The overlay that shows where two masks agree: its codes and colours, a run's sheet and a report's panels."""

import io
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from callbacks.overlays import Overlays, draw_sheet
from datamodules.anatomy import Anatomy
from metrics.agreement_map import COLOURS, MEANINGS, agreement_colours, agreement_map
from records.predictions import StoredSlice
from reports.pictures.panels import View, panel
from tests.callbacks.test_prediction_writer import small_slice

NAMES = ("dural_sac", "ligamentum_flavum", "psoas", "multifidus", "erector_spinae", "lamina", "disc")
TRUTH = np.array([[0, 1, 1, 0], [2, 2, 0, 1]])
PREDICTION = np.array([[0, 1, 0, 1], [2, 1, 0, 1]])


def test_every_pixel_has_the_code_of_what_it_means():
    assert agreement_map(TRUTH, PREDICTION).tolist() == [[0, 3, 1, 2], [3, 4, 0, 3]]
    assert list(MEANINGS) == list(COLOURS) == ["truth", "prediction", "both", "other"]


def test_colours_are_replaced_by_name_and_unknown_names_refused():
    assert agreement_colours({"both": "#123456"}) == COLOURS | {"both": "#123456"}
    with pytest.raises(ValueError, match="has no missed; expected colours of truth, prediction, both, other"):
        agreement_colours({"missed": "#ff0000"})
    with pytest.raises(ValueError, match=r"style is 'rainbow'; expected structures or agreement"):
        Overlays(folder="nowhere", style="rainbow")


@pytest.mark.parametrize("agreement", [{}, agreement_colours()], ids=["structures", "agreement"])
@pytest.mark.parametrize("num_slices", [1, 6])
def test_the_legend_of_the_sheet_is_whole_and_below_the_panels(agreement, num_slices):
    colours = {name: f"#{20 * k:02x}8040" for k, name in enumerate(NAMES)}
    parts = {name: (name,) for name in NAMES}
    anatomy = Anatomy(name="axial7", view="axial", structures=NAMES, colours=colours, parts=parts)
    masks = {"true_mask": np.tile(TRUTH, (8, 4)), "predicted_mask": np.tile(PREDICTION, (8, 4))}
    boxes = np.full((7, 4), np.nan, np.float32)
    rest = {"labelled": np.ones(8, bool), "true_boxes": boxes, "mask_boxes": boxes, "saliency": None}
    item = replace(small_slice(0, "case"), image=np.zeros((1, 16, 16), np.float32), **masks, **rest)
    figure = draw_sheet([(0.5, item)] * num_slices, anatomy, agreement)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (legend,) = figure.legends
    box, page = legend.get_window_extent(), figure.bbox
    assert page.x0 <= box.x0 <= box.x1 <= page.x1
    assert page.y0 <= box.y0
    assert box.y1 <= min(axis.get_window_extent().y0 for axis in figure.axes)
    assert [text.get_text() for text in legend.get_texts()] == [
        *(MEANINGS.values() if agreement else (name.replace("_", " ") for name in NAMES))
    ]
    titles = [axis.get_title() for axis in figure.axes[: len(figure.axes) // num_slices]]
    assert titles == (["image", "agreement"] if agreement else ["image", "truth", "prediction"])


def test_the_names_of_slices_are_whole_beside_narrow_panels():
    """Sagittal slices are tall: the margin must not shrink with their width."""
    colours = {name: f"#{20 * k:02x}8040" for k, name in enumerate(NAMES)}
    anatomy = Anatomy(name="axial7", view="axial", structures=NAMES, colours=colours, parts={n: (n,) for n in NAMES})
    mask, boxes = np.zeros((120, 20), int), np.full((7, 4), np.nan, np.float32)
    mask[5:115, 8:12] = 1
    rest = {"labelled": np.ones(8, bool), "true_boxes": boxes, "mask_boxes": boxes, "saliency": None}
    image = np.zeros((1, 120, 20), np.float32)
    item = replace(small_slice(0, "case"), image=image, true_mask=mask, predicted_mask=mask, **rest)
    figure = draw_sheet([(0.5, item)], anatomy)
    FigureCanvasAgg(figure).draw()
    assert figure.bbox.width < 500, "narrow enough to have clipped them"
    assert figure.axes[0].yaxis.label.get_window_extent().x0 >= figure.bbox.x0


def test_a_panel_of_the_report_has_the_colours_of_the_agreement():
    true, predicted = np.zeros((40, 40), np.int64), np.zeros((40, 40), np.int64)
    true[10:30, 5:25] = 1
    predicted[10:30, 15:35] = 1
    item = StoredSlice(image=np.zeros((40, 40), np.uint8), true_mask=true, predicted_mask=predicted)
    colours = ["#ff0000", "#00ff00", "#ffff00"]
    view = View(half_mm=(20.0, 20.0), colours=["#ffffff"], view="sagittal", agreement=colours)
    source = panel(item, "agreement", view, alt="a").source
    pixels = np.asarray(Image.open(io.BytesIO(b64decode(source.partition(",")[2]))).convert("RGB"), float)
    shades = {}
    # The middle of the annotated structure, column 14.5, would be in the middle of the panel if the image allowed it.
    for name, column in (("truth", 9), ("both", 19), ("prediction", 29)):
        red, green, blue = pixels[150, round((column + 0.5) / 40 * 300)]
        shades[name] = (red > 60, green > 60, blue > 60)
    assert shades == {"truth": (True, False, False), "both": (True, True, False), "prediction": (False, True, False)}
