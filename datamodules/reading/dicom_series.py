"""Finds DICOM files and the series and studies that they belong to; file names play no part."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from filecmp import cmp
from functools import lru_cache
from pathlib import Path

import SimpleITK as sitk

from datamodules.reading.dicom_header import DicomFile, NoPixelsError, read_header
from datamodules.reading.folder_walk import walk
from datamodules.reading.image_file import OTHER_SUFFIXES, PICTURE_SUFFIXES, VOLUME_SUFFIXES

log = logging.getLogger(__name__)

DICOM_SUFFIXES = (".dcm", ".ima")
OTHER_FORMATS = tuple({*VOLUME_SUFFIXES, *PICTURE_SUFFIXES, *OTHER_SUFFIXES} - {*DICOM_SUFFIXES})


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One series of a folder.

    Attributes:
        uid: SeriesInstanceUID, or "".
        study: StudyInstanceUID, or ""; a study is of one person.
        number: SeriesNumber, or "".
        files: Its files, with their headers.
    """

    uid: str
    study: str
    number: str
    files: tuple[DicomFile, ...]


@dataclass
class Listing:
    """What there is of DICOM among some files, every header read once.

    Attributes:
        series: In the order of their UIDs.
        left_aside: Files without pixels and copies, with the reason.
        corrupt: Files that cannot be read, with the reason.
        other: Files that are no DICOM.
    """

    series: list[Series] = field(default_factory=list)
    left_aside: dict[Path, str] = field(default_factory=dict)
    corrupt: dict[Path, str] = field(default_factory=dict)
    other: list[Path] = field(default_factory=list)

    def suspects(self, file: Path) -> list[Series]:
        """Series that a corrupt file may be a part of: those with files in the same folder."""
        return [item for item in self.series if any(each.path.parent == file.parent for each in item.files)]


def is_dicom(path: Path) -> bool:
    """Whether a path is a DICOM folder or file."""
    return path.is_dir() or path.suffix.lower() in DICOM_SUFFIXES or (path.is_file() and _has_preamble(path))


def list_series(files: Iterable[Path]) -> Listing:
    """Reads the header of every DICOM file among some, and sorts the files into series."""
    found = Listing()
    parts: dict[tuple[str, str], list[DicomFile]] = {}
    for path in files:
        if not _is_dicom_file(path):
            found.other.append(path)
            continue
        try:
            file = read_header(path)
        except NoPixelsError as reason:
            found.left_aside[path] = str(reason)
        except ValueError as error:
            found.corrupt[path] = str(error)
        else:
            parts.setdefault((file.series, file.study), []).append(file)
    for (uid, study), of_series in sorted(parts.items()):
        once = _without_copies(of_series, found.left_aside)
        found.series.append(Series(uid=uid, study=study, number=once[-1].series_number, files=tuple(once)))
    return found


def list_folder(path: Path) -> Listing:
    """`list_series` of all files in and below a folder, whose headers are read once as long as none of them changes.

    Rows of a cohort.csv may name one folder many times, a series each.
    """
    states = [(file, file.stat()) for file in walk(path).files]
    return _listed(tuple((file, state.st_size, state.st_mtime_ns) for file, state in states))


@lru_cache(maxsize=4)
def _listed(files: tuple[tuple[Path, int, int], ...]) -> Listing:
    return list_series([file for file, *_ in files])


def find_series(path: Path, uid: str = "", listing: Listing | None = None) -> Series:
    """The only series of a folder, in it or below it, or of one file; or the one with this SeriesInstanceUID.

    Args:
        path: The folder or file.
        uid: SeriesInstanceUID of the series that is wanted, where there are several.
        listing: Of the files at `path`, if they have been listed already.

    Raises:
        ValueError: If there is no DICOM image, several series are there and none is chosen, the chosen one is not, or
            a corrupt file may be a part of it.
    """
    found = listing or list_folder(path)
    if not found.series:
        raise ValueError(
            next(iter(found.corrupt.values()), "")
            or f"{path}: no DICOM image in this folder{_only(found)}; correct the column image of cohort.csv, "
            "or export the series"
        )
    names = sorted({item.uid for item in found.series})
    if uid and uid not in names:
        raise ValueError(
            f"{path}: has no series {uid}; it holds {', '.join(names)}; correct the column series of cohort.csv"
        )
    if not uid and len(names) > 1:
        raise ValueError(
            f"{path}: holds {len(names)} series: {', '.join(names)}; name one in the column series of cohort.csv, or "
            "give each a folder of its own"
        )
    chosen = [item for item in found.series if not uid or item.uid == uid]
    for file, reason in found.corrupt.items():
        if not uid or any(item in chosen for item in found.suspects(file)):
            raise ValueError(reason)
    for file, reason in found.left_aside.items():
        log.info("%s: left aside: %s", file, reason)
    if found.other:
        log.info("%s: left aside what is no DICOM: %s", path, ", ".join(file.name for file in found.other[:5]))
    first = chosen[0]
    files = tuple(file for item in chosen for file in item.files)  # a series that was sent in two studies is one
    return Series(uid=first.uid, study=first.study, number=first.number, files=files)


def _only(found: Listing) -> str:
    """What there is instead of images."""
    told = "".join(f", {file.name} {reason}" for file, reason in list(found.left_aside.items())[:1])
    return told + ", which is to be converted to .nii.gz if it is a label" * ("Segmentation" in told)


def _is_dicom_file(path: Path) -> bool:
    """By content; files of other formats, known by their suffix, are not opened."""
    name = path.name.lower()
    if name.endswith(OTHER_FORMATS):
        return False
    if name.endswith(DICOM_SUFFIXES) or _has_preamble(path):
        return True
    return sitk.ImageFileReader.GetImageIOFromFileName(str(path)) == "GDCMImageIO"  # DICOM of before 1993


def _without_copies(files: list[DicomFile], left_aside: dict[Path, str]) -> list[DicomFile]:
    """One file of each image: exports hold "IM0001 (copy).dcm"; broken ones give one name to several images."""
    first: dict[str, DicomFile] = {}
    kept = set()
    for file in sorted(files, key=lambda file: (len(file.path.name), file.path)):
        twin = first.setdefault(file.instance or str(file.path), file)
        if twin is not file and cmp(twin.path, file.path, shallow=False):
            left_aside[file.path] = f"is a copy of {twin.path.name}"
        else:
            kept.add(file.path)
    return [file for file in files if file.path in kept]


def _has_preamble(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
