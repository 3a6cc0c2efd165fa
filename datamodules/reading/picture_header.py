"""What the headers of pictures say and SimpleITK passes over, and what a file is by its content."""

import io

from PIL import Image, UnidentifiedImageError

ORIENTATION, PHOTOMETRIC = 0x0112, 262  # tags of EXIF and TIFF
# How files begin, and what they are.
SIGNATURES = {
    b"\x89PNG": ("a PNG picture", (".png",)),
    b"\xff\xd8\xff": ("a JPEG picture", (".jpg", ".jpeg")),
    b"II*\0": ("a TIFF picture", (".tif", ".tiff")),
    b"MM\0*": ("a TIFF picture", (".tif", ".tiff")),
    b"BM": ("a BMP picture", (".bmp",)),
    b"\x1f\x8b": ("compressed by gzip", (".gz",)),
    b"PK\3\4": ("a zip archive", (".zip",)),
    b"NRRD": ("an NRRD image", (".nrrd", ".nhdr")),
    b"<!DOCTYPE": ("a web page", (".html",)),
    b"version https://git-lfs": ("a pointer of Git LFS, whose file was not fetched (git lfs pull)", ()),
}


def what_else(name: str, content: bytes) -> str:
    """What a file is by its content, "" where its name says the same or nothing is known.

    Args:
        name: Of the file, in small letters.
        content: Of the file, or its beginning.
    """
    for start, (kind, suffixes) in SIGNATURES.items():
        if content.startswith(start):
            return "" if name.endswith(suffixes) else kind
    return "a DICOM file" if content[128:132] == b"DICM" and not name.endswith((".dcm", ".ima")) else ""


def picture_doubt(content: bytes) -> str:
    """What is wrong with a picture as one of grey values that are to be taken as they lie; "" where nothing is."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            turned = picture.getexif().get(ORIENTATION, 1)
            if turned != 1:
                return f"is to be shown turned or mirrored (its orientation is {turned}); save it as it is to be seen"
            tags = getattr(picture, "tag_v2", {})
            if tags.get(PHOTOMETRIC) == 0:
                return "has inverted grey values (0 is white); save it with black as 0"
            if picture.mode in ("LA", "PA") or "transparency" in picture.info:
                return "has transparency; save it as a grey image without"
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return ""  # the reader of its pixels says what is wrong
    return ""
