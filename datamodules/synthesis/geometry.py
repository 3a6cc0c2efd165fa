"""Where a picture lies in a body: field of view, offset, rotation, scale, elastic displacement, obliquity."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, exp, radians, sin, tan
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.random import Generator
from torch import Tensor

from datamodules.anatomy import View
from datamodules.augmentation.warp import SPLINE_SIGMA, Warp, check_folding, num_knots
from datamodules.synthesis.ranges import Number, Range, check_number, check_range, log_uniform, uniform

# Depths within the slice of the four places that a pixel of the picture is the mean of, in slice thicknesses.
DEPTHS = ((-0.375, 0.125), (0.375, -0.125))
OBLIQUE_KNOT_MM = 60.0


@dataclass(frozen=True, kw_only=True)
class GeometryRanges:
    """From which ranges the place of a picture is drawn.

    Attributes:
        field_mm: Field of view along its rows.
        field_aspect: Largest logarithm of columns over rows of the field.
        centre_share: Largest distance of the field's centre from that of the tissue map along (rows, columns), as a
            share of the field.
        rotate_degrees: Largest rotation to either side.
        log_scale: Largest logarithm of the magnification.
        elastic_sigma_mm: Smoothness of the elastic displacement, as in `AugmentationRanges`.
        elastic_magnitude_mm: Its largest possible value along each axis.
        slice_mm: Thickness of slices.
        oblique_degrees: Largest angle at which tissues pass through the slice: there, thick slices blur.
        flip_probability: Of a flip of the columns, by view. In an axial picture sides are swapped with it; a sagittal
            one is mirrored front to back and its structures keep their names.

    Raises:
        ValueError: If a range is impossible, or the elastic displacement could fold the picture.
    """

    field_mm: Range
    field_aspect: Number
    centre_share: Range
    rotate_degrees: Number
    log_scale: Number
    elastic_sigma_mm: Number
    elastic_magnitude_mm: Number
    slice_mm: Range
    oblique_degrees: Number
    flip_probability: Mapping[View, Number]

    def __post_init__(self) -> None:
        check_range("geometry.field_mm", self.field_mm, 10, 1000)
        check_number("geometry.field_aspect", self.field_aspect, 0, 1)
        check_range("geometry.centre_share", sorted(self.centre_share), 0, 0.5)
        check_number("geometry.rotate_degrees", self.rotate_degrees, 0, 180)
        check_number("geometry.log_scale", self.log_scale, 0, 1)
        check_range("geometry.slice_mm", self.slice_mm, 0, 20)
        check_number("geometry.oblique_degrees", self.oblique_degrees, 0, 60)
        for view, share in self.flip_probability.items():
            check_number(f"geometry.flip_probability.{view}", share, 0, 1)
        check_folding(
            sigma_mm=self.elastic_sigma_mm,
            magnitude_mm=self.elastic_magnitude_mm,
            largest_scale=exp(self.log_scale),
        )

    @property
    def knot_mm(self) -> float:
        """Distance of the knots of the elastic displacement."""
        return self.elastic_sigma_mm / SPLINE_SIGMA

    def draw(self, rng: Generator, view: View) -> dict[str, Any]:
        """The place of one picture.

        Returns:
            "field" (row, column) in mm, "linear" and "shift" (x, y) of `Warp` about the centres of field and map,
            "control" of the elastic displacement, "slope" of tissues through the slice, "flipped".
        """
        high = log_uniform(rng, self.field_mm)
        wide = high * exp(rng.uniform(-1, 1) * self.field_aspect)
        down, across = rng.uniform(-1, 1, 2) * self.centre_share * np.array([high, wide])
        angle, scale = radians(rng.uniform(-1, 1) * self.rotate_degrees), exp(rng.uniform(-1, 1) * self.log_scale)
        longest = self.field_mm[1] * exp(self.field_aspect)
        knots = num_knots(2, longest, self.knot_mm)
        slopes = num_knots(2, longest, OBLIQUE_KNOT_MM)
        thick = uniform(rng, self.slice_mm) * tan(radians(self.oblique_degrees))
        return {
            "field": (high, wide),
            "linear": ((cos(angle) / scale, sin(angle) / scale), (-sin(angle) / scale, cos(angle) / scale)),
            "shift": (across, down),
            "control": rng.uniform(-1, 1, (2, knots, knots)) * self.elastic_magnitude_mm,
            "slope": rng.uniform(-1, 1, (2, slopes, slopes)) * thick,
            "flipped": rng.random() < self.flip_probability.get(view, 0.0),
        }


@dataclass(frozen=True, kw_only=True)
class View2D:
    """Pixels of pictures of a batch, and the places of the maps that they show.

    Attributes:
        rows_mm: Rows from the centre of the field.
        columns_mm: Likewise.
        row: Row of the map, in its pixels, that every pixel shows; not a whole number.
        column: Likewise.
        in_field: Whether the pixel lies in the field of view.
    """

    rows_mm: Float[Tensor, "b h"]
    columns_mm: Float[Tensor, "b w"]
    row: Float[Tensor, "b h w"]
    column: Float[Tensor, "b h w"]
    in_field: Bool[Tensor, "b h w"]


def warp_of(
    place: Mapping[str, Tensor],
    size: tuple[int, int],
    spacing_mm: Float[Tensor, "b 2"],
    offset_mm: Float[Tensor, "b 2"],
    knot_mm: float,
) -> Warp:
    """The map from a grid to the same grid on the tissue map.

    Args:
        place: As drawn.
        size: Rows and columns of the grid.
        spacing_mm: Of its pixels, (row, column).
        offset_mm: Of its centre from those of field and map, (row, column).
        knot_mm: Distance of the knots of the elastic displacement.
    """
    linear, offset = place["linear"], offset_mm.flip(1)
    moved = torch.bmm(linear, offset[..., None])[..., 0]
    return Warp(
        linear=linear,
        shift_mm=moved + place["shift"] - offset,
        optical=linear.new_zeros(len(linear)),
        control_mm=place["control"],
        knot_mm=knot_mm,
        spacing_mm=spacing_mm,
        size=size,
    )


def seen_by(
    place: Mapping[str, Tensor],
    warp: Warp,
    offset_mm: Float[Tensor, "b 2"],
    native_size: Int[Tensor, "b 2"],
    native_mm: Float[Tensor, "b 2"],
) -> View2D:
    """What the pixels of a grid show of the maps; the arguments are those of `warp_of` and the maps' own."""
    (height, width), spacing = warp.size, warp.spacing_mm
    column, row = warp.source()
    first_mm = offset_mm - spacing * spacing.new_tensor([(height - 1) / 2, (width - 1) / 2])
    factor, start = spacing / native_mm, first_mm / native_mm + (native_size - 1) / 2
    row = torch.addcmul(start[:, 0, None, None], row, factor[:, 0, None, None])
    column = torch.addcmul(start[:, 1, None, None], column, factor[:, 1, None, None])
    rows_mm, columns_mm = (
        first_mm[:, axis, None] + spacing[:, axis, None] * torch.arange(length, device=spacing.device)
        for axis, length in enumerate(warp.size)
    )
    half = place["field"] / 2
    in_rows, in_columns = rows_mm.abs() <= half[:, :1], columns_mm.abs() <= half[:, 1:]
    return View2D(
        rows_mm=rows_mm,
        columns_mm=columns_mm,
        row=row,
        column=column,
        in_field=in_rows[:, :, None] & in_columns[:, None],
    )


def through_the_slice(view: View2D, slope: Float[Tensor, "b 2 i j"], native_mm: Float[Tensor, "b 2"]) -> View2D:
    """The same pixels, the four of every two by two at different depths of a slice that tissues pass at an angle."""
    shift = smooth(slope, view.rows_mm, view.columns_mm, OBLIQUE_KNOT_MM)
    height, width = view.row.shape[1:]
    depth = shift.new_tensor(DEPTHS).repeat(height // 2, width // 2)
    shift *= depth / native_mm[..., None, None]
    return View2D(
        rows_mm=view.rows_mm,
        columns_mm=view.columns_mm,
        row=view.row + shift[:, 0],
        column=view.column + shift[:, 1],
        in_field=view.in_field,
    )


def in_field(points: Float[Tensor, "b k 2"], view: View2D) -> Float[Tensor, "b k 2"]:
    """Points (x, y) in pixels, NaN where the field of view does not show them."""
    column, row = (points[..., axis].nan_to_num().round().long().clamp_min(0) for axis in (0, 1))
    height, width = view.in_field.shape[1:]
    index = row.clamp_max(height - 1) * width + column.clamp_max(width - 1)
    shown = view.in_field.flatten(1).gather(1, index)
    return points.masked_fill(~shown[..., None], torch.nan)


def smooth(
    control: Float[Tensor, "b c i j"], rows_mm: Float[Tensor, "b h"], columns_mm: Float[Tensor, "b w"], knot_mm: float
) -> Float[Tensor, "b c h w"]:
    """Cubic B-splines of coefficients on knots that are centred on the field; 0 far beyond them."""
    rows, columns = _weights(rows_mm, control.shape[2], knot_mm), _weights(columns_mm, control.shape[3], knot_mm).mT
    fields = [torch.bmm(torch.bmm(rows, control[:, number]), columns) for number in range(control.shape[1])]
    return torch.stack(fields, dim=1)


def _weights(positions_mm: Float[Tensor, "b p"], number: int, knot_mm: float) -> Float[Tensor, "b p q"]:
    knots = torch.arange(number, dtype=positions_mm.dtype, device=positions_mm.device) - (number - 1) / 2
    distance = (positions_mm[..., None] / knot_mm - knots).abs()
    return ((2 - distance).clamp_min(0) ** 3 - 4 * (1 - distance).clamp_min(0) ** 3) / 6
