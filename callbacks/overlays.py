"""Overlay sheet: image, truth, prediction, boxes and saliency of test slices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from callbacks.loggers import log_image
from callbacks.writer import Writer
from datamodules.anatomy import Anatomy
from lightning_modules.evaluation.evaluated import EvaluatedSlice, windowed
from lightning_modules.segmentation import SegmentationModule
from metrics.agreement_map import MEANINGS, agreement_colours, agreement_map
from metrics.overlap import count_overlap
from pictures.marks import mark_bar, mark_sides
from records.whole_files import naming

LABEL_INCH = 0.32  # left of the panels: two lines that name the slice, whatever the width of the panels
MARGIN_MM = 15.0  # of image around the structures
BAR_MM = 20.0
STYLES = ("structures", "agreement")


class Overlays(Writer):
    """Draws test slices spread evenly from the worst to the best Dice into `folder`/overlays.png.

    Args:
        folder: Where the sheet goes.
        num_slices: How many slices it shows, a row each.
        style: "structures": truth and prediction beside each other, a colour a structure; "agreement": in one picture,
            coloured by where they agree.
        colours: "#rrggbb" of truth, prediction, both and other (`metrics.agreement_map.MEANINGS`), where other than
            usual.

    Raises:
        ValueError: If there is no such style or colour.
    """

    def __init__(
        self, folder: str, num_slices: int = 6, style: str = "structures", colours: Mapping[str, str] | None = None
    ) -> None:
        if style not in STYLES:
            raise ValueError(f"callbacks.overlays.style is {style!r}; expected {' or '.join(STYLES)}")
        self.path = Path(folder) / "overlays.png"
        self.num_slices = num_slices
        self.agreement = agreement_colours(colours) if style == "agreement" else {}
        self._slices: list[tuple[float, EvaluatedSlice]] = []

    def files(self, module: SegmentationModule) -> Sequence[Path]:
        """The sheet."""
        return (self.path,)

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts a new sheet."""
        self._slices = []

    def on_test_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx, dataloader_idx=0) -> None:
        """Keeps the slices that have something to show."""
        self._slices += [(dice, item) for item in outputs["slices"] if not np.isnan(dice := mean_dice(item))]

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draws the sheet and hands it to the logger."""
        if not self._slices:
            return
        assert isinstance(pl_module, SegmentationModule)
        chosen = worst_to_best(self._slices, self.num_slices)
        has_mm = not pl_module.data.cohort.nominal_spacing
        figure = draw_sheet(chosen, pl_module.data.anatomy, self.agreement, has_mm=has_mm)
        save(figure, self.path)
        log_image(trainer, "test/sheet", self.path)


def worst_to_best(slices: Sequence[tuple[float, EvaluatedSlice]], number: int) -> list[tuple[float, EvaluatedSlice]]:
    """At most `number` of the (Dice, slice) pairs: the worst, the median, the best, and evenly between them."""
    ranked = sorted(slices, key=lambda pair: pair[0])
    ranks = np.linspace(0, len(ranked) - 1, number).round().astype(int)
    if number > 2:
        ranks[(number - 1) // 2] = (len(ranked) - 1) // 2
    return [ranked[rank] for rank in np.unique(ranks)]


def mean_dice(item: EvaluatedSlice) -> float:
    """Mean Dice over the structures that are labelled and annotated on the slice; NaN where none is."""
    present = [
        index for index in range(1, len(item.labelled)) if item.labelled[index] and (item.true_mask == index).any()
    ]
    scores = [count_overlap(item.true_mask == index, item.predicted_mask == index).dice for index in present]
    return float(np.mean(scores)) if scores else float("nan")


def draw_sheet(
    slices: Sequence[tuple[float, EvaluatedSlice]],
    anatomy: Anatomy,
    agreement: Mapping[str, str] | None = None,
    *,
    has_mm: bool = True,
) -> Figure:
    """A row per slice, from the worst to the best; radiological view: the patient's right is on the left.

    Args:
        slices: Dice and slice.
        anatomy: Whose names and colours are shown.
        agreement: Colours of `metrics.agreement_map.MEANINGS`; without them truth and prediction have panels of their
            own.
        has_mm: Whether a bar of millimetres is drawn: not where the spacing is nominal.
    """
    panels = ["image", "agreement"] if agreement else ["image", "truth", "prediction"]
    if any(item.network_boxes is not None for _, item in slices):
        panels.append("boxes: network's, true dashed")
    if any(item.saliency is not None for _, item in slices):
        panels.append("saliency")
    half_mm = np.max([extent_mm(item, _rows_and_columns(item)) for _, item in slices], axis=0) / 2 + MARGIN_MM
    panel_height = 2.6 * min(1.0, half_mm[0] / half_mm[1])
    panel_width = panel_height * half_mm[1] / half_mm[0]
    width = panel_width * len(panels) + LABEL_INCH
    figure = Figure(figsize=(width, panel_height * len(slices) + 0.9), dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(slices), len(panels), squeeze=False)
    for row, (dice, item) in zip(axes, slices, strict=True):
        for axis, panel in zip(row, panels, strict=True):
            _draw_panel(axis, panel, item, anatomy, agreement or {})
            zoom(axis, item, _rows_and_columns(item), half_mm)
            mark_sides(axis, anatomy.view, height=0.92, fontsize=6.0)
            if has_mm:
                mark_bar(axis, item.spacing_mm[1], BAR_MM, fontsize=4.5)
        where = f"{item.case} slice {item.slice}" + (f" {item.level}" if item.level else "")
        row[0].set_ylabel(f"{where}\nDice {100 * dice:.1f} %", fontsize=6)
    for axis, panel in zip(axes[0], panels, strict=True):
        axis.set_title(panel, fontsize=8)
    names = {MEANINGS[key]: colour for key, colour in (agreement or {}).items()}
    names = names or {name.replace("_", " "): anatomy.colours[name] for name in anatomy.structures}
    legend_height = add_legend(figure, names)
    height = figure.get_figheight()
    bottom = (legend_height + 0.1) / height
    margins = {"left": LABEL_INCH / width, "right": 0.995, "top": 1 - 0.3 / height, "bottom": bottom}
    figure.subplots_adjust(**margins, wspace=0.02, hspace=0.03)
    return figure


def add_legend(figure: Figure, colours: Mapping[str, str]) -> float:
    """Adds a legend at the bottom, in as many columns as fit the width, and returns its height in inches."""
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    for columns in range(min(5, len(handles)), 0, -1):
        legend = figure.legend(handles=handles, loc="lower center", ncols=columns, fontsize=6.5, frameon=False)
        size = legend.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        if size.width <= figure.get_figwidth() or columns == 1:
            return float(size.height)
        legend.remove()
    return 0.0


def _draw_panel(axis, panel: str, item: EvaluatedSlice, anatomy: Anatomy, agreement: Mapping[str, str]) -> None:
    """One picture in its true proportions."""
    aspect = item.spacing_mm[0] / item.spacing_mm[1]  # said again with every picture: one without makes pixels square
    axis.imshow(windowed(item), cmap="gray", vmin=0, vmax=255, aspect=aspect)
    axis.set(xticks=[], yticks=[])
    axis.autoscale(False)  # a box that leaves the image must not shrink it
    if panel in ("truth", "prediction"):
        mask = item.true_mask if panel == "truth" else item.predicted_mask
        shown = _coloured(mask, [anatomy.colours[name] for name in anatomy.structures])
        axis.imshow(shown, aspect=aspect)
    elif panel == "agreement":
        shown = _coloured(agreement_map(item.true_mask, item.predicted_mask), list(agreement.values()))
        axis.imshow(shown, aspect=aspect)
    elif panel == "saliency" and item.saliency is not None:
        shade = axis.imshow(item.saliency, cmap="magma", vmin=0, vmax=1, alpha=0.6, aspect=aspect)
        shade.set_extent(axis.images[0].get_extent())
    elif panel.startswith("boxes") and item.network_boxes is not None:
        for index, name in enumerate(anatomy.structures):
            if item.labelled[index + 1]:
                _draw_box(axis, item.true_boxes[index], item.true_mask.shape, anatomy.colours[name], dashed=True)
                _draw_box(axis, item.network_boxes[index], item.true_mask.shape, anatomy.colours[name], dashed=False)


def _rows_and_columns(item: EvaluatedSlice) -> tuple[np.ndarray, np.ndarray]:
    """Where something is annotated or predicted; the whole image where nothing is."""
    present = (item.true_mask > 0) | (item.predicted_mask > 0)
    rows, columns = np.nonzero(present if present.any() else np.ones_like(present))
    return rows, columns


def zoom(axis: Axes, item: EvaluatedSlice, places: tuple[np.ndarray, np.ndarray], half_mm: np.ndarray) -> None:
    """Shows the same millimetres of every slice, around some places and inside the image.

    Args:
        axis: Where the image of the slice is.
        item: The slice.
        places: Rows and columns, pixels, that are to be in the middle.
        half_mm: Half the height and width that is shown.
    """
    limits = []
    for index, half, size, side in zip(places, half_mm, item.spacing_mm, item.true_mask.shape, strict=True):
        middle, reach = (index.min() + index.max()) / 2, half / size
        middle = np.clip(middle, min(reach, side / 2), max(side - reach, side / 2)) - 0.5
        limits.append((middle - reach, middle + reach))
    axis.set(xlim=limits[1], ylim=limits[0][::-1])


def extent_mm(item: EvaluatedSlice, places: tuple[np.ndarray, np.ndarray]) -> list[float]:
    """Height and width of what lies between some places (rows and columns, pixels)."""
    return [float(np.ptp(index) * size) for index, size in zip(places, item.spacing_mm, strict=True)]


def _coloured(mask: np.ndarray, colours: Sequence[str]) -> np.ndarray:
    """Colours of class 1, 2, ... with opacity; background is transparent."""
    table = np.array([(0, 0, 0, 0), *((*to_rgb(colour), 0.55) for colour in colours)])
    return table[mask]


def _draw_box(axis, box: np.ndarray, shape: tuple[int, ...], colour: str, *, dashed: bool) -> None:
    """A box (cx, cy, w, h) in 0..1; pixel centres are at integers, so its edges are half a pixel off."""
    if np.isnan(box).any():
        return
    height, width = shape
    corner = ((box[0] - box[2] / 2) * width - 0.5, (box[1] - box[3] / 2) * height - 0.5)
    style = "--" if dashed else "-"
    axis.add_patch(
        Rectangle(corner, box[2] * width, box[3] * height, fill=False, edgecolor=colour, linewidth=0.9, linestyle=style)
    )


def save(figure: Figure, path: Path) -> None:
    """Writes a figure, making its folder, not the run's around it."""
    path.parent.mkdir(exist_ok=True)
    with naming(path):
        figure.savefig(path)
