"""Reads one image file with SimpleITK, after making sure that the file is whole and its geometry is valid."""

import errno
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float64, Shaped

from datamodules.reading.header_text import states_geometry
from datamodules.reading.nifti import NiftiFile, contradiction, is_orthonormal, is_second_version, read_nifti_file
from datamodules.reading.picture_header import picture_doubt, what_else
from records.whole_files import naming

# Formats that know neither the size of a pixel nor the patient's sides.
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".dcm", ".ima")
OTHER_SUFFIXES = (".hdr", ".img", ".img.gz", ".mgz", ".mgh", ".par", ".rec", ".mnc", ".gipl", ".vtk")  # not looked for


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """Voxels and geometry as a file states them, in SimpleITK's conventions.

    Attributes:
        voxels: Values; the last axis is the file's first (x).
        spacing_mm: Distance of voxel centres along (x, y, z).
        origin_mm: Place of the first voxel in patient coordinates (left, posterior, superior positive).
        direction: Column i is the direction of file axis i.
        has_spacing: Whether the file states how large a voxel is.
        has_orientation: Whether the file states where the patient's sides are.
    """

    voxels: Shaped[np.ndarray, "z y x"]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: Float64[np.ndarray, "3 3"]
    has_spacing: bool = True
    has_orientation: bool = True


def read_image_file(path: Path) -> ImageFile:
    """Reads a 2-D or 3-D image with one real number per pixel.

    Raises:
        ValueError: If the file is missing, truncated or corrupt, not 2-D or 3-D, has several numbers per pixel or
            complex ones, a spacing that is not positive, an offset that is not finite, axes that are not
            perpendicular, or states one thing in two ways that contradict each other.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; correct the path or copy the file there")
    content = read_whole(path)
    header = _check_nifti(path, content) if path.name.lower().endswith((".nii", ".nii.gz")) else None
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise ValueError(_not_orthonormal(path)) from None
        raise ValueError(f"{path}: cannot be read, it may be corrupt or truncated; copy or convert it anew") from error
    is_flat = image.GetDimension() == 2
    image = _in_three_dimensions(path, image)
    if header is not None:
        return _with_header(path, image, header, is_flat=is_flat)
    has_spacing, has_orientation = states_geometry(path, content)
    return _as_image_file(path, image, has_spacing=has_spacing, has_orientation=has_orientation)


def _in_three_dimensions(path: Path, image: sitk.Image) -> sitk.Image:
    if "complex" in image.GetPixelIDTypeAsString():
        raise ValueError(f"{path}: has complex numbers as voxels, expected real ones; save the magnitude as an image")
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise ValueError(
            f"{path}: has {image.GetNumberOfComponentsPerPixel()} numbers per pixel (colours or a palette), expected "
            "one; save it as a grey image, or one file per channel separated by ';' in the column image"
        )
    dimensions, size = image.GetDimension(), image.GetSize()
    if dimensions > 3 and all(number == 1 for number in size[3:]):
        return sitk.Extract(image, [*size[:3], *[0] * (dimensions - 3)])
    if dimensions > 3:
        raise ValueError(
            f"{path}: has {dimensions} axes of {list(size)} voxels (a time series, or several images), expected 2 or "
            "3; save one file per channel and name them in the column image, separated by ';'"
        )
    return sitk.JoinSeries(image) if dimensions == 2 else image


def _with_header(path: Path, image: sitk.Image, header: NiftiFile, *, is_flat: bool) -> ImageFile:
    """A NIfTI image, whose header must agree with what SimpleITK made of it."""
    read = np.eye(4)
    read[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    read[:3, 3] = image.GetOrigin()
    _refuse_contradiction(path, contradiction(header, None if is_flat else read))
    form = header.first_form
    if is_flat and form is not None:  # of a 2-D file, SimpleITK leaves the third direction out
        lengths = np.linalg.norm(form[:3, :3], axis=0)
        image.SetOrigin(form[:3, 3].tolist())
        image.SetSpacing(lengths.tolist())
        image.SetDirection((form[:3, :3] / lengths).ravel().tolist())
    return _as_image_file(path, image, has_spacing=header.has_spacing, has_orientation=bool(header.forms))


def _as_image_file(path: Path, image: sitk.Image, *, has_spacing: bool, has_orientation: bool) -> ImageFile:
    spacing, direction = image.GetSpacing(), np.array(image.GetDirection(), np.float64).reshape(3, 3)
    check_geometry(path, spacing, direction, image.GetOrigin())
    return ImageFile(
        voxels=sitk.GetArrayFromImage(image),
        spacing_mm=spacing,
        origin_mm=image.GetOrigin(),
        direction=direction,
        has_spacing=has_spacing,
        has_orientation=has_orientation,
    )


def write_image_file(path: Path, file: ImageFile) -> None:
    """Writes voxels with their geometry in the format of the path's suffix, compressed; a flat image as one slice."""
    image = sitk.GetImageFromArray(file.voxels)
    image.SetSpacing(file.spacing_mm)
    image.SetOrigin(file.origin_mm)
    image.SetDirection(file.direction.ravel().tolist())
    write_whole(image, path)


def write_whole(image: sitk.Image, path: Path, *, level: int = -1) -> None:
    """Writes an image, compressed, and reads it back: ITK says nothing of a compressed file that a full disk cut off.

    Args:
        image: Of any pixel type.
        path: Its suffix is the format.
        level: Of the compression, 1 to 9; -1 for the format's own.

    Raises:
        OSError: If what lies there is not the image.
    """
    with naming(path):
        sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=level)
        found = sitk.ReadImage(str(path))  # kept: a view does not
        if not np.array_equal(sitk.GetArrayViewFromImage(found), sitk.GetArrayViewFromImage(image)):
            raise OSError(errno.EIO, "is not what was written, most often because the disk is full")


def check_geometry(
    path: Path,
    spacing_mm: tuple[float, ...],
    direction: Float64[np.ndarray, "3 3"],
    origin_mm: tuple[float, ...],
) -> None:
    """Refuses spacings that are not positive, offsets that are not finite, and axes that are not perpendicular.

    Raises:
        ValueError: As said.
    """
    if not (np.isfinite(spacing_mm).all() and min(spacing_mm) > 0):
        raise ValueError(f"{path}: spacing is {spacing_mm} mm, expected positive numbers; correct the header")
    if not np.isfinite(origin_mm).all():
        raise ValueError(f"{path}: offset is {origin_mm} mm, expected finite numbers; correct the header")
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


def read_whole(path: Path) -> bytes:
    """The uncompressed content of a file; a truncated or corrupt one is refused, which SimpleITK does only in part.

    Raises:
        ValueError: If compressed content fails its check sum.
    """
    name = path.name.lower()
    if name.endswith((".hdr", ".img", ".img.gz")):
        raise ValueError(f"{path}: images of two files (.hdr, .img) are not read; convert it to .nii.gz")
    if name.endswith((".mgz", ".mgh", ".par", ".rec")):
        raise ValueError(f"{path}: images of the format {path.suffix} are not read; convert it to .nii.gz")
    content = path.read_bytes()
    if not content:
        raise ValueError(f"{path}: is empty, copying it may have been interrupted; copy or export the file anew")
    if name.endswith(".nii.gz") and read_nifti_file(content) is not None:
        raise ValueError(f"{path}: is not compressed; rename it to {path.name[:-3]}")
    if kind := what_else(name, content):
        raise ValueError(f"{path}: is {kind} by its content, not what its name says; rename it, or convert it anew")
    if name.endswith(PICTURE_SUFFIXES) and (doubt := picture_doubt(content)):
        raise ValueError(f"{path}: {doubt}")
    try:
        if name.endswith(".gz"):
            return gzip.decompress(content)
        if name.endswith((".mha", ".nrrd")):
            _check_stream(content, b"ElementDataFile = LOCAL\n" if name.endswith(".mha") else b"\n\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: is truncated or corrupt ({error}); copy or export the file anew") from None
    return content


def _check_nifti(path: Path, content: bytes) -> NiftiFile:
    header = read_nifti_file(content)
    if is_second_version(content):
        raise ValueError(
            f"{path}: is a NIfTI-2 file, which is not read; save it as NIfTI-1 (in nibabel: "
            "nibabel.Nifti1Image(image.dataobj, image.affine), and save)"
        )
    if header is None:
        raise ValueError(f"{path}: does not start with a NIfTI header; copy or export the file anew")
    if len(content) < header.num_bytes:
        raise ValueError(
            f"{path}: is truncated: {len(content)} bytes where its header promises {header.num_bytes}; copy or export "
            "the file anew"
        )
    if header.num_not_finite:
        raise ValueError(not_finite(path, header.num_not_finite))
    if header.has_doubtful_scale:
        raise ValueError(
            f"{path}: its scl_slope of {header.scale[0]:g} says not to scale its values, its scl_inter of "
            f"{header.scale[1]:g} to shift them; write scl_inter 0, or the slope that is meant, or export it anew"
        )
    if not header.is_orthonormal:
        raise ValueError(_not_orthonormal(path))
    _refuse_contradiction(path, contradiction(header))
    return header


def _refuse_contradiction(path: Path, told: str) -> None:
    if told:
        raise ValueError(
            f"{path}: the header contradicts itself: {told}; export the image anew, or write what is right into all of "
            "its fields (in nibabel: image.set_qform(affine, 1); image.set_sform(affine, 1), and save)"
        )


def _check_stream(content: bytes, separator: bytes) -> None:
    """Checks the sums of compressed data behind the text header of a MetaImage or NRRD, if it is compressed."""
    text, _, data = content.partition(separator)
    if b"CompressedData = True" in text or b"encoding: gz" in text:
        stream = zlib.decompressobj(wbits=47)  # finds out whether it is zlib or gzip
        stream.decompress(data)
        if not stream.eof:
            raise EOFError("compressed data end too early")
