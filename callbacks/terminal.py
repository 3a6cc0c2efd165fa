"""What a run says at its end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def print_summary(summary: dict[str, Any], structures: Sequence[str], folder: Path) -> None:
    """Prints Dice, box IoU and HD95 per structure (means over patients), what was missed, and where everything is."""
    test = summary["test"]
    title = f"{test['num_patients']} test patients, {test['num_slices']} slices; means over patients, native grid"
    table = Table(title=title, title_justify="left")
    table.add_column("structure")
    for column in ("Dice", "box IoU", "HD95 mm"):
        table.add_column(column, justify="right")
    for name in (*structures, "mean"):
        if name == "mean":
            table.add_section()
        digits = (("dice", 3), ("box_iou", 3), ("hd95_mm", 1))
        table.add_row(name, *(_number(test[metric].get(name), places) for metric, places in digits))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(
        f"missed {test['num_missed']}, false alarms {test['num_false_alarms']}, absent {test['num_absent']} "
        f"(structures on slices)"
    )
    if summary.get("train"):
        train = summary["train"]
        console.print(
            f"trained {train['epochs']} epochs in {train['seconds']:.0f} s, {train['images_per_s']:.1f} images/s"
        )
    console.print(f"everything is in {folder}: cases.csv, summary.json, metrics.csv, figures/, checkpoints/")


def _number(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"
