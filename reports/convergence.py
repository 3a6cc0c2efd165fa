"""How soon a training gets near what it reaches in the end."""

from collections.abc import Sequence
from math import nan

import numpy as np
import pandas as pd

from records.run import Run
from reports.statistics.intervals import intervals

SHARE = 0.95
TRAININGS = ("row", "fold", "seed", "epochs", "final_dice", "epochs_to_95")
COLUMNS = (
    *("row", "num_trainings", "epochs", "final_dice", "epochs_to_95", "low", "high", "interval"),
    *("num_pairs", "difference", "difference_low", "difference_high", "difference_interval"),
)


def build_trainings(runs: Sequence[Run]) -> pd.DataFrame:
    """A row a training with TRAININGS.

    `epochs_to_95` is the number of epochs after which the validation Dice has first reached 95 % of `final_dice`, its
    last value; NaN where there was no validation, or where it ends at 0. It is as fine as validation is frequent.
    """
    own = [run for run in runs if not run.arm and run.epochs is not None]
    records = [(run.row, run.fold, run.seed, *epochs_to_share(run.epochs)) for run in own if run.epochs is not None]
    return pd.DataFrame(records, columns=list(TRAININGS))


def epochs_to_share(epochs: pd.DataFrame, share: float = SHARE) -> tuple[int, float, float]:
    """Epochs trained, last validation Dice, and epochs until `share` of it was first reached."""
    if not {"epoch", "val/dice"} <= set(epochs.columns):
        return len(epochs), nan, nan
    known = epochs[["epoch", "val/dice"]].astype(float).dropna().to_numpy()
    known = known[np.argsort(known[:, 0])]
    if not len(known) or known[-1, 1] <= 0:
        return len(epochs), nan, nan
    reached = known[known[:, 1] >= share * known[-1, 1], 0]
    return len(epochs), float(known[-1, 1]), float(reached[0] + 1)


def build_convergence(trainings: pd.DataFrame, rows: Sequence[str], reference: str) -> pd.DataFrame:
    """`convergence.csv`: mean over trainings (folds and seeds), with an interval where their number allows one.

    `difference` is to the reference's training of the same fold and seed. Trainings of several folds share patients, so
    the interval is narrower than that of independent trainings.
    """
    table = trainings.dropna(subset=["epochs_to_95"])
    records, own, paired = [], [], []
    other = table.loc[table["row"] == reference].set_index(["fold", "seed"])["epochs_to_95"]
    for row in (row for row in rows if row in set(table["row"])):
        part = table.loc[table["row"] == row].set_index(["fold", "seed"])
        records.append({"row": row, "epochs": part["epochs"].max(), "final_dice": part["final_dice"].mean()})
        own.append(part["epochs_to_95"].to_numpy(dtype=float))
        gaps = (part["epochs_to_95"] - other).dropna().to_numpy(dtype=float)
        paired.append(gaps if row != reference else np.zeros(0))
    means, gaps = (_where_allowed(samples) for samples in (own, paired))
    found = pd.DataFrame(records, columns=["row", "epochs", "final_dice"])
    found[["epochs_to_95", "low", "high", "interval"]] = means[["mean", "low", "high", "interval"]]
    columns = ["difference", "difference_low", "difference_high", "difference_interval"]
    found[columns] = gaps[["mean", "low", "high", "interval"]]
    found["num_trainings"], found["num_pairs"] = [len(each) for each in own], [len(each) for each in paired]
    return found.loc[:, list(COLUMNS)]


def _where_allowed(samples: Sequence[np.ndarray]) -> pd.DataFrame:
    """Mean and interval of each sample; no ends below the number that an interval takes."""
    found = intervals(samples)
    few = found["interval"] == "range"
    found.loc[few, ["low", "high"]] = nan
    found.loc[few, "interval"] = ""
    return found
