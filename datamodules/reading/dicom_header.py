"""What the header of a DICOM file says of its slices; pydicom reads it, since SimpleITK shows no nested fields."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float64
from pydicom import config
from pydicom.multival import MultiValue
from pydicom.uid import UID

# Scanners write values that the standard forbids; what is needed of them is checked here.
config.settings.reading_validation_mode = config.IGNORE

TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber"),
    *("ImageType", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "RescaleSlope"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
ROUNDED_COSINES = 3e-3  # three decimals leave up to 5e-4 in each of three cosines
UNREADABLE = "cannot be read as DICOM, it may be corrupt or truncated; export the series anew"


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """One slice with the header fields that place it.

    Attributes:
        path: The file.
        frame: Its place in the file, from 0.
        number: InstanceNumber.
        origin_mm: Place of the first pixel.
        axes: Direction of rising column, then of rising row index: perpendicular unit vectors.
        spacing_mm: (x, y).
        size: (x, y).
        steps_mm: What the file says that slices are thick and apart, where it says so.
        scale: Slope and intercept of this frame's values, where its file has a scale for each.
        first_scale: That of the first frame of its file.
    """

    path: Path
    frame: int
    number: int
    origin_mm: Float64[np.ndarray, "3"]
    axes: Float64[np.ndarray, "2 3"]
    spacing_mm: tuple[float, float]
    size: tuple[int, int]
    steps_mm: tuple[float, ...]
    scale: tuple[float, float] = (1.0, 0.0)
    first_scale: tuple[float, float] = (1.0, 0.0)

    @property
    def normal(self) -> Float64[np.ndarray, "3"]:
        """Direction across the slice."""
        return np.cross(*self.axes)


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomFile:
    """A DICOM file with pixels.

    Attributes:
        path: Where it lies.
        instance: SOPInstanceUID, or "".
        series: SeriesInstanceUID, or "".
        study: StudyInstanceUID, or ""; a study is of one person.
        series_number: SeriesNumber, or "".
        slices: One, or those of its frames; none where there is a problem.
        problem: Why its pixels cannot be placed, with the remedy; "" if they can.
    """

    path: Path
    instance: str
    series: str
    study: str
    series_number: str
    slices: tuple[Slice, ...] = ()
    problem: str = ""


class NoPixelsError(ValueError):
    """A DICOM object that holds no image: a presentation state, a report, a document, a segmentation."""


def read_header(path: Path) -> DicomFile:
    """Reads the header of a DICOM file; what is wrong with the place of its slices becomes its `problem`.

    Raises:
        NoPixelsError: If it holds no image; says what it is.
        ValueError: If it is corrupt or truncated.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd and matters here is found below
            data = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(TAGS))
        kind = UID(str(data.get("SOPClassUID", None) or data.file_meta.get("MediaStorageSOPClassUID", ""))).name
        series = str(data.get("SeriesInstanceUID", ""))
        has_pixels = "Rows" in data and "Columns" in data
    except Exception as error:  # of corrupt data pydicom raises whatever its parts do
        raise ValueError(f"{path}: {UNREADABLE}") from error
    # Segmentations and doses have pixels as well, but are no images; a private object without pixels is none either.
    is_image = "Image Storage" in kind or not kind.endswith(" Storage")
    if not is_image or (not has_pixels and series and "Image Storage" not in kind):
        raise NoPixelsError(f"holds no image ({kind.removesuffix(' Storage')})")
    if not has_pixels:  # a truncated file has lost its end
        raise ValueError(f"{path}: {UNREADABLE}")
    slices, problem = (), ""
    try:
        slices = tuple(_slices(path, data))
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        problem = str(error) if str(error).startswith(str(path)) else f"{path}: its header holds {error}; export anew"
    return DicomFile(
        path=path,
        instance=str(data.get("SOPInstanceUID", "")),
        series=series,
        study=str(data.get("StudyInstanceUID", "")),
        series_number=str(data.get("SeriesNumber", None) or ""),
        slices=slices,
        problem=problem,
    )


def _slices(path: Path, data: pydicom.Dataset) -> Iterator[Slice]:
    frames = int(data.get("NumberOfFrames", None) or 1)
    per_frame: Sequence[pydicom.Dataset] = data.get("PerFrameFunctionalGroupsSequence", None) or ()
    if "MOSAIC" in [str(part).upper() for part in data.get("ImageType", None) or ()]:
        raise ValueError(
            f"{path}: is a mosaic, many slices tiled into one picture; convert it to NIfTI (dcm2niix), or export the "
            "series as single slices"
        )
    _check_grey(path, data)
    if frames > 1 and len(per_frame) != frames:
        raise ValueError(
            f"{path}: is a multi-frame DICOM file of {frames} frames that does not say where each of them lies; "
            "convert it to NIfTI, or export it as enhanced MR or as single frames"
        )
    shared = (data.get("SharedFunctionalGroupsSequence", None) or [pydicom.Dataset()])[0]
    places = [(own, shared, data) for own in per_frame] or [(data,)]
    scales = [_scale(place) for place in places]
    for frame, place in enumerate(places):
        yield replace(_slice(path, frame, data, place), scale=scales[frame], first_scale=scales[0])


def _check_grey(path: Path, data: pydicom.Dataset) -> None:
    """Refuses colours, and grey values of which the smallest is the brightest: readers pass them on as they are."""
    kind = str(data.get("PhotometricInterpretation", None) or "MONOCHROME2").upper()
    if int(data.get("SamplesPerPixel", None) or 1) > 1 or not kind.startswith("MONOCHROME"):
        raise ValueError(f"{path}: is a colour image, expected grey values; take the original images of the scanner")
    if kind == "MONOCHROME1":
        raise ValueError(
            f"{path}: its grey values are inverted (MONOCHROME1: the smallest is the brightest); take the original "
            "images of the scanner, or export them as MONOCHROME2"
        )


def _scale(places: Sequence[pydicom.Dataset]) -> tuple[float, float]:
    """Slope and intercept of a frame; of a file of a single frame the reader's own are right, but for a slope of 0."""
    slope = _numbers(places, "PixelValueTransformationSequence", "RescaleSlope")
    if slope and slope[0] == 0:
        raise ValueError("a RescaleSlope of 0, by which all values are one")
    if len(places) == 1:
        return 1.0, 0.0
    intercept = _numbers(places, "PixelValueTransformationSequence", "RescaleIntercept")
    return (slope or [1.0])[0], (intercept or [0.0])[0]


def _slice(path: Path, frame: int, data: pydicom.Dataset, places: Sequence[pydicom.Dataset]) -> Slice:
    origin = _numbers(places, "PlanePositionSequence", "ImagePositionPatient")
    axes = _numbers(places, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = _numbers(places, "PixelMeasuresSequence", "PixelSpacing")
    if len(origin) != 3 or len(axes) != 6:
        raise ValueError(
            f"{path}: has no ImagePositionPatient and ImageOrientationPatient, so its place is not known; take the "
            "original images of the scanner, not a secondary capture"
        )
    if len(spacing) != 2 or not np.isfinite([*origin, *axes, *spacing]).all() or min(spacing) <= 0:
        raise ValueError(
            f"{path}: PixelSpacing is {spacing or 'missing'} mm, its place {origin}, expected finite numbers and a "
            "positive spacing; take the original images of the scanner"
        )
    steps = [
        *_numbers(places, "PixelMeasuresSequence", "SpacingBetweenSlices"),
        *_numbers(places, "PixelMeasuresSequence", "SliceThickness"),
    ]
    return Slice(
        path=path,
        frame=frame,
        number=int(data.get("InstanceNumber", None) or 0),
        origin_mm=np.array(origin),
        axes=_perpendicular(path, np.array(axes).reshape(2, 3)),
        spacing_mm=(spacing[1], spacing[0]),
        size=(int(data.Columns), int(data.Rows)),
        steps_mm=tuple(step for step in steps if np.isfinite(step) and step > 0),
    )


def _numbers(places: Sequence[pydicom.Dataset], group: str, name: str) -> list[float]:
    """A field of a frame: in its own functional group, in the shared one, or, in a single-frame file, on its own."""
    for place in places:
        nested = place.get(group, None) if len(places) > 1 else None
        value = (nested[0] if nested else place).get(name, None)
        if value is not None and value != "":
            return [_number(name, part) for part in (value if isinstance(value, (MultiValue, list)) else [value])]
    return []


def _number(name: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise ValueError(f"{str(value)!r} as {name}, expected a number with a decimal point") from None


def _perpendicular(path: Path, axes: Float64[np.ndarray, "2 3"]) -> Float64[np.ndarray, "2 3"]:
    """The nearest perpendicular unit vectors: files hold cosines that are rounded, to three decimals at times."""
    left, lengths, right = np.linalg.svd(axes, full_matrices=False)
    if not np.allclose(lengths, 1, rtol=0, atol=ROUNDED_COSINES):
        raise ValueError(
            f"{path}: the direction in the header is not orthonormal (axes sheared or not of length 1), so its pixels "
            "are no rectangles; export the series anew"
        )
    return left @ right
