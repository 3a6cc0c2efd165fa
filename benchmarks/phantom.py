"""Is the phantom hard enough, is it sized like people, and does it look like a scan? The gates, measured.

    python -m benchmarks.phantom --json gates.json
    python -m benchmarks.phantom --figures sheets --real ../shared/data --markdown tables.md
    python -m benchmarks.phantom --only prior second_rater --patients 20

Every further word is an override of `run.py`. Prior, forest and U-Net learn from the training patients of fold 0 of the
default cohort (the first two from those that validate, too) and are scored on its test patients on the untouched grid.
The part `whole` asks of whole bodies what `published` asks of posterior ones, and how large they are.
In whom the U-Net fails, and whether levels of a patient agree, is asked of all patients of a second cohort, drawn with
another seed.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from benchmarks.phantom_forest import forest_cases
from benchmarks.phantom_gates import dice_of, prior_cases, second_rater_cases
from benchmarks.phantom_published import WHOLE_FILE, compare, drawn_values, read_measurements, read_published
from benchmarks.phantom_sheet import write_sheets
from benchmarks.phantom_tables import FAILED, dice_table, gate_table, markdown, rich_table
from benchmarks.phantom_tissues import tissue_tables
from benchmarks.phantom_unet import (
    fat_fractions,
    fattest_third_gap,
    group_dice,
    level_correlation,
    level_correlations,
    order_margin,
    test_on_others,
    train_and_test,
)
from datamodules.phantom import PhantomSettings, write_cohort
from datamodules.phantom.structures import BodyKind

Figures = dict[str, Any]
SEED_OF_OTHERS = 1000  # of the second cohort's patients
AXIAL_LEVELS = ("L1/2", "L2/3", "L3/4", "L4/5", "L5/S1")
SAGITTAL = {"view": "sagittal", "num_slices": (5, 5), "spacing_mm": 0.9}


def composed(overrides: Sequence[str], output: Path) -> DictConfig:
    """The configuration of `python run.py experiment=unet` with these overrides."""
    with initialize_config_dir(str(Path(__file__).parents[1] / "conf"), version_base="1.3"):
        return compose("config", overrides=["experiment=unet", "logger=csv", f"output='{output}'", *overrides])


def measure_prior(overrides: Sequence[str], folder: Path) -> Figures:
    """Dice of the mean shape of each level."""
    dice = dice_of(prior_cases(instantiate(composed(overrides, folder).data)))
    return {"prior_dice": dice["mean"], "prior_dice_by_structure": dice}


def measure_forest(overrides: Sequence[str], folder: Path) -> Figures:
    """Dice of the forest with the weights of its votes that serve it best."""
    by_power = {
        power: dice_of(cases) for power, cases in forest_cases(instantiate(composed(overrides, folder).data)).items()
    }
    best = max(by_power, key=lambda power: by_power[power]["mean"])
    return {
        "forest_dice": by_power[best]["mean"],
        "forest_dice_by_structure": by_power[best],
        "forest_dice_by_power_of_class_share": {str(power): dice["mean"] for power, dice in by_power.items()},
    }


def measure_second_rater(overrides: Sequence[str], folder: Path) -> Figures:
    """Dice between the two raters over all patients of the cohort."""
    dice = dice_of(second_rater_cases(instantiate(composed(overrides, folder).cohort)))
    return {"second_rater_dice": dice["mean"], "second_rater_dice_by_structure": dice}


def measure_unet(overrides: Sequence[str], folder: Path) -> Figures:
    """Dice of the U-Net, its order by structure, its loss in fat patients and the correlation between levels."""
    dice = dice_of(train_and_test(folder / "unet", overrides))
    other_patients = [*overrides, f"cohort.seed={SEED_OF_OTHERS}"]
    others = test_on_others(folder / "unet_others", folder / "unet", other_patients)
    fat = fat_fractions(instantiate(composed(other_patients, folder).cohort))
    return {
        "unet_dice": dice["mean"],
        "unet_order_margin": order_margin(dice),
        "fattest_third_gap": fattest_third_gap(others, fat),
        "level_correlation": level_correlation(others),
        "level_correlation_by_structure": level_correlations(others),
        "unet_dice_by_structure": dice,
        "unet_dice_by_group": group_dice(dice),
        "unet_dice_of_others": dice_of(others)["mean"],
        "unet_dice_of_others_by_structure": dice_of(others),
        "num_other_patients": others["patient"].nunique(),
    }


def measure_speed(overrides: Sequence[str], folder: Path) -> Figures:
    """Seconds to write 80 patients at four discs, 320 x 320, with a worker per processor."""
    started = time.perf_counter()
    write_cohort(PhantomSettings(num_patients=80), folder / "speed")
    return {"seconds_per_320_slices": time.perf_counter() - started}


MEASUREMENTS: dict[str, Callable[[Sequence[str], Path], Figures]] = {
    "speed": measure_speed,
    "prior": measure_prior,
    "forest": measure_forest,
    "second_rater": measure_second_rater,
    "unet": measure_unet,
}

PUBLISHED: tuple[tuple[str, BodyKind, str], ...] = (
    ("published", "posterior", "published and drawn"),
    ("whole", "whole", "published and drawn, whole body"),
)


def published_rows(num_patients: int, folder: Path, body: BodyKind) -> list[dict[str, str]]:
    """Rows of the table of published and drawn numbers, of patients imaged axially at five discs and sagittally."""
    field: dict[str, Any] = {"body": body} if body == "posterior" else {"body": body, "size": 400, "spacing_mm": 1.0}
    axial = PhantomSettings(num_patients=num_patients, levels=AXIAL_LEVELS, **field)
    sagittal = PhantomSettings(num_patients=num_patients, **{**SAGITTAL, **field})
    measured = {
        view: read_measurements(write_cohort(settings, folder / "published"))
        for view, settings in (("axial", axial), ("sagittal", sagittal))
    }
    entries = read_published() + (read_published(WHOLE_FILE) if body == "whole" else [])
    return [compare(entry, drawn_values(entry, measured[entry.view])) for entry in entries]


def parse_arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = (*MEASUREMENTS, *(part for part, _, _ in PUBLISHED), "tissues")
    parser.add_argument("overrides", nargs="*", help="as for run.py")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="measure these alone")
    parser.add_argument("--patients", type=int, default=45, help="of the cohorts (default 45)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file too")
    parser.add_argument("--figures", type=Path, help="draw contact sheets into this folder")
    parser.add_argument("--real", type=Path, help="folder with axial_muscle and sagittal_vertebrae to compare with")
    parser.add_argument("--runs", type=Path, help="keep the U-Net's run folders here; finished ones are read again")
    parser.add_argument("--strict", action="store_true", help="exit code 1 if a gate is missed")
    return parser.parse_intermixed_args()


def main() -> None:
    """Measures and prints; a mistake of the user ends in one line and exit code 1."""
    arguments = parse_arguments()
    try:
        tables, figures = measure(arguments)
    except ValueError as error:
        raise SystemExit(f"benchmarks.phantom: {error}") from None
    except InstantiationException as error:
        if isinstance(error.__cause__, ValueError):  # raised by a constructor about what it was given
            raise SystemExit(f"benchmarks.phantom: {error.__cause__}") from None
        raise
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(markdown(title, table) for title, table in tables.items()))
    if arguments.strict and FAILED in tables["gates"]["passed"].tolist():
        raise SystemExit(1)


def measure(arguments: argparse.Namespace) -> tuple[dict[str, pd.DataFrame], Figures]:
    """All that was asked for: tables by their titles, and the figures of the JSON file."""
    overrides = [f"phantom.num_patients={arguments.patients}", *arguments.overrides]
    figures: Figures = {"num_patients": arguments.patients}
    tables: dict[str, pd.DataFrame] = {}
    console = Console(width=None if sys.stdout.isatty() else 150)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in (name for name in MEASUREMENTS if name in arguments.only):
            kept = arguments.runs.absolute() if arguments.runs and name == "unet" else folder
            figures |= MEASUREMENTS[name](overrides, kept)
        tables["gates"] = gate_table(figures)
        tables["dice by structure"] = dice_table(figures)
        correlations = figures.get("level_correlation_by_structure", {})
        tables["correlation of the U-Net's dice between levels"] = pd.DataFrame(
            [{name.replace("_", " "): f"{value:.2f}" for name, value in correlations.items()}] if correlations else []
        )
        for part, body, title in PUBLISHED:
            if part in arguments.only:
                published = tables[title] = pd.DataFrame(published_rows(arguments.patients, folder, body))
                for column in ("mean", "SD"):  # as [agreeing, compared]
                    words = published[column].tolist()
                    figures[f"{part}_{column.lower()}s_agreeing"] = [words.count("yes"), len(words) - words.count("-")]
        if "tissues" in arguments.only:
            tables |= tissue_tables(folder, arguments.real)
        if arguments.figures:
            write_sheets(arguments.figures, folder, arguments.real)
    for title, table in tables.items():
        if len(table):
            console.print(rich_table(title, table.drop(columns="source", errors="ignore")))
    return tables, figures


if __name__ == "__main__":
    main()
