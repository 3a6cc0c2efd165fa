"""Writes small cohorts and DICOM series, as hospitals would, for the tests of the data path."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from datamodules.anatomy import Anatomy
from datamodules.cohort import Cohort

SHAPE = (4, 12, 16)  # slices, rows, columns
SPACING = (0.5, 0.75, 4.0)  # x, y, z
LABELS = {1: "muscle_left", 2: "muscle_right", 7: None}


def small_anatomy(**changes) -> Anatomy:
    names = ["muscle_left", "muscle_right"]
    settings = {
        "name": "two_muscles",
        "view": "axial",
        "structures": names,
        "colours": dict.fromkeys(names, "#112233"),
        "mirror": [names],
        "keypoints": ["disc"],
    }
    return Anatomy(**{**settings, **changes})


def small_cohort(root: Path, **changes) -> Cohort:
    return Cohort(**{"name": "small", "root": root, "anatomy": small_anatomy(), "labels": LABELS, **changes})


def write_volume(path: Path, array, *, spacing=SPACING, origin=(3.0, -5.0, 7.0), direction=None, compressed=False):
    """Writes an array of (z, y, x)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=False)
    more = [1.0] * (array.ndim - 3)
    image.SetSpacing([*spacing, *more])
    image.SetOrigin([*origin, *more])
    if direction is not None:
        image.SetDirection(np.asarray(direction, float).ravel().tolist())
    sitk.WriteImage(image, str(path), compressed)


def random_image(seed: int, shape: Sequence[int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 1000, shape).astype(np.int16)


def two_muscles(shape: Sequence[int] = SHAPE) -> np.ndarray:
    """The left muscle (1) on the image's right half, the right one (2) on its left half; the last slice is empty."""
    mask = np.zeros(shape, np.uint8)
    mask[:-1, 3:9, 9:14] = 1
    mask[:-1, 3:9, 2:7] = 2
    return mask


def write_cohort(root: Path, cases: Sequence[str] = ("anna", "bert")) -> Path:
    """A cohort of NIfTI files with one image and label for each patient."""
    lines = ["case,patient,image,label"]
    for seed, case in enumerate(cases):
        write_volume(root / f"images/{case}.nii.gz", random_image(seed))
        write_volume(root / f"labels/{case}.nii.gz", two_muscles())
        lines.append(f"{case},{case},images/{case}.nii.gz,labels/{case}.nii.gz")
    (root / "cohort.csv").write_text("\n".join(lines) + "\n")
    return root


def write_dicom(path: Path, pixels: np.ndarray, *, position, axes, number: int, series: str = "1.2.3", **tags) -> None:
    """Writes one slice of (rows, columns) with 0.7 mm rows and 0.6 mm columns."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = series, "1.2", "MR"
    data.InstanceNumber = number
    data.ImagePositionPatient = [f"{value:.6f}" for value in position]
    data.ImageOrientationPatient = [f"{value:.8f}" for value in np.ravel(axes)]
    data.PixelSpacing, data.SliceThickness = [0.7, 0.6], 4.0
    data.Rows, data.Columns = pixels.shape[-2:]
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation, data.SamplesPerPixel = 15, 0, 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelData = pixels.astype(np.uint16).tobytes()
    for name, value in tags.items():
        delattr(data, name) if value is None and name in data else setattr(data, name, value)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(str(path), data, enforce_file_format=True)


def write_enhanced(path: Path, pixels: np.ndarray, *, places, scales=None, **tags) -> None:
    """Writes an enhanced multi-frame MR file as scanners do: what holds of a frame lies in its functional groups.

    Args:
        path: The file.
        pixels: Stored values, (frames, rows, columns).
        places: Position and axes of each frame.
        scales: Slope and intercept of each frame.
        tags: Of the file.
    """

    def group(**fields) -> pydicom.Sequence:
        item = pydicom.Dataset()
        for name, value in fields.items():
            setattr(item, name, value)
        return pydicom.Sequence([item])

    frames = []
    for number, (position, axes) in enumerate(places):
        frame = pydicom.Dataset()
        frame.PlanePositionSequence = group(ImagePositionPatient=[f"{value:.6f}" for value in position])
        frame.PlaneOrientationSequence = group(ImageOrientationPatient=[f"{value:.8f}" for value in np.ravel(axes)])
        if scales is not None:
            slope, intercept = (str(value) for value in scales[number])
            frame.PixelValueTransformationSequence = group(RescaleSlope=slope, RescaleIntercept=intercept)
        frames.append(frame)
    shared = group(PixelMeasuresSequence=group(PixelSpacing=[0.7, 0.6], SliceThickness=4.0))
    nested = {"SharedFunctionalGroupsSequence": shared, "PerFrameFunctionalGroupsSequence": pydicom.Sequence(frames)}
    of_file = {"SOPClassUID": EnhancedMRImageStorage, "NumberOfFrames": len(pixels), **nested, **tags}
    left_out = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"))
    write_dicom(path, pixels, position=(0, 0, 0), axes=np.eye(3)[:2], number=1, **{**of_file, **left_out})


def read_all(root, **changes):
    cohort = small_cohort(root, **changes)
    return [cohort.read(case) for case in cohort.cases]


def replace_line(root, old, new):
    table = root / "cohort.csv"
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new))
