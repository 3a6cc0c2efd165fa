"""Reads one image file with SimpleITK, after making sure that the file is whole and its geometry is valid."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float64, Shaped

from datamodules.nifti import NiftiFile, is_orthonormal, read_nifti_file

# Formats that know neither the size of a pixel nor the patient's sides.
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".dcm", ".ima")


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """Voxels and geometry as a file states them, in SimpleITK's conventions.

    Attributes:
        voxels: Values; the last axis is the file's first (x).
        spacing_mm: Distance of voxel centres along (x, y, z).
        origin_mm: Place of the first voxel in patient coordinates (left, posterior, superior positive).
        direction: Column i is the direction of file axis i.
        has_spacing: Whether the file states how large a pixel is.
        has_orientation: Whether the file states where the patient's sides are.
    """

    voxels: Shaped[np.ndarray, "z y x"]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: Float64[np.ndarray, "3 3"]
    has_spacing: bool = True
    has_orientation: bool = True


def read_image_file(path: Path) -> ImageFile:
    """Reads a 2-D or 3-D image with one number per pixel.

    Raises:
        ValueError: If the file is missing, truncated or corrupt, not 2-D or 3-D, has several numbers per pixel, a
            spacing that is not positive, or axes that are not perpendicular.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; correct the path or copy the file there")
    header = check_whole(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise ValueError(_not_orthonormal(path)) from None
        raise ValueError(f"{path}: cannot be read, it may be corrupt or truncated; copy or convert it anew") from error
    return _as_image_file(path, image, header)


def _as_image_file(path: Path, image: sitk.Image, header: NiftiFile | None) -> ImageFile:
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise ValueError(
            f"{path}: has {image.GetNumberOfComponentsPerPixel()} numbers per pixel (colours or a palette), expected "
            "one; save it as a grey image, or one file per channel separated by ';' in the column image"
        )
    dimensions, size = image.GetDimension(), image.GetSize()
    if dimensions > 3 and all(number == 1 for number in size[3:]):
        image = sitk.Extract(image, [*size[:3], *[0] * (dimensions - 3)])
    elif dimensions > 3:
        raise ValueError(
            f"{path}: has {dimensions} axes of {list(size)} voxels, expected 2 or 3; save one file per channel and "
            "name them in the column image, separated by ';'"
        )
    is_flat = dimensions == 2
    if is_flat:
        image = sitk.JoinSeries(image)
    spacing, direction = image.GetSpacing(), np.array(image.GetDirection(), np.float64).reshape(3, 3)
    check_geometry(path, spacing, direction)
    return ImageFile(
        voxels=sitk.GetArrayFromImage(image),
        spacing_mm=spacing,
        origin_mm=image.GetOrigin(),
        direction=direction,
        has_spacing=not path.name.lower().endswith(PICTURE_SUFFIXES),
        has_orientation=not is_flat and (header is None or header.has_orientation),
    )


def write_image_file(path: Path, file: ImageFile) -> None:
    """Writes voxels with their geometry in the format of the path's suffix, compressed; a flat image as one slice."""
    image = sitk.GetImageFromArray(file.voxels)
    image.SetSpacing(file.spacing_mm)
    image.SetOrigin(file.origin_mm)
    image.SetDirection(file.direction.ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


def check_geometry(path: Path, spacing_mm: tuple[float, ...], direction: Float64[np.ndarray, "3 3"]) -> None:
    """Refuses spacings that are not positive and axes that are not perpendicular unit vectors.

    Raises:
        ValueError: As said.
    """
    if not (np.isfinite(spacing_mm).all() and min(spacing_mm) > 0):
        raise ValueError(f"{path}: spacing is {spacing_mm} mm, expected positive numbers; correct the header")
    if not is_orthonormal(direction):
        raise ValueError(_not_orthonormal(path))


def not_finite(path: Path, count: int) -> str:
    """Message for NaN."""
    return f"{path}: {count} voxels are NaN or infinite; export the image anew, or replace them by numbers"


def _not_orthonormal(path: Path) -> str:
    return (
        f"{path}: the direction in the header is not orthonormal (axes sheared or not of length 1), so its pixels are "
        "no rectangles; resample the image onto perpendicular axes, or correct the header"
    )


def check_whole(path: Path) -> NiftiFile | None:
    """Refuses a truncated or corrupt file; SimpleITK does so only in part.

    Returns:
        What it says of itself, if the file is a NIfTI.

    Raises:
        ValueError: If compressed content fails its check sum, there are fewer bytes than the header promises, voxels
            are NaN, or axes are sheared.
    """
    name = path.name.lower()
    if name.endswith((".hdr", ".img", ".img.gz")):
        raise ValueError(f"{path}: images of two files (.hdr, .img) are not read; convert it to .nii.gz")
    content = path.read_bytes()
    remedy = "copy or export the file anew"
    try:
        if name.endswith(".gz"):
            content = gzip.decompress(content)
        elif name.endswith((".mha", ".nrrd")):
            _check_stream(content, b"ElementDataFile = LOCAL\n" if name.endswith(".mha") else b"\n\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: is truncated or corrupt ({error}); {remedy}") from None
    if not name.endswith((".nii", ".nii.gz")):
        return None
    header = read_nifti_file(content)
    if header is None:
        raise ValueError(f"{path}: does not start with a NIfTI header; {remedy}")
    if len(content) < header.num_bytes:
        raise ValueError(
            f"{path}: is truncated: {len(content)} bytes where its header promises {header.num_bytes}; {remedy}"
        )
    if header.num_not_finite:
        raise ValueError(not_finite(path, header.num_not_finite))
    if not header.is_orthonormal:
        raise ValueError(_not_orthonormal(path))
    return header


def _check_stream(content: bytes, separator: bytes) -> None:
    """Checks the sums of compressed data behind the text header of a MetaImage or NRRD, if it is compressed."""
    text, _, data = content.partition(separator)
    if b"CompressedData = True" in text or b"encoding: gz" in text:
        stream = zlib.decompressobj(wbits=47)  # finds out whether it is zlib or gzip
        stream.decompress(data)
        if not stream.eof:
            raise EOFError("compressed data end too early")
