"""Mean shapes of vertebrae and discs as ellipses, placed by key points."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from models.blocks.spine_column import down_the_spine


class Column(NamedTuple):
    """Key points that are structures, from head to foot.

    Attributes:
        names: Of the structures.
        points: Place of each in the key points.
        classes: Class of each in the mask.
        is_vertebra: Which are no discs.
    """

    names: list[str]
    points: list[int]
    classes: list[int]
    is_vertebra: list[bool]


def column_of(structures: Sequence[str], keypoints: Sequence[str], series: Mapping[str, Sequence[str]]) -> Column:
    """The column that an anatomy names; the disc of a position lies below the vertebra of that position.

    Raises:
        ValueError: If fewer than two key points are structures of a series: nothing says which way the spine runs.
    """
    names = [name for name in down_the_spine(series) if name in keypoints and name in structures]
    if len(names) < 2:
        raise ValueError(
            f"weak labels are ellipses along the spine, but of the key points {', '.join(keypoints) or '(none)'} fewer "
            "than two are vertebrae or discs (series of the anatomy); choose anatomy=sagittal10"
        )
    return Column(
        names,
        [list(keypoints).index(name) for name in names],
        [list(structures).index(name) + 1 for name in names],
        [name in series.get("vertebra", ()) for name in names],
    )


class Frames(NamedTuple):
    """Where a structure lies, how it is turned, and how large a step of the column is there.

    Attributes:
        origin: Of each, (x, y) in mm.
        along: Unit vector along the spine, from head to foot.
        step_mm: Distance from one key point of the column to the next.
        known: False where a key point cannot be seen, or has no neighbour that can.
    """

    origin: Float[Tensor, "b k 2"]
    along: Float[Tensor, "b k 2"]
    step_mm: Float[Tensor, "b k"]
    known: Bool[Tensor, "b k"]


def frames_of(points_mm: Float[Tensor, "b k 2"]) -> Frames:
    """Frames by the nearest neighbours above and below that can be seen; by one of them at an end.

    Args:
        points_mm: Key points from head to foot, (x, y) in mm, NaN where they cannot be seen.
    """
    seen = points_mm.isfinite().all(dim=2)
    place = torch.arange(seen.shape[1], device=seen.device).expand_as(seen)
    last = place.masked_fill(~seen, -1).cummax(dim=1).values
    above = torch.cat([torch.full_like(last[:, :1], -1), last[:, :-1]], dim=1)
    following = place.masked_fill(~seen, seen.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    below = torch.cat([following[:, 1:], torch.full_like(following[:, :1], seen.shape[1])], dim=1)
    above, below = torch.where(above < 0, place, above), torch.where(below == seen.shape[1], place, below)
    origin = points_mm.nan_to_num()
    way = at(origin, below) - at(origin, above)
    length, steps = way.norm(dim=2), (below - above).clamp(min=1)
    known = seen & (below > above) & (length > 0)
    along = way / length.clamp(min=torch.finfo(length.dtype).tiny)[..., None]
    return Frames(origin, along, length / steps, known)


def at(points: Float[Tensor, "b k 2"], places: Int[Tensor, "b k"]) -> Float[Tensor, "b k 2"]:
    """The points at the given places of their row."""
    return points.gather(1, places[..., None].expand(-1, -1, 2))


def own_coordinates(
    frames: Frames, size: Sequence[int], spacing_mm: Float[Tensor, "b 2"]
) -> Float[Tensor, "b k h w 2"]:
    """Of every pixel, (along the spine, across it) from each structure's key point, in steps of the column."""
    rows, columns = (torch.arange(length, device=spacing_mm.device) for length in size)
    down = rows[None, None, :, None] * spacing_mm[:, 0, None, None, None] - frames.origin[..., 1, None, None]
    right = columns[None, None, None, :] * spacing_mm[:, 1, None, None, None] - frames.origin[..., 0, None, None]
    x, y = (frames.along[..., axis, None, None] for axis in (0, 1))
    step = frames.step_mm.clamp(min=torch.finfo(frames.step_mm.dtype).tiny)[..., None, None]
    return torch.stack([(right * x + down * y) / step, (down * x - right * y) / step], dim=-1)


def mean_shapes(
    masks: Integer[Tensor, "s h w"],
    points: Float[Tensor, "s k 2"],
    classes: Sequence[int],
    spacing_mm: Float[Tensor, " 2"],
) -> Float[Tensor, "k 2 2"]:
    """Second moments about the key point of each structure's pixels, in its own coordinates; NaN where none is drawn.

    Args:
        masks: Class of every pixel.
        points: (x, y) in pixels, from head to foot; NaN where they cannot be seen.
        classes: Class of each structure.
        spacing_mm: Size of a pixel, (row, column).
    """
    total = torch.zeros(len(classes), 2, 2)
    count = torch.zeros(len(classes))
    for mask, seen in zip(masks, points, strict=True):
        frames = frames_of(seen[None] * spacing_mm.flip(0))
        place = own_coordinates(frames, mask.shape, spacing_mm[None])[0]
        for number, label in enumerate(classes):
            if frames.known[0, number] and bool((drawn := mask == label).any()):
                inside = place[number][drawn]
                total[number] += inside.T @ inside / len(inside)
                count[number] += 1
    return total / count.clamp(min=1)[:, None, None] + torch.where(count > 0, 0.0, torch.nan)[:, None, None]


def radii(
    points_mm: Float[Tensor, "b k 2"],
    shapes: Float[Tensor, "k 2 2"],
    size: Sequence[int],
    spacing_mm: Float[Tensor, "b 2"],
) -> Float[Tensor, "b k h w"]:
    """How far out every pixel lies, in half-axes of each structure's ellipse: 1 on its border; infinite if unknown.

    A filled ellipse has second moments of a quarter of its squared half-axes.
    """
    frames = frames_of(points_mm)
    place = own_coordinates(frames, size, spacing_mm)
    squared = torch.einsum("bkhwi,kij,bkhwj->bkhw", place, torch.linalg.inv(shapes), place) / 4
    return squared.sqrt().masked_fill(~frames.known[..., None, None], torch.inf)
