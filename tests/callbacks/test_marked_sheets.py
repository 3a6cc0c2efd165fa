"""Every panel of a sheet says where the patient's right is, and bears a bar as long on paper as it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from callbacks.keypoint_sheet import draw_keypoints
from callbacks.overlays import draw_sheet as draw_overlays
from datamodules.anatomy import Anatomy
from datamodules.reading.geometry import SliceGrid
from lightning_modules.prediction import sheet
from lightning_modules.prediction.members import load_members
from tests.callbacks.test_wandb_review import slice_of
from tests.made.predicted_scans import (
    TRUTH,
    anatomy_of,
    block_of,
    block_with,
    picture,
    run_config,
    write_run,
    write_scan,
)

AXIAL, SAGITTAL = ("axial_muscle4", ("R", "L")), ("sagittal10", ("A", "P"))
SPACINGS = [(1.0, 1.0), (0.5, 1.25)]


def evaluated(anatomy: Anatomy, spacing_mm: tuple[float, float], **changes):
    """A slice of 90 x 120 mm with its first structure on the right half of the picture."""
    rows, columns = round(90 / spacing_mm[0]), round(120 / spacing_mm[1])
    mask = np.zeros((rows, columns), np.int64)
    mask[rows // 3 : rows // 2, columns * 5 // 8 : columns * 3 // 4] = 1
    nothing = np.full((anatomy.num_structures, 4), np.nan, np.float32)
    boxes = {"true_boxes": nothing, "mask_boxes": nothing, "network_boxes": nothing}
    maps = {"image": np.zeros((1, rows, columns), np.float32), "saliency": np.zeros((rows, columns), np.float32)}
    labelled = np.ones(anatomy.num_structures + 1, bool)
    item = slice_of(true_mask=mask, predicted_mask=mask, labelled=labelled, spacing_mm=spacing_mm, **boxes, **maps)
    return replace(item, **changes)


def panels_of(figure: Figure):
    """What is drawn is where it is only once it is drawn: panels keep the proportions of their picture."""
    FigureCanvasAgg(figure).draw()
    return [axis for axis in figure.axes if axis.images]


def middle(artist) -> float:
    box = artist.get_window_extent()
    return (box.x0 + box.x1) / 2


def assert_marked(axis, edges: tuple[str, str], spacing_mm: tuple[float, float], bar_mm: float | None) -> None:
    """Letters at both edges in the order of the picture; a bar that, on the paper, is as long as it says."""
    texts = {text.get_text(): text for text in axis.texts}
    panel = axis.get_window_extent()
    left, right = (texts[edge] for edge in edges)
    assert panel.x0 <= left.get_window_extent().x0
    assert right.get_window_extent().x1 <= panel.x1
    assert middle(left) < panel.x0 + panel.width / 3
    assert middle(right) > panel.x1 - panel.width / 3
    assert not {"R", "L", "A", "P"} & set(texts) - set(edges)
    bars = [line for line in axis.get_lines() if line.get_gid() == "bar"]
    lengths = [text for text in texts if text.endswith(" mm")]
    if bar_mm is None:
        assert bars == lengths == []
        return
    assert lengths == [f"{bar_mm:.0f} mm"]
    extent = axis.images[0].get_window_extent()  # of the whole picture, also of what the panel does not show
    rows, columns = axis.images[0].get_array().shape[:2]
    for px_per_mm in (extent.width / (columns * spacing_mm[1]), extent.height / (rows * spacing_mm[0])):
        for bar in bars:
            ends = axis.transData.transform(np.column_stack([bar.get_xdata(), bar.get_ydata()]))
            assert np.ptp(ends[:, 0]) / px_per_mm == pytest.approx(bar_mm, rel=0.01)
            assert np.ptp(ends[:, 1]) == 0
            assert panel.x0 < ends[:, 0].min() < ends[:, 0].max() < panel.x1, "what leaves the panel is not drawn"
    assert bars


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize(("name", "edges"), [AXIAL, SAGITTAL])
@pytest.mark.parametrize("has_mm", [True, False])
def test_every_panel_of_the_overlays_is_marked(name, edges, spacing_mm, has_mm):
    anatomy = anatomy_of(name)
    slices = [(0.5, evaluated(anatomy, spacing_mm)), (0.9, evaluated(anatomy, spacing_mm))]
    panels = panels_of(draw_overlays(slices, anatomy, has_mm=has_mm))
    assert len(panels) == 10, "image, truth, prediction, boxes and saliency of each slice"
    for axis in panels:
        assert_marked(axis, edges, spacing_mm, 20 if has_mm else None)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize(("name", "edges"), [AXIAL, SAGITTAL])
@pytest.mark.parametrize("says_distance", [True, False])
def test_every_panel_of_the_key_points_is_marked(name, edges, spacing_mm, says_distance):
    anatomy = anatomy_of(name)
    if not anatomy.keypoints:  # no axial anatomy has any so far; whoever adds one gets its letters right
        anatomy = replace(anatomy, keypoints=anatomy.structures)
    count = len(anatomy.keypoints)
    item = evaluated(anatomy, spacing_mm)
    rows, columns = item.true_mask.shape
    places = np.column_stack([np.linspace(0.4, 0.6, count) * columns, np.linspace(0.2, 0.8, count) * rows])
    looks = np.full((count, 6, 4), 0.5, np.float32)
    item = replace(item, true_keypoints=places, keypoints=places + 1, attention=looks)
    grid = SliceGrid(size=(96, 128), spacing_mm=1.0, offset_mm=(0.0, 0.0))
    figure = draw_keypoints([(-1.0, item)] * 2, anatomy, grid, 0, says_distance=says_distance)
    panels = panels_of(figure)
    assert len(panels) == 6
    for axis in panels:
        assert_marked(axis, edges, spacing_mm, 20 if says_distance else None)


def drawn_sheet(blocks, anatomy, tmp_path: Path, monkeypatch) -> Figure:
    """The sheet of a prediction is written, not returned: the figure that was."""
    kept = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: kept.append(figure))
    sheet.draw_sheet(blocks, anatomy, tmp_path / "overlay.png", title="anna", notice="No medical device.")
    return kept[0]


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize(("name", "edges"), [AXIAL, SAGITTAL])
@pytest.mark.parametrize(("width_mm", "bar_mm"), [(80, 50), (30, 20), (2, 10)])
def test_every_panel_of_a_prediction_is_marked(tmp_path, monkeypatch, name, edges, spacing_mm, width_mm, bar_mm):
    """The bar is the longest that a narrow panel can hold: a longer one would be cut off and read as its length."""
    mask = np.zeros([round(side / size) for side, size in zip((90, 120), spacing_mm, strict=True)], np.int64)
    rows, columns = (round(40 / spacing_mm[0]), round(width_mm / spacing_mm[1]))
    mask[10 : 10 + rows, 20 : 20 + columns + 1] = 1
    blocks = [block_with(mask, spacing_mm)] * 3
    panels = panels_of(drawn_sheet(blocks, anatomy_of(name), tmp_path, monkeypatch))
    assert len(panels) == 3
    for axis in panels:
        assert_marked(axis, edges, spacing_mm, bar_mm)


def test_the_letters_stand_on_the_side_of_what_is_called_so(tmp_path, generated, monkeypatch):
    """From the file to the sheet, whichever way its voxels run: L beside the left muscles."""
    members = load_members([write_run(tmp_path / "run", run_config(tmp_path / "run", generated))], torch.device("cpu"))
    anatomy = members[0].anatomy
    files = [
        write_scan(tmp_path / f"{number}.nii.gz", picture(), flips=flips, order=order)
        for number, (flips, order) in enumerate([((False,) * 3, (2, 1, 0)), ((True, False, True), (1, 2, 0))])
    ]
    blocks = [block_of(file, members) for file in files]
    colours = {to_rgb(colour): name for name, colour in anatomy.colours.items()}
    panels = panels_of(drawn_sheet(blocks, anatomy, tmp_path, monkeypatch))
    assert len(panels) == 2 * len(TRUTH)
    for axis in panels:
        places = {text.get_text(): middle(text) for text in axis.texts}
        for outline in axis.collections:
            name = colours[tuple(outline.get_edgecolor()[0][:3])]
            vertices = np.concatenate([path.vertices for path in outline.get_paths()])
            x = axis.transData.transform(vertices)[:, 0].mean()
            near, far = ("L", "R") if name.endswith("left") else ("R", "L")
            assert abs(x - places[near]) < abs(x - places[far]), name
        assert axis.collections
