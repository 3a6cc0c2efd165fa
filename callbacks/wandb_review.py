"""What one looks at on a wandb dashboard beside the curves: cases, overlays with masks and boxes, attention, cost."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
from lightning.pytorch.loggers import WandbLogger

from callbacks.loggers import CellLogger, wandb_loggers
from callbacks.overlays import mean_dice, worst_to_best
from datamodules.anatomy import Anatomy
from lightning_modules.evaluation.evaluated import EvaluatedSlice, view_of
from lightning_modules.segmentation import SegmentationModule

MAX_ROWS = 10_000  # of a table that a dashboard shows


class WandbReview(lightning.Callback):
    """Hands the records of a run folder and some test slices to wandb; without a wandb logger it does nothing.

    After a test: `test/cases` (the table of `cases.csv`), `test/overlays` (slices with masks and boxes to switch on and
    off), `test/saliency`, and in the run's summary `test/...` and `cost/...` of `summary.json`. It stands after
    `case_table`, which writes both files. A run that goes on after an interruption shows its earlier epochs again where
    wandb does not have them, from `metrics.csv`.

    Args:
        folder: The run folder.
        num_slices: How many test slices are shown: the worst, the median, the best, and evenly between them.
    """

    def __init__(self, folder: str, num_slices: int = 6) -> None:
        self.folder = Path(folder)
        self.num_slices = num_slices
        self._slices: list[tuple[float, EvaluatedSlice]] = []
        self._tested_before: int | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Catches up with the epochs that an interrupted process trained."""
        self._catch_up(trainer, trainer.current_epoch)

    def on_test_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The same, where the interruption came after the last epoch."""
        self._catch_up(trainer, trainer.max_epochs or 0)
        self._slices, self._tested_before = [], _time_of(self.folder / "cases.csv")

    def on_test_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx, dataloader_idx=0) -> None:
        """Keeps the slices that have something to show."""
        if wandb_loggers(trainer):
            self._slices += [(dice, item) for item in outputs["slices"] if not np.isnan(dice := mean_dice(item))]

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Logs the review."""
        assert isinstance(pl_module, SegmentationModule)
        cases = self.folder / "cases.csv"
        if not trainer.is_global_zero or _time_of(cases) == self._tested_before:
            return  # nothing new in this folder: the test of something else, whose records lie elsewhere
        summary = flat_summary(json.loads((self.folder / "summary.json").read_text(encoding="utf-8")))
        chosen = worst_to_best(self._slices, self.num_slices) if self._slices else []
        for logger in wandb_loggers(trainer):
            with _staged_in(self.folder / "wandb" / "data"):
                has_mm = not pl_module.data.nominal_spacing
                shown = review_media(chosen, shown_cases(cases), pl_module.data.anatomy, has_mm=has_mm)
                logger.log_metrics(shown, step=trainer.global_step)
            logger.experiment.summary.update(summary)
        self._slices = []

    def _catch_up(self, trainer: lightning.Trainer, end: int) -> None:
        """Logs the epochs before `end` that wandb does not have."""
        if not trainer.is_global_zero:
            return
        path = self.folder / "metrics.csv"
        epochs = pd.read_csv(path) if path.exists() else pd.DataFrame({"epoch": []})
        epochs = epochs.loc[epochs["epoch"] < end]
        for logger in wandb_loggers(trainer):
            known = logger.experiment.summary.get("epoch", -1)
            missing = epochs.loc[epochs["epoch"] > known]
            log_epochs(logger, missing, steps_per_epoch=trainer.global_step // max(len(epochs), 1))
            if len(missing) == len(epochs) and isinstance(logger, CellLogger):
                logger.set_aside_earlier_parts()


def log_epochs(logger: WandbLogger, epochs: pd.DataFrame, steps_per_epoch: int) -> None:
    """Logs rows of `metrics.csv` as they were logged when they were trained."""
    for row in epochs.to_dict("records"):
        values = {str(name): value for name, value in row.items() if "/" in str(name) and not np.isnan(value)}
        epoch = int(row["epoch"])
        logger.log_metrics({**values, "epoch": epoch}, step=(epoch + 1) * steps_per_epoch - 1)


def shown_cases(path: Path) -> pd.DataFrame:
    """The case table; the means of patients over their slices where it is longer than a dashboard shows."""
    cases = pd.read_csv(path, dtype={"case": str, "patient": str, "level": str})
    if len(cases) <= MAX_ROWS:
        return cases
    means = cases.groupby(["patient", "structure"], sort=False).mean(numeric_only=True)
    assert isinstance(means, pd.DataFrame)
    return means.reset_index()


def flat_summary(summary: Mapping[str, Any]) -> dict[str, float]:
    """`summary.json` as `test/<metric>/<structure>`, `test/num_missed`, ... and `cost/...`; undefined ones left out."""
    test, train, model = (summary.get(name) or {} for name in ("test", "train", "model"))
    shown = {f"test/{name}": value for name, value in _leaves(test) if not name.startswith("slice_level/")}
    cost = {**{f"training_{name}": value for name, value in train.items()}, **model}
    return {**shown, **{f"cost/{name}": value for name, value in cost.items() if value is not None}}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}/")
        elif value is not None:
            yield f"{prefix}{name}", value


def review_media(
    slices: list[tuple[float, EvaluatedSlice]], cases: pd.DataFrame, anatomy: Anatomy, *, has_mm: bool = True
) -> dict[str, Any]:
    """Table and pictures; a key that has nothing to show is left out.

    Args:
        slices: Dice and slice.
        cases: The table.
        anatomy: Names of the structures; its view says which sides a picture bears.
        has_mm: Whether a bar of millimetres is drawn: not where the spacing is nominal.
    """
    import wandb  # half a second, which a run without a dashboard need not wait for

    def picture(item: EvaluatedSlice, saliency: np.ndarray | None = None) -> np.ndarray:
        view = view_of(item, anatomy.view, has_mm=has_mm, interpolation="none")  # masks and boxes are laid over it
        return view.pixels(view.grey.shape, lambda axis: None if saliency is None else view.heat(axis, saliency))

    labels = {0: "background", **{index + 1: name for index, name in enumerate(anatomy.structures)}}
    overlays = [
        wandb.Image(
            picture(item),
            masks={
                "prediction": {"mask_data": item.predicted_mask.astype(np.uint8), "class_labels": labels},
                "ground_truth": {"mask_data": item.true_mask.astype(np.uint8), "class_labels": labels},
            },
            boxes=slice_boxes(item, labels),
            caption=_caption(dice, item),
        )
        for dice, item in slices
    ]
    saliency = [
        wandb.Image(picture(item, item.saliency), caption=_caption(dice, item))
        for dice, item in slices
        if item.saliency is not None
    ]
    media = {"test/cases": wandb.Table(dataframe=cases), "test/overlays": overlays, "test/saliency": saliency}
    return {name: shown for name, shown in media.items() if not isinstance(shown, list) or shown}


def slice_boxes(item: EvaluatedSlice, labels: Mapping[int, str]) -> dict[str, Any]:
    """Annotated boxes and, where a network regresses some, its own; in fractions of the image, absent ones left out."""
    groups = {"ground_truth": item.true_boxes}
    if item.network_boxes is not None:
        groups["network"] = item.network_boxes
    return {
        group: {
            "box_data": [
                {
                    "position": {
                        "middle": [float(box[0]), float(box[1])],
                        "width": float(box[2]),
                        "height": float(box[3]),
                    },
                    "class_id": index + 1,
                    "box_caption": f"{labels[index + 1]} ({group.replace('_', ' ')})",
                }
                for index, box in enumerate(boxes)
                if item.labelled[index + 1] and not np.isnan(box).any()
            ],
            "class_labels": dict(labels),
        }
        for group, boxes in groups.items()
    }


def _caption(dice: float, item: EvaluatedSlice) -> str:
    where = f"{item.case} slice {item.slice}" + (f" {item.level}" if item.level else "")
    return f"{where}, patient {item.patient}, Dice {100 * dice:.1f} %"


def _time_of(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


@contextmanager
def _staged_in(folder: Path) -> Iterator[None]:
    """Keeps what wandb has yet to send in the run folder, not in the user's home."""
    before = os.environ.get("WANDB_DATA_DIR")
    if before is None:
        os.environ["WANDB_DATA_DIR"] = str(folder.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]
