"""Heights, depth, wedge and lordosis of vertebral bodies and discs on a sagittal slice, from their masks alone.

A body or disc is turned until the mean direction of its two endplates is level. Then

* *depth* is the distance between its foremost and its rearmost point;
* *anterior, middle and posterior height* are distances between its upper and lower outline in front, in the middle and
  at the back, as in six-point morphometry (Chou and Vokes 2015); ours: means over 10 to 20, 40 to 60 and 80 to 90 % of
  the depth, because the corners of a mask are round;
* an *endplate* is the straight line through the outline between 10 and 90 % of the depth, by the median of slopes
  (Theil-Sen), which an osteophyte or a spur of the mask does not turn;
* the *wedge* is the angle between its endplates, positive where it is taller in front;
* the *disc height* is that in the middle; the *disc height index* is its share of the middle height of the vertebra
  above (Chen 2022 divides by the mean of both neighbours; ours: by the upper one, since the sacrum has no label);
* the *lordosis* is the angle between the upper endplate of the first vertebra and the lower outline of the last disc,
  which is the upper endplate of the sacrum: the method of Cobb, L1 to S1. Where no discs are labelled, it ends at the
  lower endplate of the last vertebra, another and smaller angle; the column `level` says between what it was measured.

The signs are such that lordosis is the sum of the wedges on the way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Bool, Float, Integer

from metrics.cases import Row
from metrics.outline import area_mm2, chords, outline_mm

SPINE_MEASURES = (
    *("anterior_height_mm", "middle_height_mm", "posterior_height_mm", "depth_mm", "wedge_degrees"),
    *("disc_height_mm", "disc_height_index", "lordosis_degrees"),
)
SMALLEST_MM2 = 30.0  # ours: a fifth of a worn disc; from less, nobody reads an angle
ENDPLATE = np.linspace(0.1, 0.9, 17)  # of the depth, from the front; so are the bands
PAIRS = np.triu_indices(len(ENDPLATE), k=1)  # of its points, every two of which have a slope
FRONT, MIDDLE, BACK = np.linspace(0.1, 0.2, 5), np.linspace(0.4, 0.6, 5), np.linspace(0.8, 0.9, 5)
LEVEL_DEGREES = 0.05  # how exactly a body is made level
MOST_TURNS = 10
# Tilts that a structure is first tried at. A vertebra is nearly square: beyond 45 degrees its walls would be endplates.
VERTEBRA_TILTS, DISC_TILTS = np.arange(-44.0, 45.0, 4.0), np.arange(-80.0, 81.0, 4.0)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of one vertebral body or disc; tilts in degrees, positive where the front is lower."""

    anterior_height_mm: float
    middle_height_mm: float
    posterior_height_mm: float
    depth_mm: float
    upper_tilt_degrees: float
    lower_tilt_degrees: float

    @property
    def wedge_degrees(self) -> float:
        """Angle between the endplates, positive where the front is taller."""
        return self.lower_tilt_degrees - self.upper_tilt_degrees


def measure_spine(
    mask: Integer[np.ndarray, "h w"],
    structures: Sequence[str],
    labelled: Bool[np.ndarray, " c"],
    series: Mapping[str, Sequence[str]],
    spacing_mm: tuple[float, float],
) -> list[Row]:
    """Measures every vertebra and disc of a slice; a row per structure, and one called `lumbar`.

    Each row has `level`, `structure`, `side` and SPINE_MEASURES; NaN where a measure does not apply, or its structure
    is absent, too small or cut off by the edge of the image. Structures that nobody drew in this case have no row.

    Args:
        mask: Class index of every pixel, 0 is background; the front of the body on the left, its head above.
        structures: Names of the classes 1..n.
        labelled: Which classes the annotator drew; column 0 is background.
        series: Vertebrae and discs, if any, from head to foot; the disc of a position lies below the vertebra of that
            position.
        spacing_mm: Size of a pixel, (row, column).
    """
    index = {name: number for number, name in enumerate(structures, start=1) if labelled[number]}
    vertebrae, discs = ([name for name in series.get(kind, ()) if name in index] for kind in ("vertebra", "disc"))
    shapes = {
        name: measure_shape(mask == index[name], spacing_mm, is_disc=name in discs) for name in (*vertebrae, *discs)
    }
    above = dict(zip(series.get("disc", ()), series.get("vertebra", ()), strict=False))
    rows = [_row(name, _vertebra(shapes[name])) for name in vertebrae]
    rows += [_row(name, _disc(shapes[name], shapes.get(above.get(name, "")))) for name in discs]
    if vertebrae and (ends := (vertebrae[0], (discs or vertebrae)[-1])) == _ends(series, has_discs=bool(discs)):
        rows.append(_lumbar(*ends, shapes))
    return rows


def measure_shape(mask: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float], *, is_disc: bool) -> Shape | None:
    """Measures one structure; None where it is absent, too small or cut off by the edge of the image.

    A structure in pieces is measured on its largest one.

    Args:
        mask: Its pixels; the front of the body on the left, its head above.
        spacing_mm: Size of a pixel, (row, column).
        is_disc: Whether it is wider than high, so that its long side is level; else its tilt is below 45 degrees.
    """
    corners = outline_mm(mask, spacing_mm)
    if corners is None or area_mm2(corners) < SMALLEST_MM2:
        return None
    tilt = _levelled(corners, _first_tilt(corners, is_disc=is_disc))
    x, y = _turned(corners, tilt)
    upper, lower = endplate_tilts(corners, tilt)
    return Shape(
        anterior_height_mm=_height_mm(x, y, FRONT),
        middle_height_mm=_height_mm(x, y, MIDDLE),
        posterior_height_mm=_height_mm(x, y, BACK),
        depth_mm=float(np.ptp(x)),
        upper_tilt_degrees=upper,
        lower_tilt_degrees=lower,
    )


def _first_tilt(corners: Float[np.ndarray, "p 2"], *, is_disc: bool) -> float:
    """The tilt at which the box around a structure is smallest, to within a few degrees."""
    tilts = DISC_TILTS if is_disc else VERTEBRA_TILTS
    sizes = np.array([[np.ptp(axis) for axis in _turned(corners, float(tilt))] for tilt in tilts])
    areas = np.where(is_disc & (sizes[:, 0] < sizes[:, 1]), np.inf, sizes.prod(axis=1))
    return float(tilts[areas.argmin()])


def _levelled(corners: Float[np.ndarray, "p 2"], tilt: float) -> float:
    """The mean tilt of the endplates, which lie where they do only in the frame of that tilt: step by step."""
    for _ in range(MOST_TURNS):
        before, tilt = tilt, sum(endplate_tilts(corners, tilt)) / 2
        if abs(tilt - before) < LEVEL_DEGREES:
            break
    return tilt


def _turned(corners: Float[np.ndarray, "p 2"], tilt: float) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Distances backward and downward, mm, in the frame of a structure of this tilt (degrees)."""
    cosine, sine = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    x, y = corners.T
    return x * cosine - y * sine, x * sine + y * cosine


def endplate_tilts(corners: Float[np.ndarray, "p 2"], tilt: float) -> tuple[float, float]:
    """Tilts of the upper and the lower endplate (degrees), found in the frame of a structure of this tilt.

    `scipy.stats.theilslopes` gives the same numbers, with an interval that nobody needs, in twenty times the time.
    """
    x, y = _turned(corners, tilt)
    at, (first, second) = x.min() + np.ptp(x) * ENDPLATE, PAIRS
    run = at[second] - at[first]
    slopes = [np.median((line[second] - line[first]) / run) for line in chords(x, y, at)]
    upper, lower = (tilt - float(np.degrees(np.arctan(slope))) for slope in slopes)
    return upper, lower


def _height_mm(x: Float[np.ndarray, " p"], y: Float[np.ndarray, " p"], band: Float[np.ndarray, " q"]) -> float:
    upper, lower = chords(x, y, x.min() + np.ptp(x) * band)
    return float((lower - upper).mean())


def _ends(series: Mapping[str, Sequence[str]], *, has_discs: bool) -> tuple[str, str]:
    """The structures that lordosis runs between."""
    return series["vertebra"][0], series["disc" if has_discs else "vertebra"][-1]


def _row(structure: str, measures: Mapping[str, float], level: str = "") -> Row:
    return {"level": level, "structure": structure, "side": "", **dict.fromkeys(SPINE_MEASURES, nan), **measures}


def _vertebra(shape: Shape | None) -> dict[str, float]:
    return {} if shape is None else {name: getattr(shape, name) for name in SPINE_MEASURES[:5]}


def _disc(shape: Shape | None, above: Shape | None) -> dict[str, float]:
    if shape is None:
        return {}
    index = nan if above is None else shape.middle_height_mm / above.middle_height_mm
    return {"disc_height_mm": shape.middle_height_mm, "disc_height_index": index}


def _lumbar(first: str, last: str, shapes: Mapping[str, Shape | None]) -> Row:
    upper, lower = shapes[first], shapes[last]
    angle = nan if upper is None or lower is None else lower.lower_tilt_degrees - upper.upper_tilt_degrees
    return _row("lumbar", {"lordosis_degrees": angle}, level=f"{first} to {last}")
