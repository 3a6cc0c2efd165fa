"""Which fat method tells the truth? Each one against what is known exactly (phantom) or was measured (volunteers).

    python -m benchmarks.fat --markdown fat.md
    python -m benchmarks.fat --real ../shared/data/axial_muscle --patients 8

Compared is the share of a muscle's pixels that are fat, per muscle, side and slice, inside the true masks: what the
method says minus the share of pixels that are more than half fat. Every patient's slices share a threshold.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from rich.console import Console

from benchmarks.phantom_tables import markdown, rich_table
from datamodules.case_list import Case
from datamodules.case_reader import CaseSlices
from datamodules.cohort import Cohort
from metrics.bias_field import BiasFieldCorrection
from metrics.dixon import SpinEcho, signal_fraction
from metrics.fat import KNOWN
from metrics.fat_threshold import ThresholdAlgorithm
from metrics.goutallier import GradeScale
from metrics.grade_agreement import grade_agreement
from metrics.morphometry import Morphometry

CONF = Path(__file__).parents[1] / "conf"
SEED = 1000  # of the patients; the guards were settled on patients of seed 0
METHODS = ("otsu_patient", "otsu_slice", "gaussian_2", "gaussian_3", "kmeans_3")
DIXON = ["phantom.contrast=dixon"]
# Name of a cohort: overrides of `run.py`. All have the nine organs of axial9.
PHANTOMS: dict[str, list[str]] = {
    "phantom, T2": [],
    "phantom, T2, severe": ["phantom=severe"],
    "phantom, T2, lean": ["phantom.population.muscle_fat=[0.0,0.02]"],
    "phantom, T1": ["phantom.contrast=T1"],
    "phantom, Dixon": DIXON,
}
ECHOES_MS = (90.0, 80.0, 115.0)  # of the T2-like picture, the usual one first
BACK = "back_muscles"
GROUPS = {"back muscles": ("multifidus", "erector_spinae"), "psoas": ("psoas",)}
WITH_EXTRAS = ("phantom, T2", "volunteers, Dixon")  # corrected by N4, and z-scored slice by slice
Slices = list[dict[str, Any]]
Picture = Callable[[np.ndarray], np.ndarray]


def composed(*overrides: str) -> Any:
    """The configuration of `python run.py` with these overrides."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=["logger=csv", "output=.", *overrides])


def morphometry(cohort: str, method: str, *, trusting: bool = False, **changes: Any) -> Morphometry:
    """What `morphometry/fat=METHOD` measures; `trusting` believes every threshold on every picture."""
    anatomy = "axial_muscle4" if cohort.startswith("volunteers") else "axial9"
    settings = instantiate(composed(f"anatomy={anatomy}", f"morphometry/fat={method}").morphometry)
    fat = settings.fat
    if method != "measured":
        fat = replace(fat, algorithm=Remembered(fat.algorithm))
    if trusting:
        fat = replace(fat, min_brightness=0.0, min_separation=0.0, min_contrast=0.0)
    return replace(settings, fat=fat, **changes)


def phantom_cases(
    overrides: list[str], num_patients: int, folder: Path
) -> Iterator[tuple[Case, Cohort, CaseSlices, np.ndarray]]:
    """Slices of a phantom cohort with the exact fat of every pixel."""
    config = composed(
        *overrides, f"phantom.num_patients={num_patients}", f"cohort.seed={SEED}", f"paths.data='{folder}'"
    )
    cohort: Cohort = instantiate(config.cohort)
    for case in cohort.cases:
        exact = cohort.read(replace(case, images=(cohort.root / case.row["fat_map"],)))
        for record, fat in zip(cohort.read(case), exact, strict=True):
            yield case, cohort, record, fat.image[0]


def volunteer_cases(root: Path) -> Iterator[tuple[Case, Cohort, CaseSlices, np.ndarray]]:
    """Labelled slices of the two volunteers with the measured fat of every pixel."""
    channels = "cohort.channels=[water,fat]"
    cohort: Cohort = instantiate(composed("cohort=axial_muscle", f"cohort.root='{root}'", channels).cohort)
    for case in cohort.cases:
        for record in cohort.read(case):
            yield case, cohort, record, np.nan_to_num(signal_fraction(record.image[0], record.image[1]))


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


def slices_of(cases: Iterator[tuple[Case, Cohort, CaseSlices, np.ndarray]]) -> Slices:
    """Arguments of `Morphometry.sample` for every slice, without an image, and with what images are made of."""
    return [
        {
            **{"case": case.case, "patient": case.patient, "slice": int(number), "level": record.level},
            **{"source": "truth", "mask": record.mask[place].astype(np.int64), "labelled": record.labelled},
            **{"structures": cohort.anatomy.structures, "spacing_mm": record.spacing_mm},
            "fraction": truth[place].astype(np.float64),
            "channels": record.image[:, place].astype(np.float64),
        }
        for case, cohort, record, truth in cases
        for place, number in enumerate(record.slice_index)
        if record.mask[place].any()
    ]


def pictures(name: str) -> dict[str, Picture]:
    """How the images of a cohort are made of its channels, by their names; the usual one first."""
    if "Dixon" not in name:
        return {name.split(", ")[1]: first_channel}
    echoes_ms = ECHOES_MS if name.startswith("volunteers") else ECHOES_MS[:1]
    made: dict[str, Picture] = {
        f"T2-like, TE {echo:g}": lambda channels, echo=echo: SpinEcho(echo_ms=echo).picture(*channels)
        for echo in echoes_ms
    }
    return made | {"water alone": first_channel, "water + fat": lambda channels: channels.sum(axis=0)}


def measured(settings: Morphometry, slices: Slices, picture: Any) -> pd.DataFrame:
    """Rows of the table with the exact share beside the method's."""
    fields = [{key: value for key, value in item.items() if key != "channels"} for item in slices]
    images = [picture(item["channels"]) for item in slices]
    # No contrast is stated, so that methods are tried where their settings would refuse them, too.
    samples = [settings.sample(image=image, **item) for image, item in zip(images, fields, strict=True)]
    return pd.DataFrame(settings.measure(samples)).query("fat_method != ''")


def compared(table: pd.DataFrame, truth: pd.DataFrame) -> dict[str, Any]:
    """Bias and spread in percentage points over muscles, sides and slices; what could not be told is counted."""
    key = ["case", "slice", "structure", "side"]
    joined = table.merge(truth[[*key, "fat_pixel_share"]], on=key, suffixes=("", "_true"))
    joined = joined[(joined["side"] != "both") & joined["fat_pixel_share_true"].notna()]
    known = joined[joined["fat_state"].isin(KNOWN)]
    difference = 100 * (known["fat_pixel_share"] - known["fat_pixel_share_true"])
    return {
        "n": len(joined),
        "true %": f"{100 * joined['fat_pixel_share_true'].mean():.1f}",
        "bias": f"{difference.mean():+.1f}" if len(known) else "-",
        "SD": f"{difference.std():.1f}" if len(known) > 1 else "-",
        "called lean": int((joined["fat_state"] == "lean").sum()),
        "no number": len(joined) - len(known),
    }


def graded(table: pd.DataFrame, truth: pd.DataFrame, scale: GradeScale) -> dict[str, str]:
    """Agreement of the simplified grade of the back muscles, a patient a pair."""
    shares = [
        rows[(rows["structure"] == BACK) & (rows["side"] == "both")].groupby("patient")["fat_pixel_share"].agg("mean")
        for rows in (truth, table)
    ]
    grades = [[scale.grade(value) for value in column] for column in (shares[0], shares[1].reindex(shares[0].index))]
    found = grade_agreement(grades[0], grades[1], scale.grades)
    kappa = "-" if np.isnan(found.kappa.value) else f"{found.kappa.value:.2f}"
    return {
        "patients": str(found.num_pairs),
        "right": f"{100 * found.accuracy.value:.0f} %",
        "kappa": kappa,
        "AC1": f"{found.ac1.value:.2f}",
    }


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


def measure(num_patients: int, folder: Path, real: Path | None) -> dict[str, pd.DataFrame]:
    """All tables by their titles."""
    rows: list[dict[str, Any]] = []
    sources = {name: slices_of(phantom_cases(overrides, num_patients, folder)) for name, overrides in PHANTOMS.items()}
    if real is not None:
        sources["volunteers, Dixon"] = slices_of(volunteer_cases(real))
    for name, slices in sources.items():
        print(name, len(slices), file=sys.stderr)
        rows += source_rows(name, slices)
    dixon = pd.DataFrame(dixon_rows(sources["phantom, Dixon"]))
    return {"bias and spread": pd.DataFrame(rows).fillna(""), "what a synthetic Dixon pair measures": dixon}


def source_rows(name: str, slices: Slices) -> list[dict[str, Any]]:
    """Every picture, method and group of muscles of one source."""
    exact = measured(morphometry(name, "measured"), slices, first_channel)
    rows = []
    for picture, method, how, settings in variants(name):
        table = measured(settings, slices, picture[1])
        for group, members in GROUPS.items():
            of_group, truth = (part[part["structure"].isin(members)] for part in (table, exact))
            if len(of_group):
                row = {"source": name, "picture": picture[0], "method": method, "how": how, "muscles": group}
                grades = graded(table, exact, settings.simplified) if group != "psoas" else {}
                rows.append(row | compared(of_group, truth) | grades)
    return rows


def variants(name: str) -> Iterator[tuple[tuple[str, Picture], str, str, Morphometry]]:
    """Picture, method, how it was used, and the settings."""
    made = pictures(name)
    for picture in made.items():
        for method in METHODS:
            yield picture, method, "unguarded", morphometry(name, method, trusting=True)
            yield picture, method, "guarded", morphometry(name, method)
    usual = next(iter(made.items()))
    for method in ("otsu_patient", "kmeans_3"):
        if name in WITH_EXTRAS:
            yield usual, method, "guarded, N4", morphometry(name, method, bias_field=BiasFieldCorrection())
            scored = (usual[0], lambda channels: z_scored(usual[1](channels)))
            yield scored, method, "guarded, slices z-scored", morphometry(name, method)


def dixon_rows(slices: Slices) -> list[dict[str, str]]:
    """Both quantities of fat as a synthetic Dixon pair measures them, against the exact map."""
    settings = morphometry("phantom, Dixon", "measured")
    pairs = [item | {"fraction": signal_fraction(*item["channels"])} for item in slices]
    exact, found = (measured(settings, items, first_channel).query("side != 'both'") for items in (slices, pairs))
    rows = []
    for group, members in GROUPS.items():
        of_group = exact["structure"].isin(members)
        for quantity in ("fat_fraction_signal", "fat_pixel_share"):
            difference = 100 * (found[quantity] - exact[quantity])[of_group]
            true = f"{100 * exact[quantity][of_group].mean():.1f}"
            numbers = {"true %": true, "bias": f"{difference.mean():+.1f}", "SD": f"{difference.std():.1f}"}
            rows.append({"muscles": group, "quantity": quantity, "n": str(difference.count()), **numbers})
    return rows


def z_scored(image: np.ndarray) -> np.ndarray:
    """A picture as networks see it, on a scale of its own."""
    return (image - image.mean()) / image.std()


def first_channel(channels: np.ndarray) -> np.ndarray:
    """The only picture, or water."""
    return channels[0]


if __name__ == "__main__":
    main()
