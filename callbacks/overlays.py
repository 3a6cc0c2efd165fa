"""Overlay sheet: image, truth, prediction, boxes and saliency of test slices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from callbacks.loggers import log_image
from callbacks.writer import Writer
from datamodules.anatomy import Anatomy
from lightning_modules.evaluation.evaluated import EvaluatedSlice, view_of
from lightning_modules.segmentation import SegmentationModule
from metrics.agreement_map import MEANINGS, agreement_colours, agreement_map
from metrics.overlap import count_overlap
from pictures.sheet import new_sheet, patches
from pictures.view import SliceView, corners_of, zoomed
from records.whole_files import naming

LABEL_INCH = 0.32  # left of the panels: two lines that name the slice, whatever the width of the panels
MARGIN_MM = 15.0  # of image around the structures
PANEL_INCHES = 2.6  # width; height where that is more
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
    """A row per slice, from the worst to the best.

    Args:
        slices: Dice and slice.
        anatomy: Whose names and colours are shown.
        agreement: Colours of `metrics.agreement_map.MEANINGS`; without them truth and prediction have panels of their
            own.
        has_mm: Whether a bar of millimetres is drawn: not where the spacing is nominal.
    """
    panels = ["image", "agreement"] if agreement else ["image", "truth", "prediction"]
    if any(item.network_boxes is not None for _, item in slices):
        panels.append("boxes: network's,\ntrue dashed")
    if any(item.saliency is not None for _, item in slices):
        panels.append("saliency")
    around = [corners_of((item.true_mask > 0) | (item.predicted_mask > 0)) for _, item in slices]
    shown = [
        view_of(item, anatomy.view, around=place, has_mm=has_mm)
        for (_, item), place in zip(slices, around, strict=True)
    ]
    views = zoomed(shown, MARGIN_MM)
    names = {MEANINGS[key]: colour for key, colour in (agreement or {}).items()}
    legend = patches(names or {name: anatomy.colours[name] for name in anatomy.structures})
    height = PANEL_INCHES * min(1.0, views[0].proportion)
    size = (height, height / views[0].proportion)
    figure, axes = new_sheet((len(slices), len(panels)), size, legend=legend, left=LABEL_INCH, top=0.4)
    for row, view, (dice, item) in zip(axes, views, slices, strict=True):
        for axis, panel in zip(row, panels, strict=True):
            _draw_panel(axis, panel, view, item, anatomy, agreement or {})
            view.mark(axis)
        where = f"{item.case} slice {item.slice}" + (f" {item.level}" if item.level else "")
        row[0].set_ylabel(f"{where}\nDice {100 * dice:.1f} %", fontsize=6)
    for axis, panel in zip(axes[0], panels, strict=True):
        axis.set_title(panel, fontsize=8)
    return figure


def _draw_panel(
    axis: Axes, panel: str, view: SliceView, item: EvaluatedSlice, anatomy: Anatomy, agreement: Mapping[str, str]
) -> None:
    colours = [anatomy.colours[name] for name in anatomy.structures]
    view.show(axis)
    if panel in ("truth", "prediction"):
        view.paint(axis, item.true_mask if panel == "truth" else item.predicted_mask, colours)
    elif panel == "agreement":
        view.paint(axis, agreement_map(item.true_mask, item.predicted_mask), list(agreement.values()))
    elif panel == "saliency" and item.saliency is not None:
        view.heat(axis, item.saliency)
    elif panel.startswith("boxes") and item.network_boxes is not None:
        labelled = np.where(item.labelled[1:, None], 1.0, np.nan)
        view.boxes(axis, item.true_boxes * labelled, colours, dashed=True)
        view.boxes(axis, item.network_boxes * labelled, colours)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure, making its folder, not the run's around it."""
    path.parent.mkdir(exist_ok=True)
    with naming(path):
        figure.savefig(path)
