"""Reads the voxels of DICOM slices; where they lie is known by then."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
import SimpleITK as sitk
from jaxtyping import Shaped

from datamodules.reading.dicom_header import Slice

SPACING_BETWEEN_SLICES = 0x00180088


def pixels_of(slices: Sequence[Slice]) -> list[Shaped[np.ndarray, "y x"]]:
    """The voxels of each slice; every file is read once.

    Raises:
        ValueError: If a file is corrupt, or compressed in a way that is not known here.
    """
    content = {path: _read_frames(path) for path in dict.fromkeys(item.path for item in slices)}
    for item in slices:
        if item.frame >= len(content[item.path]) or content[item.path].shape[1:] != item.size[::-1]:
            raise ValueError(
                f"{item.path}: holds {content[item.path].shape} voxels (frames, rows, columns), its header says "
                f"otherwise; export the series anew"
            )
    return [_rescaled(content[item.path][item.frame], item) for item in slices]


def _rescaled(frame: Shaped[np.ndarray, "y x"], item: Slice) -> Shaped[np.ndarray, "y x"]:
    """Values by the slope and intercept of the frame itself: the reader takes those of the file's first one for all."""
    if item.scale == item.first_scale:
        return frame
    slope, intercept = item.scale
    stored = np.rint((frame.astype(np.float64) - item.first_scale[1]) / item.first_scale[0])
    return stored * slope + intercept


def _read_frames(path: Path) -> Shaped[np.ndarray, "f y x"]:
    try:
        try:
            image = sitk.ReadImage(str(path))
        except RuntimeError as error:
            if "Zero-valued spacing" not in str(error):
                raise
            image = _read_without_step(path)
    except RuntimeError as error:
        raise ValueError(f"{path}: cannot be read, {_why_unreadable(path)}") from error
    frames = sitk.GetArrayFromImage(image)
    return frames[None] if image.GetDimension() == 2 else frames


def _why_unreadable(path: Path) -> str:
    """What may be wrong with the voxels of a file whose header is sound."""
    syntax = pydicom.dcmread(path, stop_before_pixels=True, force=True).file_meta.get("TransferSyntaxUID", None)
    if syntax is not None and not syntax.is_private and syntax.is_compressed:
        return (
            f"it may be corrupt or truncated, or its compression ({syntax.name}) is one that is not known here; export "
            "the series anew, uncompressed"
        )
    return "it may be corrupt or truncated; export the series anew"


def _read_without_step(path: Path) -> sitk.Image:
    """Reads a file that says that slices are 0 mm apart, which SimpleITK takes for an error, from a copy that does not.

    Positions are known by then; what is read here are voxels.
    """

    def drop(data: pydicom.Dataset, element: pydicom.DataElement) -> None:
        if element.tag == SPACING_BETWEEN_SLICES:
            del data[element.tag]

    data = pydicom.dcmread(path, force=True)
    data.walk(drop)
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.dcm"
        data.save_as(copy)
        return sitk.ReadImage(str(copy))
