"""What a run says at its end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SCORES = (("dice", "Dice %", 100.0), ("box_iou", "box IoU %", 100.0))  # metric, heading, factor
DISTANCE = ("hd95_mm", "HD95 mm", 1.0)


def print_summary(summary: dict[str, Any], structures: Sequence[str], folder: Path) -> None:
    """Prints Dice, box IoU and HD95 per structure (means over patients), what was missed, and where everything is.

    There is no HD95 where it is defined nowhere: the spacing of the cohort is nominal.
    """
    test = summary["test"]
    title = f"{test['num_patients']} test patients, {test['num_slices']} slices; means over patients, native grid"
    table = Table(title=title, title_justify="left")
    table.add_column("structure")
    has_distances = any(value is not None for value in test["hd95_mm"].values())
    shown = [*SCORES, *[DISTANCE] * has_distances]
    for _, heading, _ in shown:
        table.add_column(heading, justify="right")
    for name in (*structures, "mean"):
        if name == "mean":
            table.add_section()
        table.add_row(name, *(_number(test[metric].get(name), factor) for metric, _, factor in shown))
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
    trained = ", metrics.csv, checkpoints/" if summary.get("train") else ""
    console.print(f"everything is in {folder}: cases.csv, summary.json, figures/{trained}")


def _number(value: float | None, factor: float) -> str:
    return "-" if value is None else f"{factor * value:.1f}"
