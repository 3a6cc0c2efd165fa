"""Process that writes some patients of a phantom cohort: `python -m datamodules.phantom.worker TASK_AS_JSON`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from datamodules.phantom.series import Series, patient_series
from datamodules.phantom.settings import PhantomSettings
from datamodules.phantom.tissue_map import tissue_rows
from datamodules.reading.image_file import write_whole
from datamodules.store.worker_end import end_with_parent

_DECIMALS = 4


def write_series(folder: Path, settings: PhantomSettings, index: int, series: Series) -> dict[str, list[dict]]:
    """Writes the volumes of one series and returns its rows of every table."""
    case, patient, masked = series.name, f"p{index:03d}", settings.has_masks(index)
    volumes = {
        f"images/{case}{f'_{name}' if len(series.images) > 1 else ''}.nii.gz": voxels
        for name, voxels in series.images.items()
    }
    image = ";".join(volumes)
    volumes[f"fat/{case}.nii.gz"] = series.fat
    if masked:
        volumes[f"labels/{case}.nii.gz"] = series.labels
        volumes[f"second_rater/{case}.nii.gz"] = series.second_rater
    if settings.tissue_maps:
        volumes[f"tissues/{case}.nii.gz"] = series.tissues
    for name, voxels in volumes.items():
        _write_volume(folder / name, voxels, series)
    row = {
        "case": case,
        "patient": patient,
        "image": image,
        "label": f"labels/{case}.nii.gz" if masked else "",
        "second_rater": f"second_rater/{case}.nii.gz" if masked else "",
        "fat_map": f"fat/{case}.nii.gz",
        "level": series.level,
        "view": series.view,
        "contrast": series.contrast,
        "site": settings.site_of(index),
        "spacing": "",
        **({"tissues": f"tissues/{case}.nii.gz"} if settings.tissue_maps else {}),
        **series.factors,
    }
    supervision = "mask" if masked else "keypoint"
    points = [
        dict(zip(("case", "supervision", "structure", "slice", "col", "row"), (case, supervision, *point), strict=True))
        for point in (series.keypoints if series.view == "sagittal" else ())
    ]
    measured = [{"case": case, "patient": patient, **row} for row in series.measurements]
    tissues = tissue_rows(series.tissues) if settings.tissue_maps else []
    return {"cohort": [row], "keypoints": points, "measurements": measured, "tissues": tissues}


def write_patients(task: Mapping) -> None:
    """Writes every series of the patients of a task and prints one JSON line of rows per patient."""
    settings = PhantomSettings.from_mapping(task["settings"])
    for index in task["patients"]:
        tables: dict[str, list[dict]] = {"cohort": [], "keypoints": [], "measurements": [], "tissues": []}
        for series in patient_series(settings, index):
            for name, rows in write_series(Path(task["folder"]), settings, index, series).items():
                tables[name] += [{key: _cell(value) for key, value in row.items()} for row in rows]
        print(json.dumps({"patient": index, "tables": tables}), flush=True)


def _write_volume(path: Path, voxels: np.ndarray, series: Series) -> None:
    volume = sitk.GetImageFromArray(voxels)
    volume.SetSpacing(series.spacing_mm)
    volume.SetOrigin(series.origin_mm)
    volume.SetDirection(series.direction)
    write_whole(volume, path, level=1)


def _cell(value: Any) -> Any:
    """A value as JSON takes it, not longer than anyone reads."""
    if isinstance(value, np.generic):
        value = value.item()
    return round(value, _DECIMALS) if isinstance(value, float) else value


if __name__ == "__main__":
    end_with_parent()
    try:
        write_patients(json.loads(sys.argv[1]))
    except OSError as error:  # a full disk is told where the user looks
        print(json.dumps({"error": [error.errno, error.strerror, error.filename]}), flush=True)
