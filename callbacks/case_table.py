"""cases.csv and summary.json: what every table and statistic of the project is computed from."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pandas as pd

from callbacks.terminal import print_summary
from lightning_modules.evaluation import EvaluatedSlice
from lightning_modules.segmentation import SegmentationModule
from metrics.aggregate import patient_means, summarise
from metrics.cases import CASE_COLUMNS, score_slice

SHOWN = ("dice", "box_iou", "hd95_mm")  # per structure, in a logger's summary


class CaseTable(lightning.Callback):
    """Scores every validation and test slice on its native grid.

    Validation logs `val/dice` and `val/box_iou`, means over patients, and `val/score`, which the best checkpoint is
    chosen by: the mean of the metrics in `score`, smoothed over the epochs. Smoothed, because two or three validation
    patients jump by several points from one epoch to the next, and the luckiest jump of a run is not its best network.
    A test writes `cases.csv` (a row per slice and structure) and `summary.json` into `folder` and prints a table.

    Args:
        folder: The run folder.
        score: Metrics that `val/score` averages, of "dice" and "box_iou".
        smoothing: Share of the last epoch's `val/score` in the next; 0 for none.
    """

    def __init__(self, folder: str, score: Sequence[str] = ("dice",), smoothing: float = 0.7) -> None:
        self.folder = Path(folder)
        self.score, self.smoothing = tuple(score), smoothing
        self._smoothed: float | None = None
        self._rows: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, float | None]:
        """The smoothed score, for a run that goes on."""
        return {"smoothed": self._smoothed}

    def load_state_dict(self, state_dict: dict[str, float | None]) -> None:
        """Takes up the smoothed score."""
        self._smoothed = state_dict["smoothed"]

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forgets the rows of the last epoch."""
        self._rows = []

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx, dataloader_idx=0) -> None:
        """Scores the slices of a batch."""
        assert isinstance(pl_module, SegmentationModule)
        structures = pl_module.data.anatomy.structures
        for item in outputs["slices"]:
            self._rows += slice_rows(item, structures)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Logs the patient means that the best checkpoint is chosen by."""
        cases = pd.DataFrame(self._rows)
        means = {metric: float(patient_means(cases, metric).mean(axis=1).mean()) for metric in ("dice", "box_iou")}
        score = sum(means[metric] for metric in self.score) / len(self.score)
        before = score if self._smoothed is None else self._smoothed
        self._smoothed = self.smoothing * before + (1 - self.smoothing) * score
        for name, value in (*means.items(), ("score", self._smoothed)):
            pl_module.log(f"val/{name}", value)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes the table and, last of all, the summary: where it lies, a run is finished."""
        assert isinstance(pl_module, SegmentationModule)
        cases = pd.DataFrame(self._rows, columns=list(CASE_COLUMNS))
        replace_text(self.folder / "cases.csv", cases.to_csv(index=False))
        summary = {
            "test": summarise(cases),
            "train": training_summary(self.folder / "metrics.csv"),
            "model": {"parameters": sum(parameter.numel() for parameter in pl_module.network.parameters())},
        }
        replace_text(self.folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
        means = {f"test/{metric}/{name}": value for metric in SHOWN for name, value in summary["test"][metric].items()}
        for logger in trainer.loggers:
            logger.log_metrics({name: value for name, value in means.items() if value is not None})
        print_summary(summary, pl_module.data.anatomy.structures, self.folder)


def slice_rows(item: EvaluatedSlice, structures: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of `cases.csv` for one slice."""
    rows = score_slice(
        true_mask=item.true_mask,
        predicted_mask=item.predicted_mask,
        structures=structures,
        labelled=item.labelled,
        spacing_mm=item.spacing_mm,
        true_boxes=item.true_boxes,
        mask_boxes=item.mask_boxes,
        network_boxes=item.network_boxes,
    )
    who = {"case": item.case, "patient": item.patient, "level": item.level, "slice": item.slice}
    return [{**who, **row} for row in rows]


def training_summary(path: Path) -> dict[str, float | int] | None:
    """Seconds, images and speed of training from metrics.csv; None where the run folder has none (task=test)."""
    if not path.exists():
        return None
    epochs = pd.read_csv(path)
    seconds, images = (epochs[name].to_numpy().sum() for name in ("training_s", "num_images"))
    return {
        "epochs": len(epochs),
        "seconds": float(seconds),
        "num_images": int(images),
        "images_per_s": float(images / seconds),
    }


def replace_text(path: Path, text: str) -> None:
    """Writes a file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
