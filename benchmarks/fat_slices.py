"""Slices of which the fat of every pixel is known, and the pictures that can be made of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from jaxtyping import Float

from datamodules.cohort import Cohort
from metrics.dixon import SpinEcho, signal_fraction

SEED = 1000  # of the synthetic patients; the guards were settled on patients of seed 0
VOLUNTEERS = "volunteers, Dixon"
# Names of the synthetic cohorts, and the overrides of `run.py` that make them. All have the organs of axial9.
PHANTOMS: dict[str, tuple[str, ...]] = {
    "phantom, T2": (),
    "phantom, T2, severe": ("phantom=severe",),
    "phantom, T2, lean": ("phantom.population.muscle_fat=[0.0,0.02]",),
    "phantom, T1": ("phantom.contrast=T1",),
    "phantom, Dixon": ("phantom.contrast=dixon",),
}
ECHOES_MS = (90.0, 80.0, 115.0)  # of the T2-like picture, the usual one first
Picture = Callable[[Float[np.ndarray, "m h w"]], Float[np.ndarray, "h w"]]
# Arguments of `Morphometry.sample` but the image, and `channels`, of which images are made; `fraction` is the truth.
KnownSlice = dict[str, Any]


def composed(*overrides: str) -> Any:
    """The configuration of `python run.py` with these overrides."""
    with initialize_config_dir(str(Path(__file__).parents[1] / "conf"), version_base="1.3"):
        return compose("config", overrides=["logger=csv", "output=.", *overrides])


def phantom_slices(name: str, num_patients: int, folder: Path) -> list[KnownSlice]:
    """Slices of one of PHANTOMS, written into a folder unless they lie there, with the exact fat of every pixel."""
    line = (f"phantom.num_patients={num_patients}", f"cohort.seed={SEED}", f"paths.data='{folder}'")
    return list(known_slices(instantiate(composed(*PHANTOMS[name], *line).cohort)))


def volunteer_slices(root: Path) -> list[KnownSlice]:
    """Labelled slices of the two volunteers (cohort=axial_muscle) with the measured fat of every pixel."""
    line = ("cohort=axial_muscle", f"cohort.root='{root}'", "cohort.channels=[water,fat]")
    return list(known_slices(instantiate(composed(*line).cohort)))


def known_slices(cohort: Cohort) -> Iterator[KnownSlice]:
    """Slices with a mask; their fat is that of the column fat_map, or else that of the water and fat images."""
    for case in cohort.cases:
        records, truths = cohort.read(case), None
        if case.row.get("fat_map"):
            truths = cohort.read(replace(case, images=(cohort.root / case.row["fat_map"],)))
        for block, record in enumerate(records):
            truth = signal_fraction(*record.image[:2]) if truths is None else truths[block].image[0]
            for place, number in enumerate(record.slice_index):
                if record.mask[place].any():
                    yield {
                        **{"case": case.case, "patient": case.patient, "slice": int(number), "level": record.level},
                        **{"source": "truth", "mask": record.mask[place].astype(np.int64), "labelled": record.labelled},
                        **{"structures": cohort.anatomy.structures, "spacing_mm": record.spacing_mm},
                        "fraction": truth[place].astype(np.float64),
                        "channels": record.image[:, place].astype(np.float64),
                    }


def pictures(name: str) -> dict[str, Picture]:
    """How the images of a cohort are made of its channels, by their names; the usual one first."""
    if "Dixon" not in name:
        return {name.split(", ")[1]: first_channel}
    echoes_ms = ECHOES_MS if name == VOLUNTEERS else ECHOES_MS[:1]
    made: dict[str, Picture] = {
        f"T2-like, TE {echo:g}": lambda channels, echo=echo: SpinEcho(echo_ms=echo).picture(*channels)
        for echo in echoes_ms
    }
    return made | {"water alone": first_channel, "water + fat": lambda channels: channels.sum(axis=0)}


def first_channel(channels: Float[np.ndarray, "m h w"]) -> Float[np.ndarray, "h w"]:
    """The only picture, or water."""
    return channels[0]


def z_scored(image: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """A picture as networks see it, on a scale of its own."""
    return (image - image.mean()) / image.std()
