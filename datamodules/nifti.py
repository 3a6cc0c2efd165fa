"""Checks NIfTI files for what SimpleITK passes over in silence.

It fills what is missing of a truncated file with zeros, turns NaN into 0, and reads a file without orientation, or with
sheared axes beside a second orientation, as if all were well.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

ORTHONORMAL_TOLERANCE = 1e-3

# Format and offset of header fields by the size of the header (NIfTI-1 and NIfTI-2).
LAYOUTS = {
    348: {"size": ("8h", 40), "type": ("2h", 70), "start": ("f", 108), "codes": ("2h", 252), "affine": ("12f", 280)},
    540: {"size": ("8q", 16), "type": ("2h", 12), "start": ("q", 168), "codes": ("2i", 344), "affine": ("12d", 400)},
}
FLOAT_TYPES = {16: "f4", 64: "f8"}


@dataclass(frozen=True, kw_only=True)
class NiftiFile:
    """What a NIfTI file says of itself.

    Attributes:
        num_bytes: How long the uncompressed file has to be.
        has_orientation: Whether it states where the patient's sides are.
        is_orthonormal: Whether its axes are perpendicular.
        num_not_finite: Voxels that are NaN or infinite.
    """

    num_bytes: int
    has_orientation: bool
    is_orthonormal: bool
    num_not_finite: int


def read_nifti_file(content: bytes) -> NiftiFile | None:
    """Reads the header of an uncompressed NIfTI file and counts its NaN; None if there is no NIfTI header."""
    for order in "<>":
        size = struct.unpack_from(f"{order}i", content)[0] if len(content) >= 348 else 0
        if size in LAYOUTS and len(content) >= size:
            fields = {name: struct.unpack_from(order + kind, content, at) for name, (kind, at) in LAYOUTS[size].items()}
            return _describe(content, order, fields)
    return None


def _describe(content: bytes, order: str, fields: dict[str, tuple[Any, ...]]) -> NiftiFile:
    num_axes, *size = fields["size"]
    kind, bits = fields["type"]
    start = int(fields["start"][0])
    num_bytes = start + int(np.prod(size[:num_axes], dtype=np.int64)) * bits // 8
    num_not_finite = 0
    if kind in FLOAT_TYPES and len(content) >= num_bytes:
        voxels = np.frombuffer(content, order + FLOAT_TYPES[kind], (num_bytes - start) * 8 // bits, start)
        num_not_finite = int((~np.isfinite(voxels)).sum())
    has_sform = fields["codes"][1] > 0 and num_axes >= 3
    return NiftiFile(
        num_bytes=num_bytes,
        has_orientation=any(code > 0 for code in fields["codes"]),
        is_orthonormal=not has_sform or _is_orthonormal(np.array(fields["affine"], np.float64).reshape(3, 4)[:, :3]),
        num_not_finite=num_not_finite,
    )


def _is_orthonormal(axes: Float64[np.ndarray, "3 3"]) -> bool:
    lengths = np.linalg.norm(axes, axis=0)
    if not (np.isfinite(axes).all() and lengths.min() > 0):
        return False
    return is_orthonormal(axes / lengths)


def is_orthonormal(direction: Float64[np.ndarray, "3 3"]) -> bool:
    """Whether the columns are perpendicular unit vectors, up to rounding."""
    return bool(np.allclose(direction.T @ direction, np.eye(3), rtol=0, atol=ORTHONORMAL_TOLERANCE))
