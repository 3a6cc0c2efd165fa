"""The tables of the phantom's benchmark, for the terminal and for a README."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import pandas as pd
from rich.table import Table

PASSED, FAILED = "yes", "NO"


@dataclass(frozen=True)
class Gate:
    """A figure and the range that it is to lie in.

    Attributes:
        name: Key in the JSON file.
        text: What it is.
        low: Smallest value.
        high: Largest value.
        digits: Decimals shown.
        scale: What is shown is the value times this: 100 for a share, which is read in percent.
    """

    name: str
    text: str
    low: float = -inf
    high: float = inf
    digits: int = 1
    scale: float = 100.0

    def shown(self, value: float) -> str:
        """A value as it is printed."""
        return f"{self.scale * value:.{self.digits}f}"

    @property
    def expected(self) -> str:
        """The range in words."""
        low, high = (self.shown(value).rstrip("0").rstrip(".") for value in (self.low, self.high))
        if self.low == -inf:
            return f"at most {high}"
        return f"at least {low}" if self.high == inf else f"{low} to {high}"


GATES = (  # ours, PHANTOM_NUMBERS section 6
    Gate("prior_dice", "mean shape of each level, Dice %", high=0.70),
    Gate("forest_dice", "random forest on intensity, position and level, Dice %", high=0.85),
    Gate("unet_dice", "U-Net, default preset, Dice %", low=0.90, high=0.95),
    Gate("unet_order_margin", "U-Net, smallest step of disc > muscles > canal > lamina, points", low=0.0),
    Gate("fattest_third_gap", "U-Net, back muscles, other patients minus fattest third, points", low=0.02),
    Gate("level_correlation", "U-Net, correlation of Dice between levels of a patient", 0.3, 0.6, 3, 1.0),
    Gate("second_rater_dice", "second rater, Dice %", low=0.93, high=0.97),
    Gate("seconds_per_320_slices", "writing 320 slices of 320 x 320, s", high=30.0, scale=1.0),
)
DICE = ("prior_dice", "forest_dice", "unet_dice", "unet_dice_of_others", "second_rater_dice")


def gate_table(figures: Mapping[str, Any]) -> pd.DataFrame:
    """A row per gate that was measured."""
    rows = [
        {
            "gate": gate.text,
            "key": gate.name,
            "measured": gate.shown(figures[gate.name]),
            "expected": gate.expected,
            "passed": PASSED if gate.low <= figures[gate.name] <= gate.high else FAILED,
        }
        for gate in GATES
        if gate.name in figures
    ]
    return pd.DataFrame(rows, columns=["gate", "key", "measured", "expected", "passed"])


def dice_table(figures: Mapping[str, Any]) -> pd.DataFrame:
    """A row per structure, a column per method that was measured."""
    by_method = {name: figures[f"{name}_by_structure"] for name in DICE if f"{name}_by_structure" in figures}
    names = {name: name.replace("_dice", "").replace("_", " ") for name in by_method}
    structures = list(dict.fromkeys(structure for dice in by_method.values() for structure in dice))
    return pd.DataFrame(
        [
            {"structure, Dice %": structure.replace("_", " ")}
            | {names[method]: f"{100 * dice[structure]:.1f}" for method, dice in by_method.items()}
            for structure in structures
        ]
    )


def rich_table(title: str, table: pd.DataFrame) -> Table:
    """A table for the terminal."""
    drawn = Table(title=title, title_justify="left")
    for name in table.columns:
        drawn.add_column(str(name))
    for row in table.itertuples(index=False):
        drawn.add_row(*map(str, row), style="red" if FAILED in row else None)
    return drawn


def markdown(title: str, table: pd.DataFrame) -> str:
    """The same for a README."""
    if not len(table):
        return ""
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return f"### {title[0].upper()}{title[1:]}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
