"""Axial slices of two muscles with fat in known places, as a T2 picture shows them."""

import numpy as np

from metrics.fat import ThresholdFat
from metrics.fat_threshold import Otsu
from metrics.goutallier import GradeScale
from metrics.morphometry import Morphometry
from metrics.muscles import Muscles

STRUCTURES = ("multifidus_left", "multifidus_right", "dural_sac")
SIMPLIFIED = GradeScale(
    name="simplified",
    cutoffs=[{"grade": "I", "below": 0.1}, {"grade": "II", "up_to": 0.5}, {"grade": "III", "up_to": 1}],
)
MUSCLES = Muscles(
    muscles={"multifidus": {"left": ["multifidus_left"], "right": ["multifidus_right"]}},
    areas={"dural_sac": ["dural_sac"]},
    midline=["dural_sac"],
)
AIR, MUSCLE, FAT = 0.0, 100.0, 500.0
SIZE = 60
RIGHT, LEFT, SAC = (slice(30, 50), slice(5, 25)), (slice(30, 50), slice(35, 55)), (slice(10, 20), slice(25, 35))


def otsu(**changes) -> ThresholdFat:
    """The default method, as conf/morphometry/fat/otsu_patient.yaml has it."""
    settings = {"min_brightness": 0.3, "min_separation": 4.5, "min_contrast": 1.5, "fewest_pixels": 30}
    given = {"name": "otsu_patient", "algorithm": Otsu(), "pooled_by": "patient", "contrasts": ["T2"]}
    return ThresholdFat(**{**given, **settings, **changes})  # type: ignore[arg-type]


def morphometry(**changes) -> Morphometry:
    return Morphometry(**{"muscles": MUSCLES, "fat": otsu(), "simplified": SIMPLIFIED, **changes})


def mask() -> np.ndarray:
    """Patient's right on the image's left; 400 pixels a side, 100 of the dural sac."""
    drawn = np.zeros((SIZE, SIZE), np.int64)
    drawn[LEFT], drawn[RIGHT], drawn[SAC] = 1, 2, 3
    return drawn


def picture(left: float = 0.2, right: float = 0.1, *, noise: float = 5.0, seed: int = 0) -> np.ndarray:
    """T2-like: these shares of the rows of each side are fat; subcutaneous fat behind, air around."""
    drawn = np.full((SIZE, SIZE), AIR)
    drawn[4:56, 4:56], drawn[54:] = MUSCLE, FAT
    for place, share in ((LEFT, left), (RIGHT, right)):
        drawn[place.__class__((slice(30, 30 + round(20 * share)), place[1]))] = FAT
    drawn[SAC] = FAT
    return drawn + np.random.default_rng(seed).normal(0, noise, drawn.shape)


def sampled(settings: Morphometry, **changes):
    """One sample; what is not given is the usual slice."""
    usual = {"case": "c", "patient": "p", "slice": 0, "level": "L4/5", "source": "truth", "structures": STRUCTURES}
    arrays = {"mask": mask(), "image": picture(), "labelled": np.ones(4, bool), "spacing_mm": (0.5, 0.8)}
    return settings.sample(**{**usual, **arrays, **changes})


def rows_by_side(settings: Morphometry, *samples) -> dict[tuple[str, str], dict]:
    """Rows of the last slice by structure and side."""
    rows = settings.measure(samples)
    last = rows[-len(rows) // len(samples) :]
    return {(str(row["structure"]), str(row["side"])): row for row in last}
