"""Finds the scans that somebody wants numbers of: a file, a DICOM series, or a folder of patients, without labels."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import commonpath
from pathlib import Path

from datamodules.anatomy import View
from datamodules.reading.case_list import Case, list_cases
from datamodules.reading.channels import join_channels
from datamodules.reading.dicom import find_blocks
from datamodules.reading.dicom_series import DICOM_SUFFIXES, Listing, Series, find_series, is_dicom, list_series
from datamodules.reading.folder_walk import walk
from datamodules.reading.image_file import OTHER_SUFFIXES, PICTURE_SUFFIXES, VOLUME_SUFFIXES


@dataclass
class ScanList:
    """What is to be predicted, and what is not.

    Attributes:
        cases: The scans; no two have the same name.
        series: The DICOM series of a case, by its name; its headers are read once.
        notes: What has to be said of a case, by its name.
        refused: What should have been a scan and is none, or is none of the view, with the reason.
        of_other_view: Those of the refused that are stated to be of another view.
        left_aside: Files and folders that were not read, with the reason.
    """

    cases: list[Case] = field(default_factory=list)
    series: dict[str, Series] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    of_other_view: Sequence[str] = ()
    left_aside: dict[Path, str] = field(default_factory=dict)

    def add(self, case: Case, series: Series | None = None) -> None:
        """Adds a scan under a name of its own."""
        names = {each.case for each in self.cases}
        number = next(number for number in range(1, len(names) + 2) if _numbered(case.case, number) not in names)
        name = _numbered(case.case, number)
        if number > 1:
            first = next(each for each in self.cases if each.case == case.case)
            told = f"another scan is called {case.case} as well ({first.images[0]}); this one is {case.images[0]}"
            self.notes.setdefault(name, []).append(told)
        self.cases.append(replace(case, case=name))
        if series is not None:
            self.series[name] = series


def find_scans(path: Path, view: View, channels: Sequence[str] = ()) -> ScanList:
    """The scans of a file or folder; what cannot be read refuses itself alone.

    * A folder with cohort.csv (or images/) is read as `datamodules.reading.case_list.list_cases` does, labels left
      aside; `channels` are the contrasts in it that are joined as the channels of one scan.
    * A NIfTI, MHA or NRRD file is a scan. Its patient is the first folder below `path` that it lies in, or itself.
    * A DICOM series is a scan, wherever its files lie. Its patient is its study, which is of one person: named
      after the first folder below `path`, or, where that holds several studies, after the folders down to it.

    Links are followed; what an earlier prediction wrote is left aside.

    Raises:
        ValueError: If there is nothing at `path`, or nothing that could be a scan.
    """
    if not path.exists():
        raise ValueError(f"input={path}: there is no such file or folder; give a scan, or a folder of scans")
    found = ScanList()
    if path.is_file():
        name = _stem(path)
        found.add(Case(case=name, patient=name, images=(path,), row={}))
    elif (path / "cohort.csv").is_file() or _holds_images(path / "images"):
        _add_listed(found, path, view, channels)
    else:
        _add_files(found, path, view)
    if not found.cases and not found.refused:
        aside = "".join(f"; {where}: {reason}" for where, reason in list(found.left_aside.items())[:3])
        raise ValueError(
            f"input={path}: no scan in this folder; expected DICOM files, or files ending in "
            f"{', '.join(suffix for suffix in VOLUME_SUFFIXES if suffix not in DICOM_SUFFIXES)}{aside}"
        )
    return found


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number > 1 else name


def _holds_images(folder: Path) -> bool:
    """Whether a folder called images/ holds one file or folder per case, not the slices of a DICOM series."""
    children = [child for child in folder.iterdir() if not child.name.startswith(".")] if folder.is_dir() else []
    return bool(children) and not any(child.is_file() and is_dicom(child) for child in children)


def _add_listed(found: ScanList, path: Path, view: View, channels: Sequence[str]) -> None:
    cases, found.refused, found.of_other_view = list_cases(path, view, with_labels=False)
    if channels:
        listed, cases = cases, []
        for patient in dict.fromkeys(case.patient for case in listed):
            try:
                cases += join_channels([case for case in listed if case.patient == patient], channels)
            except ValueError as error:
                found.refused.setdefault(patient, str(error))
    for case in cases:
        series = _series_of_row(case)
        found.add(replace(case, labels=(), keypoints=()), series)
        if series is not None:
            _note_other_views(found, found.cases[-1].case, series, view)


def _series_of_row(case: Case) -> Series | None:
    """The DICOM series of a row, if it is one of one channel."""
    if len(case.images) != 1 or not case.images[0].is_dir():
        return None
    try:
        return find_series(case.images[0], case.series)
    except ValueError:
        return None  # the reason to refuse it, once it is read


def _add_files(found: ScanList, root: Path, view: View) -> None:
    below = walk(root)
    listing = list_series(below.files)
    found.left_aside = {**below.left_aside, **listing.left_aside}
    for file in listing.other:
        if _suffix(file):
            found.add(_case_of_file(root, file))
        else:
            found.left_aside[file] = _why_not_read(file)
    lost = _lost_parts(root, listing)
    for item, case in _cases_of_series(root, listing.series):
        if isinstance(case, Path):
            found.refused[_name(root, case)] = (
                f"{case}: holds the series of several studies side by side, which may be of several persons; "
                "give each study a folder of its own"
            )
        elif item in lost:
            found.refused[case.case] = lost[item]
        else:
            found.add(case, item)
            _note_other_views(found, found.cases[-1].case, item, view)
    for file, reason in listing.corrupt.items():
        suspects = listing.suspects(file)
        if not suspects:  # all of a folder, often
            found.refused.setdefault(_name(root, file.parent), reason)
        elif len(suspects) > 1:
            found.refused[str(file.relative_to(root))] = reason
            for name in [name for name, series in found.series.items() if series in suspects]:
                found.notes.setdefault(name, []).append(
                    f"{file.name} beside its slices cannot be read; one may be lost"
                )


def _lost_parts(root: Path, listing: Listing) -> Mapping[Series, str]:
    """Series that a corrupt file takes with it: the only ones that it can be a part of."""
    return {
        listing.suspects(file)[0]: reason
        for file, reason in listing.corrupt.items()
        if len(listing.suspects(file)) == 1
    }


def _note_other_views(found: ScanList, name: str, series: Series, view: View) -> None:
    try:
        _, told = find_blocks(Path(name), series, view)
    except ValueError:
        return  # the reason to refuse it, once it is read
    if told:
        found.notes.setdefault(name, []).append(f"left aside: {', '.join(told)}")


def _why_not_read(file: Path) -> str:
    name = file.name.lower()
    if not file.stat().st_size:
        return "is empty: copying it may have been interrupted"
    if name.endswith(PICTURE_SUFFIXES):
        return "is not read: a picture says neither how large a pixel is nor where left is; list it in a cohort.csv"
    if name.endswith(OTHER_SUFFIXES):
        return "is not read: this format of images is not; convert it to .nii.gz"
    return "is no image by itself"


def _suffix(path: Path) -> str:
    """The suffix of a volume of a format that is no DICOM, which is looked for by content; "" for anything else."""
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix) and suffix not in DICOM_SUFFIXES), "")


def _stem(path: Path) -> str:
    suffix = next((suffix for suffix in VOLUME_SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def _case_of_file(root: Path, file: Path) -> Case:
    parts = (*file.relative_to(root).parts[:-1], _stem(file))
    # anna/anna_L4-5.nii.gz is anna_L4-5
    named = [part for part, after in zip(parts, (*parts[1:], ""), strict=True) if not after.startswith(part)]
    return Case(case="_".join(named), patient=parts[0], images=(file,), row={})


def _cases_of_series(root: Path, found: Sequence[Series]) -> Iterator[tuple[Series, Case | Path]]:
    """The scan that each series is, or, where studies lie side by side, the folder that holds them."""
    folders = [_folder(item) for item in found]
    names = [item.study or str(folder) for item, folder in zip(found, folders, strict=True)]
    studies: dict[str, Path] = {}  # the folder that holds all of a study
    for name, folder in zip(names, folders, strict=True):
        studies[name] = Path(commonpath([studies.get(name, folder), folder]))
    in_folder = Counter(studies.values())
    tops = Counter(_top(root, folder) for folder in studies.values())
    for item, folder, name in zip(found, folders, names, strict=True):
        study = studies[name]
        if in_folder[study] > 1:
            yield item, study
            continue
        beside = [each for each, place in zip(found, folders, strict=True) if place == folder]
        same_number = sum(each.number == item.number for each in beside) > 1
        number = f"_{item.uid if same_number or not item.number else item.number}" if len(beside) > 1 else ""
        case = Case(
            case=_name(root, folder) + number,
            patient=_top(root, study) if tops[_top(root, study)] == 1 else _name(root, study),
            images=(folder,),
            series=item.uid,
            row={},
        )
        yield item, case


def _folder(series: Series) -> Path:
    """The innermost folder that holds all files."""
    return Path(commonpath([file.path.parent for file in series.files]))


def _top(root: Path, folder: Path) -> str:
    """The child of the root that a folder lies in."""
    return next(iter(folder.relative_to(root).parts), root.resolve().name)


def _name(root: Path, folder: Path) -> str:
    return "_".join(folder.relative_to(root).parts) or root.resolve().name
