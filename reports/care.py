"""The budget of care: which settings of a network do best in the patients who validate. Nobody is tested here."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from records.row_names import row_of, settings_of, variant_names
from reports.render.tables import COUNT, PERCENT, Column, Table
from reports.render.text import print_table
from reports.task import sweep_folder

FILE = "care.csv"
METRICS = ("dice", "box_iou", "keypoint_error_mm")
TABLE = Table(
    title="Patients who validate: {patients}",
    terminal=True,
    columns=[
        Column("row", "row", kind="row", short=True),
        Column("setting", "setting", kind="text", short=True),
        Column("Dice, %", "dice", short=True, **PERCENT),
        Column("box IoU, %", "box_iou", short=True, **PERCENT),
        Column("key points off, mm", "keypoint_error_mm", short=True),
        Column("epoch", "epoch", short=True, **COUNT),
    ],
)


class CareAtEnd(Callback):
    """Writes care.csv into the folder of a sweep once its last cell is done, and prints it."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Lists what there is, finished or not."""
        folder = sweep_folder(config)
        table = care_table(folder)
        table.to_csv(folder / FILE, index=False, float_format="%.6g")
        print_care(table)


def care_table(folder: Path) -> pd.DataFrame:
    """A row for every training below `folder`, by network, best first.

    Columns: `row`; `setting`, in what it differs from the other trainings of its row; `patients` who validate; `score`,
    the smoothed validation score that the best checkpoint is chosen by; of that checkpoint's epoch, `epoch` (from 1)
    and what was measured in it: `dice`, `box_iou` (shares), `keypoint_error_mm`, NaN where a network has none.

    Raises:
        ValueError: If no training below the folder has validated, or not all of them by the same measure.
    """
    found = sorted(path.parent for path in folder.rglob("metrics.csv") if (path.parent / "run_card.json").exists())
    runs = [(path, *_config_and_card(path), pd.read_csv(path / "metrics.csv")) for path in found]
    runs = [run for run in runs if "val/score" in run[3].columns]
    if not runs:
        raise ValueError(f"{folder}: no training here has patients who validate (split.validation_fraction above 0)")
    # Before there was a node `metrics`, validation was scored on the pixels of the scans, where everybody scores less.
    older = [path.name for path, config, _, _ in runs if "metrics" not in config]
    if 0 < len(older) < len(runs):
        raise ValueError(
            f"{folder}: {', '.join(older)} validated on the pixels of the scans, as older versions did, the "
            "others on the network's grid: their scores cannot be compared; train these anew (retrain=true)"
        )
    records = []
    for row in dict.fromkeys(row_of(config, card) for _, config, card, _ in runs):
        own = [(config, card, epochs) for _, config, card, epochs in runs if row_of(config, card) == row]
        names = variant_names([settings_of(config) for config, _, _ in own], [card["commit"] for _, card, _ in own])
        for name, (_, card, epochs) in zip(names, own, strict=True):
            best = epochs.loc[epochs["val/score"].idxmax()]
            records.append(
                {
                    "row": row,
                    "setting": name,
                    "patients": card["patients"]["validation"],
                    "score": best["val/score"],
                    "epoch": int(best["epoch"]) + 1,
                    **{metric: best.get(f"val/{metric}", float("nan")) for metric in METRICS},
                }
            )
    return pd.DataFrame(records).sort_values(["row", "score"], ascending=[True, False], kind="stable")


def print_care(table: pd.DataFrame) -> None:
    """Prints the table, shares in percent."""
    grid = TABLE.of(table, {}, patients=table["patients"].min())
    print_table(grid, Console(highlight=False, soft_wrap=True, width=140))


def _config_and_card(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}, json.loads((folder / "run_card.json").read_text())
