"""Which fat method tells the truth? Each one against what is known exactly (phantom) or was measured (volunteers).

    python -m benchmarks.fat --markdown fat.md
    python -m benchmarks.fat --real ../shared/data/axial_muscle --patients 8 --phantoms kept

Compared is the share of a muscle's pixels that are fat, per muscle, side and slice, inside the true masks: what the
method says minus the share of pixels that are more than half fat.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from hydra.utils import instantiate
from rich.console import Console

from benchmarks.fat_slices import (
    PHANTOMS,
    VOLUNTEERS,
    KnownSlice,
    Picture,
    composed,
    first_channel,
    phantom_slices,
    pictures,
    volunteer_slices,
    z_scored,
)
from benchmarks.phantom_tables import markdown, rich_table
from metrics.bias_field import BiasFieldCorrection
from metrics.dixon import signal_fraction
from metrics.fat import KNOWN
from metrics.fat_threshold import ThresholdAlgorithm
from metrics.goutallier import GradeScale
from metrics.grade_agreement import confusion_matrix
from metrics.morphometry import Morphometry

METHODS = ("otsu_patient", "otsu_slice", "gaussian_2", "gaussian_3", "kmeans_3")
GROUPS = {"back muscles": ("multifidus", "erector_spinae"), "psoas": ("psoas",)}
GRADED = {"back muscles": "back_muscles"}  # Baur et al. grade these
WITH_EXTRAS = ("phantom, T2", VOLUNTEERS)  # corrected by N4, and z-scored slice by slice


class Remembered:
    """A threshold algorithm that is asked the same again, with and without the guard, and answers from memory."""

    memory: ClassVar[dict[str, float]] = {}

    def __init__(self, algorithm: ThresholdAlgorithm) -> None:
        self.algorithm = algorithm

    def __call__(self, intensity: np.ndarray) -> float:
        """The algorithm's threshold."""
        key = f"{self.algorithm} {blake2b(intensity.tobytes()).hexdigest()}"
        if key not in self.memory:
            self.memory[key] = self.algorithm(intensity)
        return self.memory[key]


def morphometry(source: str, method: str) -> Morphometry:
    """What `morphometry/fat=METHOD` measures."""
    anatomy = "axial_muscle4" if source == VOLUNTEERS else "axial9"
    settings = instantiate(composed(f"anatomy={anatomy}", f"morphometry/fat={method}").morphometry)
    if method == "measured":
        return settings
    return replace(settings, fat=replace(settings.fat, algorithm=Remembered(settings.fat.algorithm)))


def measured(settings: Morphometry, slices: Sequence[KnownSlice], picture: Picture) -> pd.DataFrame:
    """Rows of `morphometry.csv` of the muscles.

    No contrast is stated, so that methods are tried on pictures that their settings would refuse, too.
    """
    samples = []
    for item in slices:
        fields = {name: value for name, value in item.items() if name != "channels"}
        samples.append(settings.sample(image=picture(item["channels"]), **fields))
    rows = settings.measure(samples)
    return pd.DataFrame([row for row in rows if row["fat_method"]])


def compared(truth: pd.DataFrame, trusted: pd.DataFrame, guarded: pd.DataFrame) -> dict[str, str]:
    """Bias and spread in percentage points over muscles, sides and slices, and what the guard said.

    Tables are those of `measured`, of the same slices: the truth, and a method without and with its guard.
    """
    one_side = ((truth["side"] != "both") & truth["fat_pixel_share"].notna()).to_numpy()
    true, plain, careful = (table["fat_pixel_share"].to_numpy(float)[one_side] for table in (truth, trusted, guarded))
    states = guarded["fat_state"].to_numpy()[one_side]
    return {
        "n": str(len(true)),
        "true %": f"{100 * true.mean():.1f}",
        "unguarded": bias_and_spread(plain, true),
        "bias ± SD": bias_and_spread(careful, true),
        "called lean": str(int((states == "lean").sum())),
        "no number": str(int((~np.isin(states.astype(str), KNOWN)).sum())),
    }


def bias_and_spread(found: np.ndarray, true: np.ndarray) -> str:
    """Mean and standard deviation of the differences of shares that were found, in percentage points."""
    difference = 100 * (found - true)[~np.isnan(found)]
    return f"{difference.mean():+.1f} ± {difference.std(ddof=1):.1f}" if len(difference) > 1 else "-"


def graded(table: pd.DataFrame, truth: pd.DataFrame, scale: GradeScale, group: str) -> dict[str, str]:
    """How many patients' simplified grades are right: mean share over slices, then the grade."""
    if group not in GRADED:
        return {"grades right": ""}
    grades = []
    for rows in (truth, table):
        of_both = rows.loc[(rows["structure"] == GRADED[group]) & (rows["side"] == "both")]
        means = of_both.groupby("patient")["fat_pixel_share"].agg("mean")
        grades.append([scale.grade(float(share)) for share in means.to_numpy()])
    confusion, num_ungraded = confusion_matrix(grades[0], grades[1], scale.grades)
    right = int(confusion.to_numpy().trace())
    return {"grades right": f"{right} of {len(grades[0])}" + (f", {num_ungraded} none" if num_ungraded else "")}


def source_rows(source: str, slices: Sequence[KnownSlice]) -> list[dict[str, str]]:
    """Every picture, method and group of muscles of one source, without and with the guard."""
    exact = measured(morphometry(source, "measured"), slices, first_channel)
    rows = []
    for name, method, picture, settings in variants(source):
        fat: Any = settings.fat
        trusting = replace(fat, min_brightness=0.0, min_separation=0.0, min_contrast=0.0)
        trusted = measured(replace(settings, fat=trusting), slices, picture)
        guarded = measured(settings, slices, picture)
        for group, members in GROUPS.items():
            tables = [table.loc[table["structure"].isin(members)] for table in (exact, trusted, guarded)]
            if len(tables[0]):
                labels = {"muscles": group, "picture": name, "method": method}
                rows.append(labels | compared(*tables) | graded(guarded, exact, settings.simplified, group))
    return rows


def variants(source: str) -> Iterator[tuple[str, str, Picture, Morphometry]]:
    """Name of the picture, method, how to make the picture, and the settings."""
    made = pictures(source)
    for name, picture in made.items():
        for method in METHODS:
            yield name, method, picture, morphometry(source, method)
    if source in WITH_EXTRAS:
        name, usual = next(iter(made.items()))
        for method in ("otsu_patient", "kmeans_3"):
            corrected = replace(morphometry(source, method), bias_field=BiasFieldCorrection())
            yield f"{name}, N4", method, usual, corrected
            scored: Picture = lambda channels: z_scored(usual(channels))  # noqa: E731
            yield f"{name}, z-scored slices", method, scored, morphometry(source, method)


def dixon_rows(slices: Sequence[KnownSlice]) -> list[dict[str, str]]:
    """Both quantities of fat as a synthetic Dixon pair measures them, against the exact map."""
    settings = morphometry("phantom, Dixon", "measured")
    pairs = [item | {"fraction": signal_fraction(*item["channels"])} for item in slices]
    exact, found = (measured(settings, items, first_channel) for items in (slices, pairs))
    rows = []
    for group, members in GROUPS.items():
        chosen = (exact["side"] != "both") & exact["structure"].isin(members) & exact["fat_pixel_share"].notna()
        for quantity in ("fat_fraction_signal", "fat_pixel_share"):
            true, values = (table.loc[chosen, quantity].to_numpy(float) for table in (exact, found))
            labels = {"muscles": group, "quantity": quantity, "n": str(len(true)), "true %": f"{100 * true.mean():.1f}"}
            rows.append(labels | {"bias ± SD": bias_and_spread(values, true)})
    return rows


def measure(num_patients: int, folder: Path, real: Path | None) -> dict[str, pd.DataFrame]:
    """All tables by their titles."""
    sources = {name: phantom_slices(name, num_patients, folder) for name in PHANTOMS}
    if real is not None:
        sources[VOLUNTEERS] = volunteer_slices(real)
    tables = {name: pd.DataFrame(source_rows(name, slices)) for name, slices in sources.items()}
    tables = {f"fat pixels, {name}": table.sort_values("muscles", kind="stable") for name, table in tables.items()}
    return tables | {"what a synthetic Dixon pair measures": pd.DataFrame(dixon_rows(sources["phantom, Dixon"]))}


def main() -> None:
    """Measures and prints; a mistake of the user ends in one line and exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=20, help="of each synthetic cohort (default 20)")
    parser.add_argument("--real", type=Path, help="folder of the two volunteers (cohort=axial_muscle)")
    parser.add_argument("--phantoms", type=Path, help="keep the synthetic cohorts here; what lies there is read again")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file too")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            tables = measure(arguments.patients, arguments.phantoms or Path(temporary), arguments.real)
    except ValueError as error:
        raise SystemExit(f"benchmarks.fat: {error}") from None
    console = Console(width=None if sys.stdout.isatty() else 150)
    for title, table in tables.items():
        console.print(rich_table(title, table))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(markdown(title, table) for title, table in tables.items()))


if __name__ == "__main__":
    main()
