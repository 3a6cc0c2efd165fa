"""What a U-Net of the default preset reaches on the phantom, in whom it fails, whether levels of a patient agree."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from datamodules.cohort import Cohort
from metrics.aggregate import patient_means

ROOT = Path(__file__).parents[1]
BACK_MUSCLES = ("multifidus", "erector_spinae")
# What the gate compares, from the easiest to the hardest.
ORDER = {
    "disc": ("disc",),
    "muscles": ("psoas", *BACK_MUSCLES),
    "canal": ("canal",),
    "lamina": ("lamina",),
}


def train_and_test(folder: Path, overrides: Sequence[str]) -> pd.DataFrame:
    """Case table of `run.py experiment=unet` on the test patients of its fold; a finished folder is only read.

    Raises:
        ValueError: If the run fails; its own message is above.
    """
    return _run(folder, ["experiment=unet", *overrides])


def test_on_others(folder: Path, trained: Path, overrides: Sequence[str]) -> pd.DataFrame:
    """Case table of the trained network on every patient of the cohort that `overrides` name.

    Raises:
        ValueError: If the run fails; its own message is above.
    """
    checkpoint = trained / "checkpoints" / "best.ckpt"
    task = ["task=test", "experiment=unet", f"checkpoint='{checkpoint}'", "split=all"]
    return _run(folder, [*task, *overrides])


def _run(folder: Path, words: Sequence[str]) -> pd.DataFrame:
    command = [sys.executable, str(ROOT / "run.py"), f"hydra.run.dir='{folder}'", "logger=csv", *words]
    finished = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    if finished.returncode:
        raise ValueError(f"this run ended with exit code {finished.returncode}, see above: {' '.join(command)}")
    return pd.read_csv(folder / "cases.csv", dtype={"case": str, "patient": str, "level": str}, keep_default_na=True)


def group_dice(dice: Mapping[str, float]) -> dict[str, float]:
    """Mean Dice of each group of ORDER over the structures (of either side) that belong to it.

    Raises:
        ValueError: If a group has no structure.
    """
    means = {}
    for group, names in ORDER.items():
        values = [value for structure, value in dice.items() if without_side(structure) in names]
        if not values:
            raise ValueError(
                f"no Dice of {group} among {', '.join(dice)}; the gate needs the anatomy axial9 (anatomy=axial9)"
            )
        means[group] = float(np.mean(values))
    return means


def order_margin(dice: Mapping[str, float]) -> float:
    """Smallest step down from one group of ORDER to the next; negative where the order is another."""
    groups = list(group_dice(dice).values())
    return float(min(easier - harder for easier, harder in pairwise(groups)))


def fattest_third_gap(cases: pd.DataFrame, fat_fraction: Mapping[str, float]) -> float:
    """How much lower the Dice of the back muscles is in the fattest third of the patients than in the others.

    Args:
        cases: Case table.
        fat_fraction: Of each patient.
    """
    dice = patient_means(cases, "dice")
    muscles = [name for name in dice.columns if without_side(name) in BACK_MUSCLES]
    values = dice[muscles].mean(axis=1)
    fattest = sorted(values.index, key=lambda patient: fat_fraction[patient])[-max(1, round(len(values) / 3)) :]
    return float(values.drop(fattest).mean() - values[fattest].mean())


def level_correlation(cases: pd.DataFrame) -> float:
    """Pearson correlation over patients of the Dice at two levels, mean over all pairs of levels.

    The Dice of a patient at a level is the mean over its structures and slices.

    Raises:
        ValueError: If there are fewer than two levels or three patients.
    """
    table = cases.pivot_table(index="patient", columns="level", values="dice", aggfunc="mean")
    if table.shape[0] < 3 or table.shape[1] < 2:
        raise ValueError(
            f"{table.shape[0]} patients at {table.shape[1]} levels have no correlation between levels; test at least 3 "
            "patients at 2 levels"
        )
    levels = table.to_numpy(dtype=float)
    pairs = []
    for one, other in combinations(range(levels.shape[1]), 2):
        both = np.isfinite(levels[:, [one, other]]).all(axis=1)
        pairs.append(np.corrcoef(levels[both, one], levels[both, other])[0, 1])
    return float(np.mean(pairs))


def level_correlations(cases: pd.DataFrame) -> dict[str, float]:
    """`level_correlation` of each structure, both sides together; misses and false alarms weigh heavily."""
    groups = cases.groupby(cases["structure"].map(without_side), sort=False)
    return {str(name): level_correlation(group) for name, group in groups}


def fat_fractions(cohort: Cohort) -> dict[str, float]:
    """Fat fraction of the back muscles of each patient, mean over the cases: column fat_fraction of cohort.csv.

    Raises:
        ValueError: If a case has none.
    """
    for case in cohort.cases:
        if not case.row.get("fat_fraction"):
            raise ValueError(
                f"cohort {cohort.name}, case {case.case!r}: the column fat_fraction of cohort.csv is empty or missing; "
                "it takes a phantom cohort"
            )
    values = defaultdict(list)
    for case in cohort.cases:
        values[case.patient].append(float(case.row["fat_fraction"]))
    return {patient: float(np.mean(of_patient)) for patient, of_patient in values.items()}


def without_side(structure: str) -> str:
    """Name of a structure for both sides."""
    return structure.removesuffix("_left").removesuffix("_right")
