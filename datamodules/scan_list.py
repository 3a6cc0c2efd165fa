"""Finds the scans that somebody wants numbers of: a file, a DICOM series, or a folder of patients, without labels."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from os.path import commonpath
from pathlib import Path

from datamodules.anatomy import View
from datamodules.case_list import Case, read_cases
from datamodules.channels import join_channels
from datamodules.dicom_series import Series, is_dicom, series_in
from datamodules.image_file import VOLUME_SUFFIXES


def find_scans(path: Path, view: View, channels: Sequence[str] = ()) -> tuple[list[Case], dict[str, str]]:
    """The scans of a file or folder, and what was found but cannot be read, with the reason.

    * A folder with cohort.csv (or images/) is read as `datamodules.case_list.read_cases` does, labels left aside;
      `channels` are the contrasts in it that are joined as the channels of one scan.
    * A NIfTI, MHA or NRRD file is a scan. Its patient is the first folder below `path` that it lies in, or itself.
    * A DICOM series is a scan, wherever its files lie. Its patient is its study, which is of one person: named
      after the first folder below `path`, or, where that holds several studies, after the folders down to it.

    Raises:
        ValueError: If there is nothing at `path`, nothing that could be a scan, or two studies lie in one folder.
    """
    if not path.exists():
        raise ValueError(f"input={path}: there is no such file or folder; give a scan, or a folder of scans")
    if path.is_file():
        name = _stem(path)
        return [Case(case=name, patient=name, images=(path,), row={})], {}
    if (path / "cohort.csv").is_file() or (path / "images").is_dir():
        listed = read_cases(path, view)
        cases = join_channels(listed, channels) if channels else listed
        return [replace(case, labels=(), keypoints=()) for case in cases], {}
    files = [file for file in sorted(path.rglob("*")) if _is_volume(file)]
    cases = [_case_of_file(path, file) for file in files]
    found, unreadable = _dicom_series(path)
    cases += list(_cases_of_series(path, found))
    if not cases and not unreadable:
        raise ValueError(
            f"input={path}: no scan in this folder; expected DICOM files, or files ending in "
            f"{', '.join(suffix for suffix in VOLUME_SUFFIXES if suffix not in ('.dcm', '.ima'))}"
        )
    twice = [name for name, count in Counter(case.case for case in cases).items() if count > 1]
    if twice:
        raise ValueError(f"input={path}: two scans would be called {twice[0]}; rename one of them")
    return cases, unreadable


def _is_volume(path: Path) -> bool:
    """Whether a file is a volume of a format that is no DICOM, which is looked for by content."""
    name = path.name.lower()
    hidden = path.name.startswith(".")
    return path.is_file() and not hidden and _suffix(path) != "" and not name.endswith((".dcm", ".ima"))


def _suffix(path: Path) -> str:
    return next((suffix for suffix in VOLUME_SUFFIXES if path.name.lower().endswith(suffix)), "")


def _stem(path: Path) -> str:
    suffix = _suffix(path)
    return path.name[: len(path.name) - len(suffix)] if suffix else path.name


def _case_of_file(root: Path, file: Path) -> Case:
    parts = (*file.relative_to(root).parts[:-1], _stem(file))
    # anna/anna_L4-5.nii.gz is anna_L4-5
    named = [part for part, after in zip(parts, (*parts[1:], ""), strict=True) if not after.startswith(part)]
    return Case(case="_".join(named), patient=parts[0], images=(file,), row={})


def _dicom_series(root: Path) -> tuple[list[Series], dict[str, str]]:
    """Series below a folder, and what is wrong with each of its children that holds a corrupt file."""
    files: dict[Series, tuple[Path, ...]] = {}  # a series may lie in several folders
    unreadable: dict[str, str] = {}
    for child in sorted(root.iterdir()):
        if child.name.startswith(".") or child.name.upper() == "DICOMDIR" or _is_volume(child):
            continue
        try:
            for item in series_in(child) if is_dicom(child) else ():
                whole = replace(item, files=())
                files[whole] = (*files.get(whole, ()), *item.files)
        except ValueError as error:
            unreadable[child.name] = str(error)
    return [replace(item, files=found) for item, found in files.items()], unreadable


def _cases_of_series(root: Path, found: list[Series]) -> Iterator[Case]:
    folders = [_folder(root, item.files) for item in found]
    names = [item.study or str(folder) for item, folder in zip(found, folders, strict=True)]
    studies: dict[str, Path] = {}  # the folder that holds all of a study
    for name, folder in zip(names, folders, strict=True):
        studies[name] = Path(commonpath([studies.get(name, folder), folder]))
    for folder, count in Counter(studies.values()).items():
        if count > 1:
            raise ValueError(
                f"{folder}: holds the series of {count} studies side by side, which may be of several persons; give "
                "each study a folder of its own"
            )
    tops = Counter(_top(root, folder) for folder in studies.values())
    for item, folder, name in zip(found, folders, names, strict=True):
        study = studies[name]
        number = f"_{item.number or item.uid}" if folders.count(folder) > 1 else ""
        yield Case(
            case=_name(root, folder) + number,
            patient=_top(root, study) if tops[_top(root, study)] == 1 else _name(root, study),
            images=(folder,),
            series=item.uid,
            row={},
        )


def _folder(root: Path, files: tuple[Path, ...]) -> Path:
    """The innermost folder that holds all files."""
    return Path(commonpath([root / file.parent for file in files]))


def _top(root: Path, folder: Path) -> str:
    """The child of the root that a folder lies in."""
    return next(iter(folder.relative_to(root).parts), root.resolve().name)


def _name(root: Path, folder: Path) -> str:
    return "_".join(folder.relative_to(root).parts) or root.resolve().name
