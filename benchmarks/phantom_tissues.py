"""Brightness, noise and shading of phantom and real scans, measured in the same way in both."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from benchmarks.phantom_scans import PHANTOMS, SUPERSET, Scan, phantom_scans, real_scans

BRIGHTEST_PERCENTILE = 99.0  # in T1 and fat images this is subcutaneous fat next to the coil
LEAN_FRACTION = 0.3  # muscle pixels below this signal fraction of fat
PATCH_MM = 2.5  # half side of a patch
BEHIND_VERTEBRA_MM = 8.0  # from the posterior edge of a body into the canal
MIN_PIXELS = 30
Statistics = dict[str, float]


def tissue_tables(folder: Path, real: Path | None) -> dict[str, pd.DataFrame]:
    """Tables by their titles; without a folder of real cohorts they show the phantom alone."""
    names = [name for name in PHANTOMS if "Dixon" not in name]
    orders = pd.DataFrame(
        {
            "image": [name.removeprefix("phantom, ") for name in names],
            "brightest to darkest, lean muscle = 1": [
                brightness(phantom_scans(name, SUPERSET, folder)) for name in names
            ],
        }
    )
    axial = {"phantom": phantom_scans("phantom, axial Dixon", "axial_muscle4", folder)}
    # The public sagittal images show bright discs and dark marrow: the phantom's water image beside them, too.
    sagittal = {
        f"phantom, {title}": phantom_scans(f"phantom, sagittal {contrast}", "vertebrae5", folder)
        for contrast, title in (("T1", "T1"), ("Dixon", "water"))
    }
    if real is not None:
        axial["real"] = real_scans("real, axial Dixon", real)
        sagittal["real, T1"] = real_scans("real, sagittal T1", real)
    return {
        "tissue order of the phantom": orders,
        "axial Dixon, water and fat": beside(axial, dixon_statistics),
        "sagittal": beside(sagittal, sagittal_statistics),
    }


def beside(sources: Mapping[str, Sequence[Scan]], statistics: Callable[[Scan], Statistics]) -> pd.DataFrame:
    """A row per statistic, a column per source: mean and standard deviation over patients."""
    table = pd.DataFrame()
    for source, scans in sources.items():
        rows = pd.DataFrame([statistics(scan) for scan in scans], index=[scan.patient for scan in scans])
        of_patients = pd.DataFrame(rows.groupby(level=0).agg("mean"))
        spread = of_patients.std().to_numpy()
        table["statistic"] = [str(name).replace("_", " ") for name in rows.columns]
        table[source] = [f"{m:.3f} ± {sd:.3f}" for m, sd in zip(of_patients.mean().to_numpy(), spread, strict=True)]
    return table


def dixon_statistics(scan: Scan) -> Statistics:
    """Of the back muscles of an axial slice with water and fat image."""
    water, fat = scan.image[0].astype(np.float64), scan.image[1].astype(np.float64)
    fraction = fat / np.maximum(water + fat, 1)
    found = {}
    regions = {
        muscle: classes_of(scan, [name for name in scan.anatomy.structures if name.startswith(muscle)])
        for muscle in ("multifidus", "erector_spinae")
    }
    for muscle, region in regions.items():
        found[f"{muscle}_signal_fat_fraction"] = float(fraction[region].mean()) if region.any() else np.nan
        found[f"{muscle}_share_of_pixels_over_half_fat"] = (
            float((fraction[region] > 0.5).mean()) if region.any() else np.nan
        )
    lean = (regions["multifidus"] | regions["erector_spinae"]) & (fraction < LEAN_FRACTION)
    muscle_water = median(water, lean)
    return found | {
        "fat_fraction_of_lean_muscle": median(fraction, lean),
        "lean_multifidus_to_lean_erector_spinae_in_water": median(water, lean & regions["multifidus"])
        / median(water, lean & regions["erector_spinae"]),
        "brightest_percent_of_fat_to_lean_muscle": float(np.percentile(fat, BRIGHTEST_PERCENTILE)) / muscle_water,
        "roughness_of_lean_muscle": roughness(water, lean),
        "shading_posterior_to_anterior": shading(water, lean),
    }


def sagittal_statistics(scan: Scan) -> Statistics:
    """Of a sagittal slice with vertebral bodies: discs lie halfway between them, the canal behind them."""
    image = scan.image[0].astype(np.float64)
    bodies = [scan.mask == number + 1 for number in range(len(scan.anatomy.structures))]
    bone = scan.mask > 0
    reference = median(image, bone)
    centres = [np.argwhere(body).mean(axis=0) if body.sum() >= MIN_PIXELS else None for body in bodies]
    reach = PATCH_MM / np.array(scan.spacing_mm)
    pairs = [(a, b) for a, b in pairwise(centres) if a is not None and b is not None]
    discs = [patch(image, (a + b) / 2, reach) for a, b in pairs]
    canal = [
        patch(image, (centre[0], columns.max() + BEHIND_VERTEBRA_MM / scan.spacing_mm[1]), reach)
        for centre, body in zip(centres, bodies, strict=True)
        if centre is not None and len(columns := np.flatnonzero(body[round(centre[0])]))
    ]
    ends = [median(image, body) for body in (bodies[0], bodies[-1])]
    return {
        "brightest_percent_to_vertebra": float(np.percentile(image, BRIGHTEST_PERCENTILE)) / reference,
        "disc_to_vertebra": float(np.mean(discs)) / reference if discs else np.nan,
        "canal_to_vertebra": float(np.mean(canal)) / reference if canal else np.nan,
        "roughness_of_vertebra": roughness(image, bone),
        "shading_first_to_last_vertebra": ends[0] / ends[1],
        "shading_posterior_to_anterior": shading(image, bone, axis=1),
    }


def brightness(scans: Sequence[Scan]) -> str:
    """Structures of the superset from the brightest to the darkest, as multiples of lean muscle."""
    names = scans[0].anatomy.structures
    lean = [name for name in names if name.startswith(("psoas", "multifidus", "erector")) and "_fat_" not in name]
    ratios: dict[str, list[float]] = {}
    for scan in scans:
        muscle = median(scan.image[0], classes_of(scan, lean))
        for number in np.unique(scan.mask[scan.mask > 0]):
            value = median(scan.image[0], scan.mask == number) / muscle
            if np.isfinite(value):
                ratios.setdefault(kind_of(names[int(number) - 1]), []).append(value)
    ordered = sorted(ratios.items(), key=lambda pair: -float(np.median(pair[1])))
    return " > ".join(f"{name} {np.median(values):.2f}" for name, values in ordered)


def kind_of(structure: str) -> str:
    """Word for a structure: "psoas" of "psoas_left", "disc" of "L3/4", "vertebra" of "L3"."""
    if structure[1:2].isdigit():
        return "disc" if "/" in structure else "vertebra"
    return structure.removesuffix("_left").removesuffix("_right").replace("_", " ")


def classes_of(scan: Scan, names: Sequence[str]) -> Bool[np.ndarray, "h w"]:
    """Pixels of any of these structures."""
    return np.isin(scan.mask, [scan.anatomy.class_index(name) for name in names])


def median(image: Float[np.ndarray, "h w"], region: Bool[np.ndarray, "h w"]) -> float:
    """Median inside a region; NaN if it has too few pixels to tell."""
    return float(np.median(image[region])) if region.sum() >= MIN_PIXELS else np.nan


def roughness(image: Float[np.ndarray, "h w"], region: Bool[np.ndarray, "h w"]) -> float:
    """Noise and fine texture: robust standard deviation of second differences along rows, over the median.

    Second differences of white noise of standard deviation s have standard deviation sqrt(6) s; slow shading drops out.
    """
    inside = region[:, :-2] & region[:, 1:-1] & region[:, 2:]
    if inside.sum() < MIN_PIXELS:
        return np.nan
    differences = (image[:, :-2] - 2 * image[:, 1:-1] + image[:, 2:])[inside]
    spread = 1.4826 * np.median(np.abs(differences - np.median(differences)))
    return float(spread / np.sqrt(6) / np.median(image[region]))


def shading(image: Float[np.ndarray, "h w"], region: Bool[np.ndarray, "h w"], axis: int = 0) -> float:
    """Median of the third of the pixels farthest back over that of the third farthest in front."""
    if region.sum() < MIN_PIXELS:
        return np.nan
    depth = np.nonzero(region)[axis]
    front, back = np.quantile(depth, (1 / 3, 2 / 3))
    values = image[region]
    return float(np.median(values[depth >= back]) / np.median(values[depth <= front]))


def patch(image: Float[np.ndarray, "h w"], centre: Sequence[float] | np.ndarray, reach: np.ndarray) -> float:
    """Median of a rectangle around (row, column); NaN outside of the image."""
    low = np.maximum(np.round(np.asarray(centre) - reach), 0).astype(int)
    high = np.round(np.asarray(centre) + reach).astype(int) + 1
    inside = image[low[0] : high[0], low[1] : high[1]]
    return float(np.median(inside)) if inside.size else np.nan
