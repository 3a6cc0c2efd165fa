"""Published sizes and fat fractions of the lumbar spine beside those that the phantom drew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from datamodules.reading.csv_table import read_table

FILE = Path(__file__).with_name("phantom_published.csv")
WHOLE_FILE = Path(__file__).with_name("phantom_whole.csv")  # of whole bodies
KINDS = ("source", "measured", "recall", "derived", "ours")
VIEWS = ("axial", "sagittal")
NUMBERS = ("age_min", "age_max", "mean", "sd", "low", "high")
COLUMNS = ("structure", "quantity", "level", "sides", "view", "sex", *NUMBERS, "kind", "population", "source")
FILLED = ("structure", "quantity", "sides", "view", "kind", "source")
# In measurements.csv a disc and a vertebra are structures by the name of their level.
NAMED_BY_LEVEL = ("disc", "vertebra", "canal")
SHARES = ("fat_fraction_signal", "fat_pixel_share")


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published number: a mean with or without its standard deviation, or a range of means.

    Attributes:
        structure: As in measurements.csv without its side; "a+b" is both together.
        quantity: As in measurements.csv.
        levels: Discs (or vertebrae) whose mean it is; none where there is just one.
        sides: "each" side is a value of its own, or "both" together are one.
        view: Of the cohort that it is measured in.
        sex: "F", "M", or "" for both.
        age_min: Youngest patient it is about.
        age_max: Oldest.
        mean: Mean, or NaN where a range is given.
        sd: Standard deviation between persons, or NaN.
        low: Smallest mean of the range, or NaN.
        high: Largest.
        kind: Where it comes from, one of KINDS: a table or abstract that was read, measured in the public volunteers,
            not re-read, arithmetic, or what we hold to be plausible.
        population: Who was measured.
        source: Where it stands.
    """

    structure: str
    quantity: str
    levels: tuple[str, ...]
    sides: str
    view: str
    sex: str
    age_min: float
    age_max: float
    mean: float
    sd: float
    low: float
    high: float
    kind: str
    population: str
    source: str


def read_published(path: Path = FILE) -> list[Published]:
    """Reads the published numbers.

    Raises:
        ValueError: If a column or cell is missing, no number, or of no known kind.
    """
    return [_published(f"{path}, line {line}", row) for line, row in read_table(path, FILLED).items()]


def _published(where: str, row: Mapping[str, str]) -> Published:
    for name, known in (("kind", KINDS), ("view", VIEWS), ("sides", ("each", "both"))):
        if row[name] not in known:
            raise ValueError(f"{where}: {name} is {row[name]!r}, expected one of {', '.join(known)}")
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        raise ValueError(f"{where}: lacks the column {', '.join(missing)}; expected are {', '.join(COLUMNS)}")
    numbers = {}
    for name in NUMBERS:
        try:
            numbers[name] = float(row[name] or "nan")
        except ValueError:
            raise ValueError(f"{where}: {name} is {row[name]!r}, expected a number or nothing") from None
    if np.isnan(numbers["mean"]) == np.isnan(numbers["low"] + numbers["high"]):
        raise ValueError(f"{where}: has no number or two; give mean (and sd), or low and high")
    levels = tuple(level for level in row["level"].split(";") if level)
    text = {name: row[name] for name in ("structure", "quantity", "sides", "view", "sex", "kind")}
    return Published(**text, **numbers, levels=levels, population=row["population"], source=row["source"])


def read_measurements(folder: Path) -> pd.DataFrame:
    """measurements.csv of a written cohort with the age and sex of each patient, and distances between key points.

    Raises:
        ValueError: If the cohort was written without it.
    """
    path = folder / "measurements.csv"
    if not path.is_file():
        raise ValueError(f"{folder} has no measurements.csv; write the phantom anew with this version")
    table = pd.read_csv(path, dtype=str, keep_default_na=False).astype({"value": float})
    cases = pd.read_csv(folder / "cohort.csv", dtype=str, keep_default_na=False).astype({"age": float})
    if (folder / "keypoints.csv").is_file():
        table = pd.concat([table, centre_distances(folder, cases)], ignore_index=True)
    return table.merge(cases.drop_duplicates("patient")[["patient", "age", "sex"]], on="patient")


def centre_distances(folder: Path, cases: pd.DataFrame) -> pd.DataFrame:
    """Distance, mm, from the key point of each vertebra to that of the next one below it."""
    points = pd.read_csv(folder / "keypoints.csv", dtype={"case": str, "structure": str})
    order = [f"L{number}" for number in range(1, 6)]
    rows = []
    for _, case in cases.iterrows():
        header = sitk.ImageFileReader()
        header.SetFileName(str(folder / str(case["image"]).split(";")[0]))
        header.ReadImageInformation()
        of_case = points[points["case"] == case["case"]].set_index("structure")[["col", "row", "slice"]]
        for upper, lower in pairwise(order):
            if {upper, lower} <= set(of_case.index):
                between = (of_case.loc[lower] - of_case.loc[upper]).to_numpy(float) * np.array(header.GetSpacing())
                rows.append((case["case"], case["patient"], "", upper, "centre_distance", np.linalg.norm(between)))
    return pd.DataFrame(rows, columns=["case", "patient", "level", "structure", "quantity", "value"])


def drawn_values(entry: Published, measured: pd.DataFrame) -> list[float]:
    """The values of the patients that a published number is about, one per patient (and side); none if unmeasured.

    A structure that a patient does not have, such as quadratus lumborum at the lower levels, is left out.
    """
    youngest, oldest = (
        limit if np.isfinite(limit) else end for limit, end in ((entry.age_min, 0), (entry.age_max, 200))
    )
    chosen = measured["age"].between(youngest, oldest) & ((measured["sex"] == entry.sex) | (entry.sex == ""))
    base = measured["structure"].str.replace(r"_(left|right)$", "", regex=True)
    side = measured["structure"].str.extract(r"_(left|right)$", expand=False).fillna("")
    named = base.isin(entry.structure.split("+")) & (measured["level"].isin(entry.levels) | (not entry.levels))
    if entry.structure in NAMED_BY_LEVEL:
        named |= measured["structure"].isin(entry.levels)
    present = (measured["value"] != 0) | (measured["quantity"] != "area")
    table = measured.assign(side=side if entry.sides == "each" else "")[chosen & named & present]
    table = table.pivot_table(
        index=["patient", "side", "level", "case", "structure"], columns="quantity", values="value", aggfunc="mean"
    )
    if entry.quantity not in table.columns:
        return []
    table = table[table[entry.quantity].notna()]
    place = ["patient", "side", "level", "case"]
    if entry.quantity in SHARES:  # of several structures: weighted by their areas
        summed = table.assign(weighted=table[entry.quantity] * table["area"]).groupby(level=place)[["weighted", "area"]]
        per_case = summed.agg("sum").eval("weighted / area")
    else:
        per_case = pd.Series(table[entry.quantity]).groupby(level=place).agg("sum")
    of_patients = pd.Series(per_case).groupby(level=["patient", "side"]).agg("mean")
    return [float(value) for value in of_patients.to_numpy()]


def compare(entry: Published, values: Sequence[float]) -> dict[str, str]:
    """One row of the table: what was published, what was drawn, and whether mean and spread agree.

    A mean agrees within half a published standard deviation or a tenth of itself, whichever is more, or inside the
    range; a standard deviation agrees if it is between half and twice the published one.
    """
    mean, sd = (float(np.mean(values)), float(np.std(values, ddof=1))) if len(values) > 1 else (np.nan, np.nan)
    ranged = np.isnan(entry.mean)
    digits = 3 if entry.quantity in SHARES else 0 if entry.quantity == "area" else 1
    published = f"{entry.low:.{digits}f} to {entry.high:.{digits}f}" if ranged else f"{entry.mean:.{digits}f}"
    if not np.isnan(entry.sd):
        published += f" ± {entry.sd:.{digits}f}"
    tolerance = np.nanmax([0.5 * entry.sd, 0.1 * entry.mean, 0])
    mean_agrees = entry.low <= mean <= entry.high if ranged else abs(mean - entry.mean) <= tolerance
    sd_agrees = np.isnan(entry.sd) or 0.5 <= sd / entry.sd <= 2
    return {
        "structure": entry.structure.replace("_", " ") + (", both sides" if entry.sides == "both" else ""),
        "quantity": entry.quantity.replace("_", " "),
        "level": _short(entry.levels),
        "published": published,
        "drawn": f"{mean:.{digits}f} ± {sd:.{digits}f}" if len(values) > 1 else "not measured",
        "n": str(len(values)),
        "mean": _word(mean_agrees) if len(values) > 1 else "-",
        "SD": "-" if np.isnan(entry.sd) or len(values) < 2 else _word(sd_agrees),
        "kind": entry.kind,
        "who": ", ".join(filter(None, [entry.population, {"F": "women", "M": "men"}.get(entry.sex)])),
        "source": entry.source,
    }


def _short(levels: tuple[str, ...]) -> str:
    return "" if not levels else levels[0] if len(levels) == 1 else f"{levels[0]} to {levels[-1]}"


def _word(agrees: bool | np.bool_) -> str:
    return "yes" if agrees else "no"
