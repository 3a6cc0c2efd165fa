"""Sheet of test slices with heat maps, decoded key points, and where the network looks from one of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from callbacks.loggers import log_image
from callbacks.overlays import MARGIN_MM, save, worst_to_best
from callbacks.writer import Writer
from datamodules.anatomy import Anatomy
from datamodules.reading.geometry import SliceGrid
from lightning_modules.evaluation.evaluated import EvaluatedSlice, view_of
from lightning_modules.evaluation.native_grid import NativeGrid
from lightning_modules.segmentation import SegmentationModule
from metrics.keypoints import mean_error_mm
from pictures.sheet import new_sheet
from pictures.view import Corners, SliceView, zoomed

PANEL_INCHES, FEWEST_INCHES = 2.9, 4.9  # height of a panel, width of the sheet for its legend
PANELS = ("image and true points", "heat maps and decoded points", "attention")


class KeypointSheet(Writer):
    """Draws test slices from the largest to the smallest key-point error into `folder`/keypoints.png.

    For networks with heat maps; others have no such sheet.

    Args:
        folder: Where the sheet goes.
        num_slices: How many slices it shows, a column each.
        looks_from: Key point whose attention is drawn; None for the middle one of the anatomy's first series.

    Raises:
        ValueError: At the start of a test, if the anatomy has no such key point.
    """

    def __init__(self, folder: str, num_slices: int = 6, looks_from: str | None = None) -> None:
        self.path = Path(folder) / "keypoints.png"
        self.num_slices, self.looks_from = num_slices, looks_from
        self._slices: list[tuple[float, EvaluatedSlice]] = []

    def files(self, module: SegmentationModule) -> Sequence[Path]:
        """The sheet."""
        return (self.path,)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuses an unknown key point before anything is trained."""
        super().setup(trainer, pl_module, stage)
        assert isinstance(pl_module, SegmentationModule)
        anatomy = pl_module.data.anatomy
        if self.looks_from is not None and self.looks_from not in anatomy.keypoints:
            raise ValueError(
                f"callbacks.keypoint_sheet.looks_from is {self.looks_from!r}, but anatomy {anatomy.name} has the key "
                f"points {', '.join(anatomy.keypoints) or '(none)'}"
            )

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts a new sheet."""
        self._slices = []

    def on_test_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx, dataloader_idx=0) -> None:
        """Keeps the slices that have something to show."""
        for item in outputs["slices"]:
            if item.keypoints is not None:
                error = mean_error_mm(item.true_keypoints, item.keypoints, item.spacing_mm, item.true_mask.shape)
                self._slices += [(-error, item)] * bool(np.isfinite(error))

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draws the sheet and hands it to the logger."""
        if not self._slices:
            return
        assert isinstance(pl_module, SegmentationModule)
        anatomy, grid = pl_module.data.anatomy, pl_module.data.store.grid
        looks_from = list(anatomy.keypoints).index(self.looks_from) if self.looks_from else middle_keypoint(anatomy)
        slices, has_mm = worst_to_best(self._slices, self.num_slices), not pl_module.data.cohort.nominal_spacing
        save(draw_keypoints(slices, anatomy, grid, looks_from, says_distance=has_mm), self.path)
        log_image(trainer, "test/keypoints", self.path)
        self._slices = []


def middle_keypoint(anatomy: Anatomy) -> int:
    """Index of the key point in the middle of the anatomy's first series, or of all where it has none."""
    series = next(iter(anatomy.series.values()), anatomy.keypoints)
    names = [name for name in series if name in anatomy.keypoints] or list(anatomy.keypoints)
    return list(anatomy.keypoints).index(names[len(names) // 2])


def draw_keypoints(
    slices: Sequence[tuple[float, EvaluatedSlice]],
    anatomy: Anatomy,
    grid: SliceGrid,
    looks_from: int,
    *,
    says_distance: bool = True,
) -> Figure:
    """A column per slice: sagittal slices are tall.

    Args:
        slices: Minus the mean error in mm, and the slice.
        anatomy: Names and colours of the key points.
        grid: Of the network; what its attention covers.
        looks_from: Index of the key point whose attention is drawn.
        says_distance: Whether each title ends with the mean error, and pictures have a bar of millimetres; not where
            the spacing is nominal.
    """
    panels = PANELS if any(item.attention is not None for _, item in slices) else PANELS[:2]
    shown = [view_of(item, anatomy.view, around=_corners(item), has_mm=says_distance) for _, item in slices]
    views = zoomed(shown, 2 * MARGIN_MM)
    size = (PANEL_INCHES, PANEL_INCHES / views[0].proportion)
    figure, axes = new_sheet(
        (len(panels), len(slices)), size, legend=_legend(), left=0.25, top=0.5, least_width=FEWEST_INCHES
    )
    for column, view, (score, item) in zip(axes.T, views, slices, strict=True):
        for axis, panel in zip(column, panels, strict=True):
            view.show(axis)
            _draw_panel(axis, panel, view, item, anatomy, grid, looks_from)
            view.mark(axis)
        distance = f"\n{-score:.1f} mm off" if says_distance else ""
        column[0].set_title(f"{item.case}\nslice {item.slice}{distance}", fontsize=6)
    labels = [*panels[:2], f"attention from {anatomy.keypoints[looks_from]}"]
    for axis, label in zip(axes[:, 0], labels, strict=False):
        axis.set_ylabel(label, fontsize=7)
    return figure


def _draw_panel(
    axis: Axes,
    panel: str,
    view: SliceView,
    item: EvaluatedSlice,
    anatomy: Anatomy,
    grid: SliceGrid,
    looks_from: int,
) -> None:
    colours = [anatomy.colours.get(name, "#ffffff") for name in anatomy.keypoints]
    if panel == PANELS[0]:
        view.points(axis, item.true_keypoints, colours)
    elif panel == PANELS[1] and item.keypoints is not None:
        if item.heatmap is not None:
            view.heat(axis, np.ma.masked_less(item.heatmap, 0.1), opacity=0.55, cmap="inferno")
        for true, found in zip(item.true_keypoints, item.keypoints, strict=True):
            axis.plot(*zip(true, found, strict=True), color="white", linewidth=0.8)
        axis.scatter(*item.keypoints.T, c=colours, marker="x", s=16, linewidths=1.2)
    elif item.attention is not None:
        looks = torch.from_numpy(item.attention[looks_from][None]).float()
        scan = NativeGrid(grid=grid, size=item.true_mask.shape, spacing_mm=item.spacing_mm)
        weight = scan.values(looks)[0].numpy()
        view.heat(axis, weight, most=max(float(weight.max()), 1e-9))
        if item.keypoints is not None:
            axis.scatter(*item.keypoints[looks_from], marker="+", s=30, c="cyan", linewidths=1.0)


def _legend() -> list[Line2D]:
    none: dict[str, Any] = {"linestyle": "none", "markersize": 4}
    return [
        Line2D([], [], marker="o", color="grey", label="true", **none),
        Line2D([], [], marker="x", color="grey", label="decoded, joined to the true", **none),
        Line2D([], [], marker="+", color="cyan", label="asked from here", **none),
    ]


def _corners(item: EvaluatedSlice) -> Corners:
    """Where the visible true points lie; a slice is kept only if it has one."""
    (left, top), (right, bottom) = (edge(item.true_keypoints, axis=0).tolist() for edge in (np.nanmin, np.nanmax))
    return (top, left), (bottom, right)
