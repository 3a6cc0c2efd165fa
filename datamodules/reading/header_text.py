"""What the text headers of MetaImage and NRRD files state of their geometry; SimpleITK makes up what they leave out."""

import re
from math import isfinite
from pathlib import Path

# Spaces whose axes are the patient's; "scanner-xyz" and "3D-right-handed" say nothing of left and right.
PATIENT_SPACES = {
    *("right-anterior-superior", "left-anterior-superior", "left-posterior-superior"),
    *("ras", "las", "lps"),
}
OFFSETS, AXES = ("offset", "position", "origin"), ("transformmatrix", "rotation", "orientation")  # of a MetaImage


def states_geometry(path: Path, content: bytes) -> tuple[bool, bool]:
    """Whether a file that is no NIfTI states the spacing of its voxels, and where the patient's sides are.

    Args:
        path: Says the format by its suffix; one that is neither MetaImage nor NRRD states nothing.
        content: Of the file; of a header whose voxels lie in another file (.mhd, .nhdr), that of the header.

    Raises:
        ValueError: If the geometry of a MetaImage holds what is no number: SimpleITK takes it for 0.
    """
    name = path.name.lower()
    if name.endswith((".mha", ".mhd")):
        fields = _fields(content, rb"\nElementDataFile", "=")
        for key in (*OFFSETS, *AXES, "elementspacing"):
            if not all(_is_number(word) for word in fields.get(key, "").split()):
                raise ValueError(f"{path}: {key} is {fields[key]!r}, expected finite numbers; correct the header")
        return _of_metaimage(fields)
    if name.endswith((".nrrd", ".nhdr")):
        return _of_nrrd(_fields(content, rb"\r?\n\r?\n", ":"))
    return False, False


def _fields(content: bytes, end: bytes, separator: str) -> dict[str, str]:
    text = re.split(end, content, maxsplit=1)[0].decode("latin-1")
    pairs = (line.partition(separator) for line in text.splitlines() if not line.startswith("#"))
    return {key.strip().lower(): value.strip() for key, _, value in pairs if value.strip()}


def _is_number(word: str) -> bool:
    try:
        return isfinite(float(word))
    except ValueError:
        return False


def _of_metaimage(fields: dict[str, str]) -> tuple[bool, bool]:
    is_volume = fields.get("ndims") != "2"
    has_axes = any(name in fields for name in AXES)
    return "elementspacing" in fields, has_axes and is_volume


def _of_nrrd(fields: dict[str, str]) -> tuple[bool, bool]:
    has_axes = "space directions" in fields
    spacings = fields.get("spacings", "nan").lower().split()
    named = fields.get("space", "").lower().removesuffix("-time").removesuffix("t")
    is_volume = fields.get("dimension") != "2"
    return has_axes or "nan" not in spacings, has_axes and is_volume and named in PATIENT_SPACES
