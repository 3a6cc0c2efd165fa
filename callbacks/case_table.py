"""cases.csv and summary.json: what every table and statistic of the project is computed from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pandas as pd

from callbacks.cost import Cost
from callbacks.terminal import print_summary
from callbacks.writer import Writer
from lightning_modules.evaluation.rows import of_all_processes, slice_rows
from lightning_modules.segmentation import SegmentationModule
from metrics.aggregate import summarise
from metrics.cases import FACTOR_COLUMNS
from models.strides import strides_of
from records.run_files import write_cases
from records.whole_files import write_json

SHOWN = ("dice", "box_iou", "hd95_mm")  # per structure, in a logger's summary


class CaseTable(Writer):
    """Scores every test slice on its native grid.

    Writes `cases.csv` (a row per slice and structure) and `summary.json` into `folder` and prints a table. Where the
    spacing is nominal, nothing in millimetres is written.

    Args:
        folder: The run folder.
        prints: Whether a test ends with a table in the terminal.
    """

    def __init__(self, folder: str, prints: bool = True) -> None:
        self.folder = Path(folder)
        self.prints = prints
        self._rows: dict[int, list[dict[str, Any]]] = {}  # of each slice, by its row in the store

    def files(self, module: SegmentationModule) -> Sequence[Path]:
        """Both files of a test."""
        return (self.folder / "cases.csv", self.folder / "summary.json")

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forgets the rows of the last test."""
        self._rows = {}

    def on_test_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx, dataloader_idx=0) -> None:
        """Scores the slices of a batch that have a mask."""
        assert isinstance(pl_module, SegmentationModule)
        data = pl_module.data
        for item in outputs["slices"]:
            if item.has_mask:
                factors = data.cohort.factors(item.case, FACTOR_COLUMNS)
                nominal = data.nominal_spacing
                self._rows[item.index] = slice_rows(item, data.anatomy.structures, factors, nominal_spacing=nominal)

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
