"""Checks NIfTI files for what SimpleITK passes over in silence.

It fills what is missing of a truncated file with zeros, turns NaN into 0, takes a pixel without size for 1 mm, and
reads a file without orientation, with sheared axes, or with orientations that disagree, as if all were well.
"""

import struct
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float64

ORTHONORMAL_TOLERANCE = 1e-3
AGREEMENT_PX = 0.1  # what two statements about one grid may differ by, anywhere in the image
SQUARE_PRECISION = 2.0**-23  # of b^2 + c^2 + d^2, of a quaternion kept as three numbers of 32 bits
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # NIfTI counts towards right and anterior, DICOM towards left and posterior

HEADER_BYTES, SECOND_HEADER_BYTES = 348, 540  # of NIfTI-1 and NIfTI-2; each begins with its own length
# Format and offset of the fields of NIfTI-1.
LAYOUT = {
    **{"size": ("8h", 40), "type": ("2h", 70), "pixdim": ("8f", 76), "start": ("f", 108), "scale": ("2f", 112)},
    **{"codes": ("2h", 252), "quaternion": ("6f", 256), "affine": ("12f", 280)},
}
FLOAT_TYPES = {16: "f4", 64: "f8"}


@dataclass(frozen=True, kw_only=True)
class NiftiFile:
    """What a NIfTI file says of itself.

    Attributes:
        num_bytes: How long the uncompressed file has to be.
        size: Voxels along x, y and z; 1 along an axis that the file does not have.
        pixdim_mm: Size of a voxel along x, y and z as its header field pixdim says, whatever that is.
        forms: What it states about the place of its voxels, by field ("sform", "qform"): voxel indices (x, y, z, 1) to
            patient coordinates in DICOM's sense (left, posterior, superior positive), in mm.
        num_not_finite: Voxels that are NaN or infinite.
        turn_precision: Angle (radians) up to which its quaternion tells how axes are turned. Its first number is what
            the other three leave of 1, and of half a turn, as of every axial scan, nothing is left: 0.0007.
        scale: Slope and offset that its voxels are to be taken by.
    """

    num_bytes: int
    size: tuple[int, int, int]
    pixdim_mm: tuple[float, float, float]
    forms: dict[str, Float64[np.ndarray, "4 4"]]
    num_not_finite: int
    turn_precision: float = 0.0
    scale: tuple[float, float] = (0.0, 0.0)

    @property
    def first_form(self) -> Float64[np.ndarray, "4 4"] | None:
        """What it states first about the place of its voxels, each axis with a length; None if it states nothing."""
        return next((_without_flat_axes(self, form) for form in self.forms.values()), None)

    @property
    def has_spacing(self) -> bool:
        """Whether it says how large a voxel is, be it wrongly."""
        return bool(self.forms) or any(self.pixdim_mm[axis] != 0 for axis in self.long_axes)

    @property
    def long_axes(self) -> list[int]:
        """Axes of more than one voxel, along which there is a step to state."""
        return [axis for axis in range(3) if self.size[axis] > 1]

    @property
    def has_doubtful_scale(self) -> bool:
        """Whether a slope of 0 or no number says not to scale while there is an offset, which SimpleITK then adds."""
        slope, offset = self.scale
        return not (slope and np.isfinite(slope)) and bool(offset and np.isfinite(offset))

    @property
    def is_orthonormal(self) -> bool:
        """Whether the axes of its sform, where it has one of finite numbers, are perpendicular."""
        form = self.forms.get("sform")
        if form is None or not np.isfinite(form).all():
            return True
        axes = _without_flat_axes(self, form)[:3, :3]
        lengths = np.linalg.norm(axes, axis=0)
        return bool(lengths.min() > 0) and is_orthonormal(axes / lengths)


def read_nifti_file(content: bytes) -> NiftiFile | None:
    """Reads the header of an uncompressed NIfTI file and counts its NaN; None if there is no valid one."""
    for order in "<>":
        if len(content) >= HEADER_BYTES and struct.unpack_from(f"{order}i", content)[0] == HEADER_BYTES:
            fields = {name: struct.unpack_from(order + kind, content, at) for name, (kind, at) in LAYOUT.items()}
            num_axes, *sizes = fields["size"]
            if 1 <= num_axes <= 7 and min(sizes[:num_axes]) > 0 and np.isfinite(fields["start"][0]):
                return _describe(content, order, fields)
    return None


def is_second_version(content: bytes) -> bool:
    """Whether a file is NIfTI-2, which SimpleITK does not read."""
    return any(content[:4] == struct.pack(f"{order}i", SECOND_HEADER_BYTES) for order in "<>")


def _describe(content: bytes, order: str, fields: dict[str, tuple[Any, ...]]) -> NiftiFile:
    num_axes, *size = fields["size"]
    kind, bits = fields["type"]
    start = int(fields["start"][0])
    num_bytes = start + int(np.prod(size[:num_axes], dtype=np.int64)) * bits // 8
    num_not_finite = 0
    if kind in FLOAT_TYPES and len(content) >= num_bytes:
        voxels = np.frombuffer(content, order + FLOAT_TYPES[kind], (num_bytes - start) * 8 // bits, start)
        num_not_finite = int((~np.isfinite(voxels)).sum())
    x, y, z = (int(size[axis]) if axis < num_axes else 1 for axis in range(3))
    pixdim = np.array(fields["pixdim"], np.float64)
    forms, turn_precision = {}, 0.0
    if fields["codes"][1] > 0:
        forms["sform"] = TO_LPS @ np.vstack([np.reshape(fields["affine"], (3, 4)), [0, 0, 0, 1]])
    if fields["codes"][0] > 0:
        quaternion = np.array(fields["quaternion"], np.float64)
        forms["qform"] = TO_LPS @ _quaternion_form(quaternion, pixdim)
        first_squared = max(1 - float(quaternion[:3] @ quaternion[:3]), 0.0)
        turn_precision = 2 * (np.sqrt(first_squared + SQUARE_PRECISION) - np.sqrt(first_squared))
    return NiftiFile(
        num_bytes=num_bytes,
        size=(x, y, z),
        pixdim_mm=(float(pixdim[1]), float(pixdim[2]), float(pixdim[3])),
        forms=forms,
        num_not_finite=num_not_finite,
        turn_precision=float(turn_precision),
        scale=fields["scale"],
    )


def _quaternion_form(fields: Float64[np.ndarray, "6"], pixdim: Float64[np.ndarray, "8"]) -> Float64[np.ndarray, "4 4"]:
    """Voxel indices to places, from the quaternion (b, c, d), the offset, and pixdim with the third axis' sign."""
    b, c, d = fields[:3]
    a = np.sqrt(max(1 - b * b - c * c - d * d, 0.0))
    b, c, d = fields[:3] / max(np.sqrt(b * b + c * c + d * d), 1.0)
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    steps = pixdim[1:4] * [1, 1, -1 if pixdim[0] < 0 else 1]
    return np.vstack([np.column_stack([turn * steps, fields[3:]]), [0, 0, 0, 1]])


def contradiction(header: NiftiFile, read: Float64[np.ndarray, "4 4"] | None = None) -> str:
    """What a header states in two ways that do not agree within 0.1 pixel and what a quaternion can say.

    Returns "" if all of it agrees.

    Args:
        header: As read by `read_nifti_file`.
        read: Where the library that reads the voxels takes them to be, in the form of `NiftiFile.forms`; None if it
            was not asked.
    """
    if not header.has_spacing:
        return ""
    steps = [header.pixdim_mm[axis] for axis in header.long_axes]
    stated = {name: _without_flat_axes(header, form) for name, form in header.forms.items()}
    if not all(np.isfinite(step) and step > 0 for step in steps):
        by_form = "; ".join(f"its {name} says {_steps(form)} mm" for name, form in stated.items())
        return f"its pixdim says {_numbers(header.pixdim_mm)} mm, expected positive numbers" + (
            f"; {by_form}" if by_form else ""
        )
    for name, form in stated.items():
        if not np.isfinite(form).all():
            return f"its {name} holds NaN or infinite numbers"
    for name, form in stated.items():
        lengths = np.linalg.norm(form[:3, :3], axis=0)
        if any(
            not abs(lengths[axis] / header.pixdim_mm[axis] - 1) * (header.size[axis] - 1) <= AGREEMENT_PX
            for axis in header.long_axes
        ):
            return f"its pixdim says {_numbers(header.pixdim_mm)} mm, its {name} {_steps(form)} mm"
    if read is not None and stated:
        stated["reading by SimpleITK, which heeds its unit of length,"] = _without_flat_axes(header, read)
    (first, *others) = stated or [""]
    for other in others:
        apart = _apart_px(header, stated[first], stated[other])
        if not apart <= AGREEMENT_PX + header.turn_precision * _reach_px(header, stated[first]):
            return (
                f"its {first} and its {other} place the voxels up to {apart:.1f} pixels apart: "
                f"{_place(stated[first])}, and {_place(stated[other])}"
            )
    return ""


def _without_flat_axes(header: NiftiFile, form: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    """A form in which the axes of a single voxel, along which there is no step to agree on, have a length."""
    form = form.copy()
    for axis in range(3):
        if header.size[axis] == 1 and not np.linalg.norm(form[:3, axis]) > 0:
            others = form[:3, (axis + 1) % 3], form[:3, (axis + 2) % 3]
            normal = np.cross(*others)
            length = np.linalg.norm(normal)
            form[:3, axis] = normal / length if length > 0 else normal
    return form


def _apart_px(header: NiftiFile, one: Float64[np.ndarray, "4 4"], other: Float64[np.ndarray, "4 4"]) -> float:
    """How far the corners of a grid lie apart under two forms, in voxels of the first."""
    corners = np.array([(*index, 1) for index in product(*[(0, size - 1) for size in header.size])], np.float64)
    places = corners @ (other - one)[:3].T
    lengths = np.linalg.norm(one[:3, :3], axis=0)
    return float(np.abs(places @ one[:3, :3] / lengths**2).max()) if (lengths > 0).all() else np.inf


def _reach_px(header: NiftiFile, form: Float64[np.ndarray, "4 4"]) -> float:
    """Distance between opposite corners of a grid, in its shortest step."""
    lengths = np.linalg.norm(form[:3, :3], axis=0)
    diagonal = np.linalg.norm((np.array(header.size) - 1) * lengths)
    return float(diagonal / lengths.min()) if (lengths > 0).all() else 0.0


def _steps(form: Float64[np.ndarray, "4 4"]) -> str:
    return _numbers(np.linalg.norm(form[:3, :3], axis=0))


def _place(form: Float64[np.ndarray, "4 4"]) -> str:
    """The side towards which each file axis runs, and the place of the first voxel."""
    sides = "".join(
        ("LPS" if column[axis] > 0 else "RAI")[axis]
        for column in form[:3, :3].T
        for axis in [int(np.abs(column).argmax())]
    )
    return f"axes towards {sides} from ({_numbers(form[:3, 3], ', ')}) mm in steps of {_steps(form)} mm"


def _numbers(values: Any, separator: str = " x ") -> str:
    return separator.join(f"{value:.4g}" for value in values)


def is_orthonormal(direction: Float64[np.ndarray, "3 3"]) -> bool:
    """Whether the columns are perpendicular unit vectors, up to rounding."""
    return bool(np.allclose(direction.T @ direction, np.eye(3), rtol=0, atol=ORTHONORMAL_TOLERANCE))
