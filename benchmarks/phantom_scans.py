"""Slices of phantom and real scans, read alike, for the contact sheets and the tissue statistics."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from jaxtyping import Float, Integer
from omegaconf import OmegaConf

from datamodules.anatomy import Anatomy, View
from datamodules.cohort import Cohort
from datamodules.phantom import phantom_cohort
from datamodules.phantom.structures import BodyKind, labels_of

NUM_PATIENTS = 12
SAGITTAL: dict[str, Any] = {"view": "sagittal", "num_slices": [5, 5], "spacing_mm": 0.9}
PHANTOMS: dict[str, dict[str, Any]] = {  # settings of each
    "phantom, axial T2": {},
    "phantom, axial Dixon": {"contrast": "dixon"},
    "phantom, sagittal T2": {**SAGITTAL, "contrast": "T2"},
    "phantom, sagittal T1": {**SAGITTAL, "contrast": "T1"},
    "phantom, sagittal Dixon": {**SAGITTAL, "contrast": "dixon"},
}
WHOLE = {
    "phantom, whole axial": "starter_axial",
    "phantom, whole sagittal": "starter_sagittal",
}  # presets of conf/phantom
REAL = {  # cohorts of conf/cohort
    "real, axial Dixon": "axial_muscle",
    "real, sagittal T1": "sagittal_vertebrae",
    "real, sagittal T2": "sagittal_discs",
}
SUPERSET = "superset"


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One slice in canonical orientation: radiological if axial; anterior on the left and superior up if sagittal.

    Attributes:
        patient: Name of the patient.
        level: Level or "".
        image: As stored, a channel per contrast.
        mask: Class indices of `anatomy`.
        anatomy: Structures of the mask.
        spacing_mm: (row, column).
    """

    patient: str
    level: str
    image: Float[np.ndarray, "m h w"]
    mask: Integer[np.ndarray, "h w"]
    anatomy: Anatomy
    spacing_mm: tuple[float, float]


def phantom_scans(name: str, anatomy: str, folder: Path) -> list[Scan]:
    """Slices of one of PHANTOMS, written into a folder; `anatomy` is one of `conf/anatomy` or SUPERSET."""
    settings = {"num_patients": NUM_PATIENTS, **PHANTOMS[name]}
    if anatomy == SUPERSET:
        structures = superset_anatomy(
            "sagittal" if settings.get("view") == "sagittal" else "axial", settings.get("body", "posterior")
        )
    else:
        structures = instantiate(_config(f"anatomy={anatomy}").anatomy)
    return _scans(phantom_cohort(anatomy=structures, root=folder, settings=settings, name="phantom_scans"))


def whole_scans(name: str, num_patients: int, folder: Path, **changes: Any) -> list[Scan]:
    """Slices of one of WHOLE with every structure of the whole body, written into a folder."""
    preset: Any = OmegaConf.to_container(_config(f"phantom={WHOLE[name]}").phantom, resolve=True)
    settings = {**preset, "num_patients": num_patients, **changes}
    anatomy = superset_anatomy("sagittal" if settings["view"] == "sagittal" else "axial", settings["body"])
    return _scans(phantom_cohort(anatomy=anatomy, root=folder, settings=settings, name="phantom_scans"))


def real_scans(name: str, folder: Path) -> list[Scan]:
    """Slices of one of REAL from the folder that holds both, Dixon images as channels of one scan."""
    cohort = REAL[name]
    channels = ["cohort.channels=[water,fat]"] if "Dixon" in name else []
    return _scans(instantiate(_config(f"cohort={cohort}", f"cohort.root='{folder / cohort}'", *channels).cohort))


def superset_anatomy(view: View, body: BodyKind) -> Anatomy:
    """Every structure that a phantom with this body draws, as it is drawn."""
    drawn = labels_of(body)
    return Anatomy(name=SUPERSET, view=view, structures=list(drawn), colours=dict.fromkeys(drawn, "#ffffff"))


def _config(*overrides: str) -> Any:
    with initialize_config_dir(str(Path(__file__).parents[1] / "conf"), version_base="1.3"):
        return compose("config", overrides=["output=.", *overrides])


def _scans(cohort: Cohort) -> list[Scan]:
    """Axial: every slice with a mask; sagittal: the middle one of each volume with masks."""
    found = []
    for case in cohort.cases:
        for record in cohort.read(case):
            shown = np.flatnonzero(record.mask.any(axis=(1, 2)))
            if cohort.anatomy.view == "sagittal":
                shown = shown[len(shown) // 2 :][:1]
            found += [
                Scan(
                    patient=case.patient,
                    level=record.level,
                    image=record.image[:, place],
                    mask=record.mask[place],
                    anatomy=cohort.anatomy,
                    spacing_mm=record.spacing_mm,
                )
                for place in shown
            ]
    return found
