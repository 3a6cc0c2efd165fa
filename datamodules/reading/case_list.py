"""The list of cases of a cohort: what cohort.csv and keypoints.csv say, checked against the files that are there."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from datamodules.reading.csv_table import read_lines
from datamodules.reading.image_file import PICTURE_SUFFIXES, VOLUME_SUFFIXES

log = logging.getLogger(__name__)

REQUIRED = ("case", "patient", "image")
OPTIONAL = ("label", "level", "view", "contrast", "site", "spacing", "orientation", "labelled", "series")
SEPARATOR = ";"  # between the files, levels or structures of one cell


@dataclass(frozen=True, kw_only=True)
class KeyPoint:
    """One row of keypoints.csv: indices along the file's own axes that become slices, columns and rows."""

    structure: str
    slice: int
    col: float
    row: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of cohort.csv (or one row per channel, joined).

    Attributes:
        case: Name, used once in the cohort.
        patient: Name of the patient; cases of one patient never part.
        images: One file or DICOM folder per channel.
        labels: Label files: none, one, or one per block of a DICOM series.
        level: Spinal level, or one per block separated by ';'.
        contrast: Contrast, as the cohort names it.
        site: Hospital or scanner, for stratified folds.
        spacing_mm: (row, column), or (row, column, slice), for files that do not state it.
        orientation: Sides towards which columns, then rows run, for files that do not state it.
        series: SeriesInstanceUID, where a DICOM folder holds several.
        labelled: Structures that the annotator of this case drew, if not those of the cohort.
        keypoints: Rows of keypoints.csv.
        row: Every other column.
    """

    case: str
    patient: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...] = ()
    level: str = ""
    contrast: str = ""
    site: str = ""
    spacing_mm: tuple[float, ...] | None = None
    orientation: str = ""
    series: str = ""
    labelled: tuple[str, ...] | None = None
    keypoints: tuple[KeyPoint, ...] = ()
    row: Mapping[str, str]


def read_cases(root: Path, view: str) -> list[Case]:
    """Reads cohort.csv, or pairs images/ and labels/ by name where there is none.

    Raises:
        ValueError: If the folder, a column, a cell or a file is missing, or a case is listed twice.
    """
    listed = list_cases(root, view)
    for reason in listed.refused.values():
        raise ValueError(reason)
    return listed.cases


class Listed(NamedTuple):
    """The cases of a folder, and the rows that are refused, with the reason of each, as those of another view are."""

    cases: list[Case]
    refused: dict[str, str]
    of_other_view: Sequence[str] = ()


def list_cases(root: Path, view: str, *, with_labels: bool = True) -> Listed:
    """The cases of a folder as `read_cases` reads them, and what is wrong with the others.

    Args:
        root: Folder with cohort.csv, or with images/.
        view: View of the anatomy.
        with_labels: Whether label files have to be there.

    Raises:
        ValueError: If there is no such folder, or its cohort.csv is no table with the columns that are needed.
    """
    table = root / "cohort.csv"
    if not root.is_dir():
        raise ValueError(
            f"{root.absolute()}: there is no such folder; looked for cohort.csv, or images/ and labels/, in it; give "
            "the folder of your scans as cohort.root=DIR"
        )
    if not table.is_file():
        return Listed(*_pair_by_name(root, with_labels))
    rows, refused = read_lines(table, REQUIRED, OPTIONAL)
    lines: dict[str, int] = {}
    cases: dict[str, Case] = {}
    of_other_view: list[str] = []
    for line, row in rows.items():
        name = row["case"]
        if name in lines:
            cases.pop(name, None)
            refused[name] = (
                f"{table}: case {name!r} is listed twice, in lines {lines[name]} and {line}; give each image a case "
                "name of its own"
            )
            continue
        lines[name], where = line, f"{table}, case {name!r}"
        if row.get("view", "") not in ("", view):
            of_other_view.append(name)
            refused[name] = (
                f"{where}: view is {row['view']!r}, the anatomy needs {view!r}; remove the row, or choose an anatomy "
                "of that view"
            )
            continue
        try:
            cases[name] = _case_of_row(root, where, row, with_labels)
        except ValueError as error:
            refused[name] = str(error)
    return Listed(list(cases.values()), refused, of_other_view)


def _case_of_row(root: Path, where: str, row: dict[str, str], with_labels: bool) -> Case:
    files: dict[str, tuple[Path, ...]] = {}
    for column in ("image", "label"):
        files[column] = tuple(_path(root, part) for part in _parts(row.get(column, "")))
        for path in files[column]:
            if not path.exists() and (column == "image" or with_labels):
                remedy = "leave the cell empty if nobody drew it" if column == "label" else "remove the row"
                remedy += "; folders are parted by / here, not by \\" * ("\\" in path.name)
                raise ValueError(
                    f"{where}: the {column} file {path} is missing; correct the path in cohort.csv, or {remedy}"
                )
    return Case(
        case=row["case"],
        patient=row["patient"],
        images=files["image"],
        labels=files["label"],
        level=row.get("level", ""),
        contrast=row.get("contrast", ""),
        site=row.get("site", ""),
        spacing_mm=_spacing(where, row.get("spacing", "")),
        orientation=row.get("orientation", ""),
        series=row.get("series", ""),
        labelled=tuple(_parts(row["labelled"])) if row.get("labelled") else None,
        row={name: value for name, value in row.items() if name not in (*REQUIRED, *OPTIONAL)},
    )


def _path(root: Path, part: str) -> Path:
    """A path of a cell; some systems spell the letters of file names otherwise than tables do (u with dots as two)."""
    path = root / part
    return path if path.exists() else next((p for p in [root / normalize("NFD", part)] if p.exists()), path)


def _parts(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(SEPARATOR) if part.strip()]


def _spacing(where: str, cell: str) -> tuple[float, ...] | None:
    if not cell:
        return None
    try:
        numbers = [float(part) for part in _parts(cell)]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2, 3) or not all(0 < number < 100 for number in numbers):
        raise ValueError(
            f"{where}: spacing is {cell!r}, expected mm of a pixel: 0.6875, or rows;columns as 0.7;0.6, or of a volume "
            "rows;columns;slices as 0.7;0.6;4"
        )
    return tuple(numbers * 2 if len(numbers) == 1 else numbers)


def _pair_by_name(root: Path, with_labels: bool) -> tuple[list[Case], dict[str, str]]:
    """Cases of a folder without cohort.csv: a file in images/ and the one of the same name in labels/."""
    images, refused = _by_stem(root / "images")
    labels, ambiguous = _by_stem(root / "labels") if with_labels else ({}, {})
    if not images and not refused:
        raise ValueError(
            f"{root.absolute()}: holds neither cohort.csv nor an images/ folder with images; write a cohort.csv with "
            "the columns case, patient, image (and label), or put the files into images/ and labels/"
        )
    lonely = {
        name: f"{path}: no image of that name in {root / 'images'}; rename it like its image, or write a cohort.csv"
        for name, path in sorted(labels.items())
        if name not in images
    }
    log.warning(
        "%s has no cohort.csv: %d images and %d labels are paired by name, each taken as a patient of its own. If one "
        "person has several images, write a cohort.csv with the columns case, patient, image, label, or folds will "
        "leak.",
        root,
        len(images),
        len(labels),
    )
    cases = [
        Case(case=stem, patient=stem, images=(path,), labels=(labels[stem],) if stem in labels else (), row={})
        for stem, path in images.items()
    ]
    return cases, {**lonely, **ambiguous, **refused}


def _by_stem(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Images of a folder by their name without suffix, and names that several files have."""
    found: dict[str, Path] = {}
    refused: dict[str, str] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        suffix = next((s for s in (*VOLUME_SUFFIXES, *PICTURE_SUFFIXES) if path.name.lower().endswith(s)), "")
        if path.name.startswith(".") or not (suffix or path.is_dir()):
            continue
        stem = path.name[: len(path.name) - len(suffix)]
        if stem in found:
            refused[stem] = (
                f"{path}: {found[stem].name} has the same name; case listed twice: rename one, or write a cohort.csv"
            )
        else:
            found[stem] = path
    return {stem: path for stem, path in found.items() if stem not in refused}, refused
