"""Process that writes some patients of a phantom cohort: `python -m datamodules.phantom.worker TASK_AS_JSON`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from datamodules.phantom.block import Examination, block_geometry, render
from datamodules.phantom.canvas import LABELS
from datamodules.phantom.patient import SIDES
from datamodules.phantom.templates import LEVELS


def write_block(
    folder: Path, examination: Examination, level: int, *, slices_per_level: int, size: int, spacing_mm: float
) -> dict:
    """Writes image and labels of one block and returns its row of cohort.csv."""
    patient = examination.patient
    rendered = [
        render(examination, level, index, num_slices=slices_per_level, size=size, spacing_mm=spacing_mm)
        for index in range(slices_per_level)
    ]
    images, labels, fat = (np.stack(arrays) for arrays in zip(*rendered, strict=True))
    case = f"{patient.name}_{LEVELS[level].replace('/', '-')}"
    geometry = block_geometry(examination, level, slices_per_level, size, spacing_mm)
    for part, array in (("images", images), ("labels", labels)):
        volume = sitk.GetImageFromArray(array)
        volume.SetSpacing(geometry.spacing_mm)
        volume.SetOrigin(geometry.origin_mm)
        volume.SetDirection(geometry.direction)
        sitk.WriteImage(volume, str(folder / part / f"{case}.nii.gz"), useCompression=True, compressionLevel=1)
    back = np.isin(
        labels, [LABELS[f"{muscle}_{side}"] for muscle in ("multifidus", "erector_spinae") for side in SIDES]
    )
    quadratus = np.isin(labels, [LABELS[f"quadratus_lumborum_{side}"] for side in SIDES])
    return {
        "case": case,
        "patient": patient.name,
        "image": f"images/{case}.nii.gz",
        "label": f"labels/{case}.nii.gz",
        "level": LEVELS[level],
        "view": "axial",
        "contrast": "T2",
        "spacing": "",
        "age": patient.age,
        "sex": patient.sex,
        "height_m": patient.height_m,
        "weight_kg": patient.weight_kg,
        "fat_fraction": round(float(fat[back].mean()), 4),
        "fascia_contrast": round(float(patient.fascia_contrast[level]), 4),
        "quadratus_lumborum": int(quadratus.any()),
        "snr": examination.scanner.snr,
    }


def write_patients(task: Mapping) -> None:
    """Writes every block of the patients of a task and prints one JSON line of rows per patient."""
    settings = task["settings"]
    block = {name: settings[name] for name in ("slices_per_level", "size", "spacing_mm")}
    for index in task["patients"]:
        examination = Examination.of(settings["seed"], index)
        rows = [
            write_block(Path(task["folder"]), examination, LEVELS.index(level), **block) for level in settings["levels"]
        ]
        print(json.dumps(rows), flush=True)


if __name__ == "__main__":
    write_patients(json.loads(sys.argv[1]))
