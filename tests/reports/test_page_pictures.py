import base64
import io
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pictures.view import DPI
from records.predictions import StoredSlice
from records.runs import load_runs
from reports.collect import gather
from reports.pictures.augmentations import augmentations
from reports.pictures.gallery import FIGURE_5, choose, ranked
from reports.pictures.panels import PANEL_PX, common_view, load_slice, panel
from reports.plots.curves import mean_curve, stretches
from reports.plots.style import COLOURS, MARKERS, row_styles
from reports.render.blocks import Figures, Gap, Text
from reports.render.formats import interval, number, p_value, pick, points
from tests.made.run_folders import write_run

RED, GREEN = "#ff0000", "#00ff00"
FADED, FATTEST_S1, FATTEST_L5 = FIGURE_5


def slice_of(shape=(40, 60), spacing=(1.0, 1.0)):
    """Structure 1 on the image's left, 2 on its right, 20 mm square each; the prediction has 2 missed."""
    true = np.zeros(shape, np.uint8)
    height, width = (round(20 / size) for size in spacing)
    top = (shape[0] - height) // 2
    true[top : top + height, 2 : 2 + width] = 1
    true[top : top + height, shape[1] - 2 - width : shape[1] - 2] = 2
    left = ((2 + width / 2) / shape[1], 0.5, width / shape[1], height / shape[0])
    boxes = np.array([left, (1 - left[0], *left[1:])])
    grey = np.full(shape, 90, np.uint8)
    maps = {"saliency": np.full(shape, 255, np.uint8), "gated_features": np.full(shape, 128, np.uint8)}
    predicted = np.where(true == 1, true, 0).astype(np.uint8)
    masks = {"image": grey, "true_mask": true, "predicted_mask": predicted}
    return StoredSlice(**masks, **maps, true_boxes=boxes, network_boxes=boxes[:1], spacing_mm=np.array(spacing))


def pixels(figure):
    kind, data = figure.source.split(";base64,")
    assert kind == "data:image/jpeg"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)


def coloured(picture):
    """Where red and where green outweigh the other colours."""
    red, green, blue = picture.transpose(2, 0, 1)
    return red > np.maximum(green, blue) + 30, green > np.maximum(red, blue) + 30


def draw(item, kind, plane="axial"):
    return pixels(panel(item, kind, common_view([item], [RED, GREEN], view=plane), alt="a"))


def test_the_left_of_the_array_stays_on_the_left_of_the_panel():
    red, green = coloured(draw(slice_of(), "truth"))
    assert np.nonzero(red)[1].max() < PANEL_PX / 2 < np.nonzero(green)[1].min()


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 1.0), (1.0, 0.4)])
def test_a_square_of_millimetres_is_a_square(spacing):
    shape = (round(60 / spacing[0]), round(80 / spacing[1]))
    red, _ = coloured(draw(slice_of(shape, spacing), "truth"))
    rows, columns = np.nonzero(red)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.06)


def test_a_missed_structure_has_the_outline_of_the_truth_alone():
    picture = draw(slice_of(), "prediction")
    red, green = coloured(picture)
    assert red.sum() > 1000
    assert green.sum() == 0
    right = picture[:, PANEL_PX // 2 :]
    assert (right.min(axis=2) > 220).sum() > 100


def test_boxes_frame_their_structure():
    red, green = coloured(draw(slice_of(), "boxes"))
    inside, _ = coloured(draw(slice_of(), "truth"))
    for axis in (0, 1):
        framed, filled = (np.nonzero(where)[axis] for where in (red, inside))
        assert framed.min() == pytest.approx(filled.min(), abs=5)
        assert framed.max() == pytest.approx(filled.max(), abs=5)
    assert 0 < green.sum() < red.sum()  # dashed: the network gave no such box


def test_all_panels_of_a_view_have_one_size():
    items = [slice_of(), slice_of((80, 90), (1.0, 0.5))]
    view = common_view(items, [RED, GREEN], view="axial")
    kinds = ("image", "truth", "prediction", "boxes", "saliency", "features", "gated")
    assert {pixels(panel(item, kind, view, alt="a")).shape for item in items for kind in kinds} == {(*view.size, 3)}


def test_features_after_the_gate_are_darker_where_it_is_shut():
    item = slice_of()
    shut = item.saliency.copy()
    shut[:, :30] = 0
    before, after = (draw(replace(item, saliency=shut), kind).sum(axis=2) for kind in ("features", "gated"))
    assert after[30:-30, 45:120].max() < before[30:-30, 45:120].min()
    assert np.abs(after - before)[30:-30, -120:-45].max() < 25


def letter(corner):
    """Which of the letters of sides is written in a corner of a panel, wherever it stands in it."""
    found = {}
    for text, right, up in product("RLAP", (0.0, 0.4, 0.8), (0.0, 0.4, 0.8)):
        figure = Figure(figsize=(16 / DPI, 16 / DPI), dpi=DPI, facecolor="black")
        figure.text(
            (8 + right) / 16, (8 + up) / 16, text, color="white", fontsize=PANEL_PX / 34, ha="center", va="center"
        )
        (canvas := FigureCanvasAgg(figure)).draw()
        drawn = np.asarray(canvas.buffer_rgba())[..., 0].astype(float)
        places = np.lib.stride_tricks.sliding_window_view(corner.min(axis=2), drawn.shape).reshape(-1, drawn.size)
        likeness = max(np.corrcoef(place, drawn.ravel())[0, 1] for place in places if np.ptp(place) > 100)
        found[text] = max(found.get(text, 0.0), likeness)
    assert max(found.values()) > 0.85
    return max(found, key=found.get)


@pytest.mark.parametrize(("plane", "left", "right"), [("axial", "R", "L"), ("sagittal", "A", "P")])
def test_the_edges_of_a_panel_have_the_letters_of_its_view(plane, left, right):
    picture = draw(slice_of(), "image", plane)
    assert (letter(picture[:30, :30]), letter(picture[:30, -30:])) == (left, right)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 1.0), (1.0, 0.4)])
@pytest.mark.parametrize("plane", ["axial", "sagittal"])
def test_the_bar_of_a_panel_is_as_long_as_20_mm_of_its_picture(spacing, plane):
    """As the structure of 20 mm that is painted on the same slice."""
    item = slice_of((round(60 / spacing[0]), round(80 / spacing[1])), spacing)
    bar = max(int(row.sum()) for row in (draw(item, "image", plane)[-20:] > 200).all(axis=2)[:, : PANEL_PX // 3])
    structure, _ = coloured(draw(item, "truth", plane))
    assert bar == pytest.approx(np.ptp(np.nonzero(structure)[1]), rel=0.05)


def test_a_broken_picture_is_no_picture(tmp_path):
    whole = {name: getattr(slice_of(), name) for name in StoredSlice.__dataclass_fields__}
    np.savez_compressed(tmp_path / "whole.npz", **whole)
    np.savez_compressed(tmp_path / "odd.npz", **{**whole, "true_mask": whole["true_mask"][:-1]})
    np.savez_compressed(tmp_path / "lacking.npz", image=whole["image"])
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:200])
    found = load_slice(tmp_path / "whole.npz")
    assert found is not None
    assert np.array_equal(found.true_mask, whole["true_mask"])
    assert [load_slice(tmp_path / f"{name}.npz") for name in ("odd", "lacking", "cut", "absent")] == [None] * 4


def cohort():
    table = {"case": list("abcdef"), "slice": 0, "dice": [0.9, 0.5, 0.7, 0.8, 0.6, 0.95]}
    table |= {"level": ["L3/4", "L3/4", "L5/S1", "L5/S1", "L4/5", "L4/5"]}
    table |= {"fascia_contrast": [0.4, 0.1, 0.0, 0.9, 0.9, 0.9], "fat_fraction": [0.9, 0.9, 0.2, 0.3, np.nan, 0.1]}
    return pd.DataFrame(table)


@pytest.mark.parametrize(("rule", "case"), [(FADED, "b"), (FATTEST_S1, "d"), (FATTEST_L5, "f")])
def test_cases_are_chosen_by_the_rule(rule, case):
    assert choose(cohort(), rule)[0]["case"] == case


def test_a_rule_that_cannot_choose_says_why():
    assert choose(cohort().drop(columns="fat_fraction"), FATTEST_S1)[0] is None
    assert "fat_fraction" in choose(cohort().drop(columns="fat_fraction"), FATTEST_S1)[1]
    assert "L5/S1" in choose(cohort().query("level != 'L5/S1'"), FATTEST_S1)[1]


def test_worst_median_and_best():
    assert [(name, entry["case"]) for name, entry in ranked(cohort())] == [
        ("worst", "b"),
        ("median", "c"),
        ("best", "f"),
    ]
    assert [name for name, _ in ranked(cohort()[:2])] == ["worst and median", "best"]
    assert [name for name, _ in ranked(cohort()[:1])] == ["worst and median and best"]


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (number(float("nan")), "–"),
        (number(None), "–"),
        (number(-0.004, 2, signed=True), "0.00"),
        (number(np.float32(1234.5), 1), "1,234.5"),
        (number(float("-inf")), "−∞"),
        (points(-0.0123), "−1.23"),
        (points(0.005), "+0.50"),
        (interval(0.1, 0.2, scale=100), "[10.0 to 20.0]"),
        (interval(float("nan"), 0.2), ""),
        (p_value(0.0004), "< 0.001"),
        (p_value(0.05), "0.050"),
    ],
)
def test_numbers_are_printed(printed, expected):
    assert printed == expected


def test_rows_are_picked_by_known_columns():
    table = pd.DataFrame({"row": ["a", "b"], "value": [1, 2]})
    assert pick(table, row="b")["value"].tolist() == [2]
    assert pick(table, arm="b").empty


def test_seven_rows_differ_in_colour_and_marker():
    styles = row_styles([f"row {number}" for number in range(7)])
    assert len({style.colour for style in styles.values()}) == len({style.marker for style in styles.values()}) == 7
    assert len(set(COLOURS)) == len(set(MARKERS)) == len(COLOURS)


def test_stretches_of_a_schedule():
    assert stretches(np.arange(6.0), np.array([1, 1, 0, 0, 1, 0])) == [(0.0, 2.0), (4.0, 1.0)]
    assert stretches(np.arange(2.0), np.zeros(2)) == []


def test_curves_are_means_over_the_runs_that_reached_an_epoch():
    tables = [pd.DataFrame({"epoch": range(count), "val/dice": 0.2 * count}) for count in (2, 3)]
    assert mean_curve(tables, "val/dice").round(6).tolist() == [0.5, 0.5, 0.6]
    assert mean_curve(tables, "val/box_iou").empty


def write_sheet(folder, shade):
    (folder / "figures").mkdir()
    Image.new("RGB", (140, 70), (shade, 0, 0)).save(folder / "figures" / "augmentations.png")


@pytest.mark.slow
def test_each_augmentation_has_one_sheet_with_the_names_of_its_rows(tmp_path):
    drawn, other = ({"rotate_degrees": angle, "flip_probability": 0.5} for angle in (10, 12))
    settings = {"unet": drawn, "bs_esnet": drawn, "nonlocal_unet": other, "attention_unet": {"_target_": "None"}}
    for row in settings:
        folder = write_run(tmp_path / row, row, num_patients=3)
        if row in ("unet", "bs_esnet"):
            write_sheet(folder, 250)
    evidence = gather(load_runs([tmp_path]), table="bs_esnet_table1", reference=None, margin=0.005)
    runs = [replace(run, config={"data": {"augmentation": settings[run.row]}}) for run in evidence.runs.runs]
    found = augmentations(replace(evidence, runs=replace(evidence.runs, runs=tuple(runs))))
    (sheet,) = (block for block in found if isinstance(block, Figures))
    label = evidence.labels
    assert sheet.caption == f"Slices that {label['unet']}, {label['bs_esnet']} trained on, of one run."
    assert len(sheet.figures) == 1
    assert pixels(sheet.figures[0])[..., 0].mean() == pytest.approx(250, abs=2)
    texts = {type(block): block.text for block in found if isinstance(block, Gap | Text)}
    assert texts[Text] == f"Trained on slices as they are, without augmentation: {label['attention_unet']}."
    assert f"No run folder of {label['nonlocal_unet']} has" in texts[Gap]


def test_without_a_readable_sheet_nothing_is_said_of_augmentation(tmp_path):
    folder = write_run(tmp_path / "unet", "unet", num_patients=3)
    evidence = gather(load_runs([tmp_path]), table="bs_esnet_table1", reference=None, margin=0.005)
    assert augmentations(evidence) == []
    (folder / "figures").mkdir()
    (folder / "figures" / "augmentations.png").write_bytes(b"cut off")
    assert augmentations(evidence) == []
