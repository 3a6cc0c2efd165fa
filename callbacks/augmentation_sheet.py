"""Sheet of training slices before and after augmentation, with their masks (Baur et al., Fig. 1a)."""

import logging
import textwrap
from collections.abc import Sequence
from pathlib import Path

import lightning
import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure

from callbacks.loggers import log_image
from callbacks.overlays import save
from callbacks.writer import Writer
from datamodules.batch import SpineBatch
from datamodules.slice_batches import SliceBatches
from datamodules.slices import SliceDataModule
from lightning_modules.segmentation import SegmentationModule
from pictures.sheet import new_sheet, patches
from pictures.view import SliceView, grey_levels, window_of

logger = logging.getLogger(__name__)

FILE = "augmentations.png"
MOST_LOOKED_AT = 48  # slices among which those that show something are looked for; a cohort may have thousands
PANEL_PX, DPI = 256, 120  # height of a panel, as far as whole pixels allow
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
    """A row per batch, the first as stored; a column per slice, grey levels in the window of the stored slice.

    One window a column shows changes of intensity, which each slice's own would hide.

    Args:
        batches: The same slices in each (`draws`).
        data: Where they come from.
    """
    figure, axes = _new_sheet(batches, data)
    anatomy, first, spacing_mm = data.anatomy, batches[0], data.store.grid.spacing_mm
    colours = [anatomy.colours[name] for name in anatomy.structures]
    windows = [window_of(image.numpy()) for image in first.image[:, 0]]
    for number, (row, batch) in enumerate(zip(axes, batches, strict=True)):
        row[0].set_ylabel(f"augmented, draw {number}" if number else "as stored", fontsize=8)
        for column, (axis, window) in enumerate(zip(row, windows, strict=True)):
            view = SliceView(
                grey=grey_levels(batch.image[column, 0].numpy(), window),
                spacing_mm=(spacing_mm, spacing_mm),
                view=anatomy.view,
                has_mm=not data.nominal_spacing,
                interpolation="none",  # the network's pixels stay pixels
            )
            view.show(axis)
            view.outline(axis, batch.mask[column].numpy(), colours)
            points = [anatomy.colours.get(name, "#ffffff") for name in anatomy.keypoints]
            view.points(axis, batch.keypoints[column].numpy(), points)
            view.mark(axis)
    for axis, case, level in zip(axes[0], first.case, first.level, strict=True):
        axis.set_title(f"{case}\n{level}".strip(), fontsize=6.5)
    return figure


def _new_sheet(batches: Sequence[SpineBatch], data: SliceDataModule) -> tuple[Figure, np.ndarray]:
    """The sheet with title, legend and caption, but its panels empty."""
    rows, columns = batches[0].mask.shape[1:]
    zoom = max(1, round(PANEL_PX / rows)) / DPI  # whole pixels of the picture to one of the network
    width = max(columns * zoom * len(batches[0]) + 0.4, FEWEST_INCHES)
    caption = textwrap.fill(_caption(data), round(15 * width))
    figure, axes = new_sheet(
        (len(batches), len(batches[0])),
        (rows * zoom, columns * zoom),
        legend=patches({name: data.anatomy.colours[name] for name in data.anatomy.structures}),
        **{"left": 0.25, "top": 0.55, "below": 0.1 + 0.13 * (caption.count("\n") + 1)},
        least_width=FEWEST_INCHES,
        dpi=DPI,
    )
    height = figure.get_figheight()
    figure.text(0.5, 0.05 / height, caption, fontsize=6.5, ha="center", va="bottom", linespacing=1.3)
    title = f"Training slices of the cohort {data.cohort.name}, before and after augmentation"
    figure.text(0.5, 1 - 0.06 / height, title, fontsize=9, ha="center", va="top")
    return figure, axes


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
