"""Sheet of training slices before and after augmentation, with their masks (Baur et al., Fig. 1a)."""

import logging
import textwrap
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import lightning
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from callbacks.loggers import log_image
from callbacks.overlays import BAR_MM, add_legend, save
from callbacks.writer import Writer
from datamodules.anatomy import Anatomy
from datamodules.batch import SpineBatch
from datamodules.slice_batches import SliceBatches
from datamodules.slices import SliceDataModule
from lightning_modules.segmentation import SegmentationModule
from pictures.marks import mark_bar, mark_sides

logger = logging.getLogger(__name__)

FILE = "augmentations.png"
MOST_LOOKED_AT = 48  # slices among which those that show something are looked for; a cohort may have thousands
PANEL_PX, GAP_PX = 256, 5  # height of a panel, as far as whole pixels allow, and between panels
DPI = 120
LEFT, TOP = 0.25, 0.55  # inches beside and above the panels
FEWEST_INCHES = 6.0  # width, for the caption


class AugmentationSheet(Writer):
    """Draws training slices as they are stored and, below, as they are trained on into `folder`/augmentations.png.

    Drawn once, before the first step, from seeds of its own: what is trained does not depend on it. A folder that has
    the sheet keeps it, and without augmentation there is none.

    Args:
        folder: Where the sheet goes.
        num_slices: How many slices it shows, a column each.
        num_draws: How many augmentations of each, a row each.
    """

    def __init__(self, folder: str, num_slices: int = 5, num_draws: int = 3) -> None:
        self.path = Path(folder) / FILE
        self.num_slices, self.num_draws = num_slices, num_draws

    def files(self, module: SegmentationModule) -> Sequence[Path]:
        """The sheet."""
        return (self.path,)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draws the sheet."""
        assert isinstance(pl_module, SegmentationModule)
        if not trainer.is_global_zero or self.path.exists():
            return
        data = pl_module.data
        if not data.augmentation.in_words:
            logger.info("Training slices are not augmented, so there is no %s.", self.path.name)
            return
        rows = telling_rows(data, self.num_slices)
        save(draw_sheet(draws(data, rows, self.num_draws), data), self.path)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Hands it to the logger; by now an interrupted run logs to where the whole of it is kept."""
        if trainer.is_global_zero and self.path.exists():
            log_image(trainer, "train/augmentations", self.path)


def telling_rows(data: SliceDataModule, number: int) -> list[int]:
    """At most `number` rows of the store, spread evenly over those with masks and then those with key points alone.

    Slices on which nothing may be seen are left out where others are.
    """
    order = np.concatenate([data.teaching.masked, data.teaching.weak])
    seen = order[_evenly(len(order), MOST_LOOKED_AT)]
    batch = SliceBatches(data.store, data.teaching.labels)[[(int(row), 0) for row in seen]]
    drawn = batch.mask.flatten(1).any(dim=1) | batch.keypoints.isfinite().flatten(1).any(dim=1)
    telling = seen[drawn.numpy()] if drawn.any() else seen
    return telling[_evenly(len(telling), number)].tolist()


def _evenly(length: int, number: int) -> Int[np.ndarray, " n"]:
    return np.unique(np.linspace(0, length - 1, number).round().astype(int))


def draws(data: SliceDataModule, rows: Sequence[int], number: int) -> list[SpineBatch]:
    """The slices as stored, and then `number` augmentations of them, as training would see them.

    Args:
        data: Its augmentation and what may be seen of the labels.
        rows: Of the store.
        number: How often each is augmented, from seeds that no training and no other draw uses.
    """
    stored = data.training_slices()
    found = [stored[[(row, 0) for row in rows]]]
    augment = data.augmentation
    slice_wise = stored if augment.whole_batch else data.training_slices(augment)
    for seeds in np.random.default_rng(0).integers(2**31, 2**32, (number, len(rows))).tolist():
        batch = slice_wise[list(zip(rows, seeds, strict=True))]
        found.append(augment(batch) if augment.whole_batch else batch)
    return found


def draw_sheet(batches: Sequence[SpineBatch], data: SliceDataModule) -> Figure:
    """A row per batch, the first as stored; a column per slice.

    Args:
        batches: The same slices in each (`draws`).
        data: Where they come from.
    """
    rows, columns = batches[0].mask.shape[1:]
    zoom = max(1, round(PANEL_PX / rows))  # whole numbers: the network's pixels stay pixels, and no outline is lost
    sheet = mosaic(batches, data.anatomy, zoom)
    figure, axis = _canvas(sheet.shape[:2], data)
    axis.imshow(sheet, interpolation="none", aspect="auto")
    axis.set_axis_off()
    step = np.array([zoom * rows + GAP_PX, zoom * columns + GAP_PX])
    _label(axis, batches, step)
    _draw_points(axis, batches, data.anatomy, zoom, step)
    _mark(axis, batches, data, zoom, step)
    return figure


def _canvas(size: tuple[int, int], data: SliceDataModule) -> tuple[Figure, Axes]:
    """A figure with title, legend and caption, and the place for a picture of (rows, columns), pixel upon pixel."""
    high, wide = size
    width = max(wide / DPI + LEFT, FEWEST_INCHES)
    caption = textwrap.fill(_caption(data), round(15 * width))
    below = 0.05 + 0.13 * (caption.count("\n") + 1)
    figure = Figure(figsize=(width, 1), dpi=DPI)
    FigureCanvasAgg(figure)
    drawn = {name.replace("_", " "): data.anatomy.colours[name] for name in data.anatomy.structures}
    bottom = ceil((below + add_legend(figure, drawn) + 0.06) * DPI) / DPI
    height = bottom + high / DPI + TOP
    figure.set_size_inches(width, height)
    figure.legends[0].set_bbox_to_anchor((0.5, below / height))
    figure.text(0.5, 0.05 / height, caption, fontsize=6.5, ha="center", va="bottom", linespacing=1.3)
    title = f"Training slices of the cohort {data.cohort.name}, before and after augmentation"
    figure.text(0.5, 1 - 0.06 / height, title, fontsize=9, ha="center", va="top")
    left = max(LEFT, round((width * DPI - wide) / 2) / DPI)
    return figure, figure.add_axes((left / width, bottom / height, wide / DPI / width, high / DPI / height))


def mosaic(batches: Sequence[SpineBatch], anatomy: Anatomy, zoom: int) -> UInt8[np.ndarray, "H W 3"]:
    """Every slice of every batch, outlined, with white gaps; grey levels in the window of the stored slice.

    One window a column shows changes of intensity, which each slice's own would hide.
    """
    colours = [anatomy.colours[name] for name in anatomy.structures]
    stored = batches[0].image[:, 0].flatten(1)
    low, high = stored.quantile(torch.tensor([0.01, 0.995]), dim=1)[..., None, None]
    lines = []
    for batch in batches:
        grey = ((batch.image[:, 0] - low) / (high - low).clamp_min(1e-6)).clamp(0, 1).numpy() * 255
        panels = [outlined(grey[k], batch.mask[k].numpy(), colours, zoom) for k in range(len(batch))]
        padded = [np.pad(panel, ((0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=255) for panel in panels]
        lines.append(np.concatenate(padded, axis=1))
    return np.concatenate(lines)[:-GAP_PX, :-GAP_PX]


def outlined(
    grey: Float[np.ndarray, "h w"], mask: Int[np.ndarray, "h w"], colours: Sequence[str], zoom: int
) -> UInt8[np.ndarray, "H W 3"]:
    """A slice with the edge of every class in its colour, `zoom` times as large."""
    grey, classes = (np.repeat(np.repeat(each, zoom, axis=0), zoom, axis=1) for each in (grey, mask))
    around = np.pad(classes, 1, mode="edge")
    beside = (around[1:-1, :-2], around[1:-1, 2:], around[:-2, 1:-1], around[2:, 1:-1])
    edge = (classes > 0) & np.logical_or.reduce([classes != other for other in beside])
    table = np.array([(0, 0, 0), *(to_rgb(colour) for colour in colours)]) * 255
    return np.where(edge[..., None], table[classes], grey[..., None]).round().astype(np.uint8)


def _label(axis: Axes, batches: Sequence[SpineBatch], step: np.ndarray) -> None:
    """Names the rows at their left and the columns above; `step` is (rows, columns) from a panel to the next."""
    for number in range(len(batches)):
        text = f"augmented, draw {number}" if number else "as stored"
        axis.text(-6, (number + 0.5) * step[0], text, fontsize=8, rotation=90, ha="right", va="center")
    first = batches[0]
    for number, (case, level) in enumerate(zip(first.case, first.level, strict=True)):
        place = (number + 0.5) * step[1]
        axis.text(place, -6, f"{case}\n{level}".strip(), fontsize=6.5, ha="center", va="bottom")


def _draw_points(axis: Axes, batches: Sequence[SpineBatch], anatomy: Anatomy, zoom: int, step: np.ndarray) -> None:
    colours = [anatomy.colours.get(name, "#ffffff") for name in anatomy.keypoints]
    for line, batch in enumerate(batches):
        for column, points in enumerate(batch.keypoints.numpy()):
            corner = (column * step[1], line * step[0])
            at = (points + 0.5) * zoom - 0.5 + corner  # a pixel's centre is at its whole number, here as there
            axis.scatter(*at.T, c=colours, s=12, edgecolors="white", linewidths=0.5)


def _mark(axis: Axes, batches: Sequence[SpineBatch], data: SliceDataModule, zoom: int, step: np.ndarray) -> None:
    """The patient's sides and a bar of millimetres on every panel."""
    for line, batch in enumerate(batches):
        for column in range(len(batch)):
            left, top = float(column * step[1]), float(line * step[0])
            frame = (left, left + float(step[1]) - GAP_PX, top + float(step[0]) - GAP_PX, top)
            mark_sides(axis, data.anatomy.view, height=0.94, frame=frame)
            if not data.nominal_spacing:
                mark_bar(axis, data.store.grid.spacing_mm / zoom, BAR_MM, frame=frame)


def _caption(data: SliceDataModule) -> str:
    """What the augmentation draws from, and how the picture is to be read."""
    how = "whole batches at once" if data.augmentation.whole_batch else "slice by slice"
    drawn = "; ".join(data.augmentation.in_words)
    said = {
        f"Drawn at random, {how}: {drawn}. Outlines: the mask, moved with the image.": True,
        "Dots: key points.": bool(data.anatomy.keypoints),
        "Radiological view: the patient's right is on the left, also after a flip.": data.anatomy.view == "axial",
        "Bars: millimetres of the network's grid, in which an enlarged slice measures more.": not data.nominal_spacing,
        "SD: of a slice's intensities.": " SD" in drawn,
        "Grey levels of a column: those of its stored slice.": True,
    }
    return " ".join(text for text, holds in said.items() if holds)
