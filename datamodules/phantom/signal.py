"""Step 3: what each tissue gives in a turbo-spin-echo sequence, lean and fat apart."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from datamodules.phantom.canvas import Section
from datamodules.phantom.patient import Patient

Array = np.ndarray
_STREAM, _ORGAN_STREAM = 3, 18

# (proton density, T1 ms, T2 ms). Muscle: Gold 2004; spine: synthetic-MR values of Smith 2020 (PMC7410772); fat has the
# long apparent T2 of an echo train (110-140 ms), else it is half as bright as on scans; muscle is a little longer than
# the published 34 ms, so that fat is four to eight times brighter. Flowing blood and cortex: ours.
TISSUES = {
    "muscle": (0.95, 1350.0, 38.0),
    "fat": (1.0, 371.0, 125.0),
    "connective": (0.6, 900.0, 30.0),
    "ligament": (0.5, 800.0, 22.0),
    "cortex": (0.12, 500.0, 15.0),
    "marrow": (0.80, 700.0, 70.0),
    "annulus": (0.55, 700.0, 30.0),
    "inner_annulus": (0.68, 800.0, 48.0),
    "wet_nucleus": (0.85, 1165.0, 108.0),
    "dry_nucleus": (0.55, 600.0, 54.0),
    "cartilage": (0.85, 1200.0, 75.0),
    "csf": (1.08, 4273.0, 1578.0),
    "nerve": (0.70, 900.0, 80.0),
    "cord": (0.59, 780.0, 102.0),
    "flow_void": (0.1, 4273.0, 200.0),
    "oedema": (0.9, 1100.0, 95.0),
    "sclerosis": (0.4, 600.0, 30.0),
    "skin": (0.7, 700.0, 40.0),
    "kidney": (0.95, 1300.0, 85.0),
    "bowel_wall": (0.9, 1100.0, 55.0),
    "bowel_fluid": (0.95, 2200.0, 160.0),
    "artery": (0.05, 1600.0, 100.0),
    "vein": (0.18, 1600.0, 120.0),
    "air": (0.0, 1000.0, 100.0),
}
# Of organs that only the whole body has, in abdominal imaging at 1.5 T; ours where no number was read.
ORGAN_TISSUES = {
    "medulla": (0.95, 1700.0, 120.0),
    "liver": (0.9, 700.0, 42.0),
    "spleen": (0.95, 1300.0, 75.0),
    "pancreas": (0.9, 750.0, 50.0),
    "lung": (0.15, 1200.0, 35.0),
    "stool": (0.7, 800.0, 55.0),
    "urine": (1.0, 3500.0, 900.0),
    "uterus": (0.92, 1300.0, 75.0),
}
ALL_TISSUES = {**TISSUES, **ORGAN_TISSUES}


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A turbo-spin-echo sequence and the tissue values of one patient.

    Attributes:
        repetition_ms: TR.
        echo_ms: Effective TE.
        values: (proton density, T1 ms, T2 ms) of every tissue.
    """

    repetition_ms: float
    echo_ms: float
    values: dict[str, tuple[float, float, float]]

    def signal(self, tissue: str) -> float:
        """Magnitude of a tissue: density times saturation recovery times decay."""
        density, t1, t2 = self.values[tissue]
        return density * (1 - float(np.exp(-self.repetition_ms / t1))) * float(np.exp(-self.echo_ms / t2))


# Ranges of TR and TE in ms. T1 and Dixon: ours; the pair is weighted by density, so that fat over both is the fat map.
_TIMING_MS = {"T2": ((2500, 5000), (80, 115)), "T1": ((450, 700), (8, 14)), "dixon": ((2500, 3500), (2, 6))}


def draw_sequence(patient: Patient, contrast: str) -> Sequence:
    """Draws TR, TE and the tissue values of a patient (7 % on T2, 5 % on T1 and density)."""
    rng = patient.rng(_STREAM)
    values = _drawn(rng, TISSUES) | _drawn(patient.rng(_ORGAN_STREAM), ORGAN_TISSUES)
    repetition, echo = _TIMING_MS[contrast]
    return Sequence(repetition_ms=rng.uniform(*repetition), echo_ms=rng.uniform(*echo), values=values)


def _drawn(rng: Generator, tissues: dict[str, tuple[float, float, float]]) -> dict[str, tuple]:
    return {name: tuple(np.array(mean) * np.exp(rng.normal(0, (0.04, 0.05, 0.07)))) for name, mean in tissues.items()}


def excite(
    section: Section, sequence: Sequence, grain: Float[Array, "h w"]
) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
    """Signal of the lean part and of the fat part of every pixel.

    They stay apart because fat is displaced by its chemical shift when it is measured.

    Args:
        section: The truth.
        sequence: What is measured.
        grain: Texture of unit variance.
    """
    lean = np.zeros_like(section.fat)
    for layer in section.layers:
        lean[layer.window] += layer.coverage * (np.float32(sequence.signal(layer.tissue)) - lean[layer.window])
    lean *= np.float32(1) + np.float32(0.07) * grain
    fat = section.fat * np.float32(sequence.signal("fat")) * (np.float32(1) + np.float32(0.025) * grain)
    return (1 - section.fat) * lean, fat
