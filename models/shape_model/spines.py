"""What a spine is to the shape models: a picture, the centres of its structures, and their contours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, UInt8

from models.shape_model.contours import Kind, inside, outline_mm, ring
from models.shape_model.profiles import Picture
from models.shape_model.spine_line import spine_line


@dataclass(frozen=True, kw_only=True)
class Spine:
    """An annotated slice; structures from head to foot.

    Attributes:
        picture: The slice.
        centres: (x, y) in mm from the centre of its first pixel; NaN where a structure is not there.
        contours: Points of `ring`, mm; NaN where a structure is not there or the picture cuts it.
    """

    picture: Picture
    centres: Float[np.ndarray, "n 2"]
    contours: Float[np.ndarray, "n p 2"]


@dataclass(frozen=True, kw_only=True)
class Structures:
    """Structures from head to foot.

    Attributes:
        names: What they are called.
        kinds: Vertebra or disc.
        classes: Their numbers in masks.
    """

    names: Sequence[str]
    kinds: Sequence[Kind]
    classes: Sequence[int]

    def spine(self, picture: Picture, mask: Integer[np.ndarray, "h w"], num_points: int) -> Spine:
        """An annotated slice as contours.

        Args:
            picture: The slice.
            mask: Class of every pixel.
            num_points: Of each contour.
        """
        outlines = [outline_mm(mask == number, picture.spacing_mm) for number in self.classes]
        centres = np.array([_middle(mask == number, picture.spacing_mm) for number in self.classes])
        tangents, _ = spine_line(centres)
        contours = np.full((len(self.names), num_points, 2), np.nan)
        for place, (outline, kind) in enumerate(zip(outlines, self.kinds, strict=True)):
            if outline is not None:
                contours[place] = ring(outline, kind, tangents[place], num_points)
        return Spine(picture=picture, centres=centres, contours=contours)

    def mask(self, contours: Float[np.ndarray, "n p 2"], shape: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
        """Contours as a mask: the vertebrae, then the discs where no vertebra is.

        Args:
            contours: (x, y) in pixels; NaN where a structure is not there.
            shape: Rows and columns of the picture.
        """
        mask = np.zeros(shape, np.uint8)
        for kind in ("vertebra", "disc"):
            for contour, own, number in zip(contours, self.kinds, self.classes, strict=True):
                if own == kind and np.isfinite(contour).all():
                    mask[inside(contour, shape) & (mask == 0)] = number
        return mask


def _middle(mask: np.ndarray, spacing_mm: tuple[float, float]) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return (columns.mean() * spacing_mm[1], rows.mean() * spacing_mm[0]) if len(rows) else (np.nan, np.nan)
