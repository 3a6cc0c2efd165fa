"""Training curves from metrics.csv."""

from collections.abc import Sequence
from pathlib import Path

import lightning
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from callbacks.loggers import log_image
from callbacks.overlays import save
from callbacks.writer import Writer
from lightning_modules.segmentation import SegmentationModule


class TrainingCurves(Writer):
    """Draws losses, validation scores and learning rate over the epochs into `folder`/figures/curves.png."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "figures" / "curves.png"

    def files(self, module: SegmentationModule) -> Sequence[Path]:
        """The sheet."""
        return (self.path,)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draws what metrics.csv holds."""
        table = self.folder / "metrics.csv"
        if trainer.is_global_zero and table.exists():
            save(draw_curves(pd.read_csv(table)), self.path)
            log_image(trainer, "train/curves", self.path)


def draw_curves(epochs: pd.DataFrame) -> Figure:
    """Losses on a logarithmic axis above, validation scores below; epochs in which a part rested are shaded."""
    figure = Figure(figsize=(9, 6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(2, 1, sharex=True)
    scores.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axis, prefix in ((losses, "loss/"), (scores, "val/")):
        # Means alone: a curve for every structure (val/dice/psoas_left) would bury them.
        for column in (name for name in epochs.columns if name.startswith(prefix) and name.count("/") == 1):
            style = {"linewidth": 2.0, "color": "black"} if column == "loss/total" else {"linewidth": 1.2}
            values, label = epochs[column], column.removeprefix(prefix)
            if label.endswith("_mm"):
                label = f"{label.removesuffix('_mm')}, mm"
            elif axis is scores:
                values = 100 * values
            axis.plot(epochs["epoch"][values.notna()], values.dropna(), marker=".", label=label, **style)
        axis.grid(alpha=0.3)
    losses.set(ylabel="training loss", yscale="log")
    scores.set(ylabel="validation, mean over patients, %", xlabel="epoch", ylim=(0, 100))
    parts = [name for name in epochs.columns if name.startswith("schedule/")]
    for part, colour in zip(parts, ("tab:blue", "tab:orange", "tab:green"), strict=False):
        resting = epochs.loc[epochs[part] == 0, "epoch"].to_numpy()
        for axis in (losses, scores):
            for number, epoch in enumerate(np.sort(resting)):
                label = f"{part.removeprefix('schedule/')} rests" if number == 0 else None
                axis.axvspan(epoch - 0.5, epoch + 0.5, color=colour, alpha=0.12, linewidth=0, label=label)
    for axis in (losses, scores):
        if axis.has_data():
            axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))  # beside the curves, never on one
    return figure
