"""Finds DICOM files and the series and studies that they belong to; file names play no part."""

import logging
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series of a folder.

    Attributes:
        uid: SeriesInstanceUID, or "".
        study: StudyInstanceUID, or ""; a study is of one person.
        number: SeriesNumber, or "".
        files: Its files.
    """

    uid: str
    study: str
    number: str
    files: tuple[Path, ...]


def is_dicom(path: Path) -> bool:
    """Whether a path is a DICOM folder or file."""
    return path.is_dir() or path.suffix.lower() in (".dcm", ".ima") or (path.is_file() and _has_preamble(path))


def series_in(path: Path) -> list[Series]:
    """The series of a folder, in it or below it, or of one file; none where nothing is DICOM.

    Raises:
        ValueError: If a file is corrupt.
    """
    found: dict[tuple[str, str], list[Path]] = {}
    numbers: dict[tuple[str, str], str] = {}
    for file in dicom_files(path):
        header = open_header(file)
        uid, study, number = (tag(header, key) for key in ("0020|000e", "0020|000d", "0020|0011"))
        found.setdefault((uid, study), []).append(file)
        numbers[uid, study] = number
    return [
        Series(uid=uid, study=study, number=numbers[uid, study], files=tuple(files))
        for (uid, study), files in sorted(found.items())
    ]


def files_of_series(path: Path, uid: str = "") -> list[Path]:
    """The files of one series.

    Args:
        path: Folder with the files of the series, in it or below it, or one file.
        uid: SeriesInstanceUID to take where the folder holds several series.

    Raises:
        ValueError: If there is no DICOM image, a file is corrupt, several series are there and none is chosen, or the
            chosen one is not.
    """
    found = series_in(path)
    if not found:
        raise ValueError(
            f"{path}: no DICOM image in this folder; correct the column image of cohort.csv, or export the series"
        )
    names = sorted({item.uid for item in found})
    if uid and uid not in names:
        raise ValueError(
            f"{path}: has no series {uid}; it holds {', '.join(names)}; correct the column series of cohort.csv"
        )
    if not uid and len(names) > 1:
        raise ValueError(
            f"{path}: holds {len(names)} series: {', '.join(names)}; name one in the column series of cohort.csv, or "
            "give each a folder of its own"
        )
    return [file for item in found if not uid or item.uid == uid for file in item.files]


def dicom_files(path: Path) -> list[Path]:
    """The DICOM files of a folder, in it or below it, or one file.

    Raises:
        ValueError: If one is corrupt.
    """
    if path.is_file():
        return [path]
    found, other = [], []
    for file in sorted(path.rglob("*")):
        if not file.is_file() or file.name.startswith(".") or file.name.upper() == "DICOMDIR":
            continue
        if sitk.ImageFileReader.GetImageIOFromFileName(str(file)) == "GDCMImageIO":
            found.append(file)
        elif file.suffix.lower() in (".dcm", ".ima") or _has_preamble(file):
            raise ValueError(f"{file}: cannot be read as DICOM, it may be corrupt or truncated; export the series anew")
        else:
            other.append(file.name)
    if found and other:
        log.info("%s: left aside what is no DICOM: %s", path, ", ".join(other[:5]))
    return found


def open_header(path: Path) -> sitk.ImageFileReader:
    """A reader that knows the header of a file.

    Raises:
        ValueError: If it cannot be read.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(f"{path}: cannot be read, it may be corrupt or truncated; export the series anew") from error
    return reader


def tag(header: sitk.ImageFileReader, key: str) -> str:
    """Text of a field such as "0020|000e", or ""."""
    return header.GetMetaData(key).strip("\0 ") if header.HasMetaDataKey(key) else ""


def _has_preamble(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
