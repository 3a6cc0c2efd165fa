"""cases.csv and summary.json: what every table and statistic of the project is computed from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd

from callbacks.cost import Cost
from callbacks.terminal import print_summary
from callbacks.writer import Writer
from datamodules.slices import SliceDataModule
from lightning_modules.evaluation.evaluated import EvaluatedSlice
from lightning_modules.evaluation.rows import of_all_processes, slice_rows
from lightning_modules.segmentation import SegmentationModule
from metrics.aggregate import patient_means, summarise
from metrics.cases import FACTOR_COLUMNS
from metrics.keypoints import mean_error_mm
from models.strides import strides_of
from records.run_files import write_cases
from records.whole_files import write_json

SHOWN = ("dice", "box_iou", "hd95_mm")  # per structure, in a logger's summary


class CaseTable(Writer):
    """Scores every validation and test slice on its native grid.

    Validation logs `val/dice`, `val/dice/<structure>` and `val/box_iou`, for a network with heat maps also
    `val/keypoint_error_mm`, means over patients, and `val/score`, which the best checkpoint is chosen by: the mean of
    the metrics in `score`, or minus the key-point error where nobody who validates has a mask; smoothed over the
    epochs. Smoothed, because two or three validation patients jump by several points from one epoch to the next, and
    the luckiest jump of a run is not its best network. Where the spacing is nominal, nothing in millimetres is logged.
    A test writes `cases.csv` (a row per slice and structure) and `summary.json` into `folder` and prints a table.

    Args:
        folder: The run folder.
        score: Metrics that `val/score` averages, of "dice" and "box_iou".
        smoothing: Share of the last epoch's `val/score` in the next; 0 for none.
        prints: Whether a test ends with a table in the terminal.
    """

    def __init__(
        self, folder: str, score: Sequence[str] = ("dice",), smoothing: float = 0.7, prints: bool = True
    ) -> None:
        self.folder = Path(folder)
        self.score, self.smoothing = tuple(score), smoothing
        self.prints = prints
        self._smoothed: float | None = None
        self._nominal_spacing = False
        self._rows: dict[int, list[dict[str, Any]]] = {}  # of each slice, by its row in the store
        self._errors: dict[int, tuple[str, float]] = {}  # patient and mean key-point error of each slice, likewise

    def files(self, module: SegmentationModule) -> Sequence[Path]:
        """Both files of a test."""
        return (self.folder / "cases.csv", self.folder / "summary.json")

    def state_dict(self) -> dict[str, float | None]:
        """The smoothed score, for a run that goes on."""
        return {"smoothed": self._smoothed}

    def load_state_dict(self, state_dict: dict[str, float | None]) -> None:
        """Takes up the smoothed score."""
        self._smoothed = state_dict["smoothed"]

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forgets the rows of the last epoch."""
        self._rows, self._errors = {}, {}

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx, dataloader_idx=0) -> None:
        """Scores the slices of a batch."""
        assert isinstance(pl_module, SegmentationModule)
        for item in outputs["slices"]:
            self.add(item, pl_module.data)

    on_test_batch_end = on_validation_batch_end

    def add(self, item: EvaluatedSlice, data: SliceDataModule) -> None:
        """Scores one slice: its mask if it has one, its key points if the network finds any."""
        self._nominal_spacing = nominal = data.cohort.nominal_spacing
        if item.has_mask:
            factors = data.cohort.factors(item.case, FACTOR_COLUMNS)
            self._rows[item.index] = slice_rows(item, data.anatomy.structures, factors, nominal_spacing=nominal)
        if item.keypoints is not None:
            error_mm = mean_error_mm(item.true_keypoints, item.keypoints, item.spacing_mm, item.true_mask.shape)
            self._errors[item.index] = item.patient, error_mm

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Logs the patient means that the best checkpoint is chosen by."""
        cases, error_mm = pd.DataFrame(self._all_rows()), _keypoint_error_mm(of_all_processes(self._errors))
        logged = _mask_scores(cases) if len(cases) else {}
        logged |= {} if error_mm is None or self._nominal_spacing else {"keypoint_error_mm": error_mm}
        if len(cases):
            score = sum(logged[metric] for metric in self.score) / len(self.score)
        elif error_mm is not None:
            score = -error_mm
        else:
            raise ValueError(
                "no slice that validates has a mask, or key points for a network with heat maps: nothing can choose "
                "the best checkpoint; keep the masks of some patients (supervision.masked_patients), or take such a "
                "network"
            )
        before = score if self._smoothed is None else self._smoothed
        self._smoothed = self.smoothing * before + (1 - self.smoothing) * score
        for name, value in {**logged, "score": self._smoothed}.items():
            pl_module.log(f"val/{name}", value)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes the table and, last of all, the summary: where it lies, a run is finished."""
        assert isinstance(pl_module, SegmentationModule)
        rows = self._all_rows()
        if not trainer.is_global_zero:
            return
        cases = write_cases(self.folder / "cases.csv", rows)
        summary = {
            "test": summarise(cases),
            "train": training_summary(self.folder / "metrics.csv"),
            "model": model_summary(trainer, pl_module),
        }
        write_json(self.folder / "summary.json", summary)
        means = {f"test/{metric}/{name}": value for metric in SHOWN for name, value in summary["test"][metric].items()}
        for logger in trainer.loggers:
            logger.log_metrics({name: value for name, value in means.items() if value is not None})
        if self.prints:
            print_summary(summary, pl_module.data.anatomy.structures, self.folder)

    def _all_rows(self) -> list[dict[str, Any]]:
        """In the order of the store, whichever process has scored which slice."""
        rows = of_all_processes(self._rows)
        return [row for index in sorted(rows) for row in rows[index]]


def _mask_scores(cases: pd.DataFrame) -> dict[str, float]:
    """Means over patients of Dice and box IoU, and of Dice for each structure."""
    dice = patient_means(cases, "dice")
    means = {metric: float(patient_means(cases, metric).mean(axis=1).mean()) for metric in ("dice", "box_iou")}
    return {**means, **{f"dice/{name}": float(value) for name, value in dice.mean().items()}}


def _keypoint_error_mm(errors: Mapping[int, tuple[str, float]]) -> float | None:
    """Mean over patients of the errors (patient, mm) of their slices; None where no key point was to be seen."""
    by_patient: dict[str, list[float]] = {}
    for patient, error in errors.values():
        if not np.isnan(error):
            by_patient.setdefault(patient, []).append(error)
    return float(np.mean([np.mean(values) for values in by_patient.values()])) if by_patient else None


def model_summary(trainer: lightning.Trainer, pl_module: SegmentationModule) -> dict[str, Any]:
    """Number of parameters, sides of the network's cells, and what the run has measured of its cost, if it measures."""
    network = pl_module.network
    parameters = sum(parameter.numel() for parameter in network.parameters())
    cells_mm = strides_of(network).cells_mm(pl_module.data.store.grid.spacing_mm)
    cells = {f"cell_{name}_mm": side_mm for name, side_mm in cells_mm.items()}
    callbacks = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    measured = [callback.summary() for callback in callbacks if isinstance(callback, Cost)]
    return {"parameters": parameters, **cells, **(measured[0] if measured else {})}


def training_summary(path: Path) -> dict[str, float | int] | None:
    """What metrics.csv says of the whole training: steps, slices, time; None where there is none (task=test)."""
    if not path.exists():
        return None
    epochs = pd.read_csv(path)
    names = ("training_s", "num_steps", "num_images", "num_masked")
    seconds, steps, images, masked = (epochs[name].to_numpy().sum() for name in names)
    return {
        "epochs": len(epochs),
        "steps": int(steps),
        "seconds": float(seconds),
        "num_images": int(images),
        "num_masked": int(masked),
        "images_per_s": float(images / seconds),
    }
