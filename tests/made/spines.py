"""Small sagittal cohorts for the tests of supervision: three vertebrae down the image, some drawn, some clicked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.anatomy import Anatomy
from datamodules.cohort import Cohort
from datamodules.reading.geometry import SliceGrid
from tests.made.scans import random_image, write_volume

VERTEBRAE = ("L1", "L2", "L3")
SHAPE = (3, 24, 16)  # slices, rows, columns
SAGITTAL = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]])  # columns run backwards, rows downwards, slices to the left
PIXEL_MM = 1.6
GRID = SliceGrid(size=(24, 16), spacing_mm=PIXEL_MM)
CLICKED_SLICE = 1
CENTRES = {name: (7.5, 4.0 + 7 * number) for number, name in enumerate(VERTEBRAE)}  # column, row


def spine_anatomy(**changes) -> Anatomy:
    colours = dict(zip(VERTEBRAE, ("#110000", "#220000", "#330000"), strict=True))
    settings = {"name": "spine", "view": "sagittal", "structures": VERTEBRAE, "colours": colours}
    return Anatomy(**{**settings, "keypoints": VERTEBRAE, **changes})


def spine_mask() -> np.ndarray:
    """Every vertebra on every slice: rows 2-6, 9-13 and 16-20 of columns 5-10."""
    mask = np.zeros(SHAPE, np.uint8)
    for number, (_, row) in enumerate(CENTRES.values(), 1):
        mask[:, int(row) - 2 : int(row) + 3, 5:11] = number
    return mask


def write_spines(
    root: Path,
    *,
    masked: Sequence[str],
    weak: Sequence[str] = (),
    clicked: Sequence[str] | None = None,
    pixel_mm: float = PIXEL_MM,
    seed: int = 0,
) -> Path:
    """A cohort of a volume per patient; keypoints.csv states the `clicked` ones (by default all) on one slice."""
    lines, points = ["case,patient,image,label"], ["case,structure,slice,col,row"]
    geometry = {"spacing": (pixel_mm, pixel_mm, 4.0), "direction": SAGITTAL}
    for number, name in enumerate((*masked, *weak)):
        write_volume(root / f"images/{name}.nii.gz", random_image(seed + number, SHAPE), **geometry)
        if name in masked:
            write_volume(root / f"labels/{name}.nii.gz", spine_mask(), **geometry)
        label = f"labels/{name}.nii.gz" if name in masked else ""
        lines.append(f"{name},{name},images/{name}.nii.gz,{label}")
        if clicked is None or name in clicked:
            points += [f"{name},{s},{CLICKED_SLICE},{column},{row}" for s, (column, row) in CENTRES.items()]
    (root / "cohort.csv").write_text("\n".join(lines) + "\n")
    (root / "keypoints.csv").write_text("\n".join(points) + "\n")
    return root


def spine_cohort(root: Path, **changes) -> Cohort:
    labels = dict(enumerate(VERTEBRAE, 1))
    return Cohort(**{"name": "spines", "root": root, "anatomy": spine_anatomy(), "labels": labels, **changes})


def edit_keypoints(root: Path, old: str, new: str) -> None:
    path = root / "keypoints.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
