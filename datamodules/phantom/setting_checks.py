"""Checks of single values and of values against each other, each naming the setting, what it is and what may be."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

VIEWS = ("axial_blocks", "axial_stack", "sagittal")
CONTRASTS = ("T2", "T1", "dixon")
BODIES = ("posterior", "whole")
DISCS = ("T12/L1", "L1/2", "L2/3", "L3/4", "L4/5", "L5/S1")
# Options of one kind of examination; elsewhere they must keep their default.
BELONGS_TO = {
    "levels": ("axial_blocks",),
    "slices_per_level": ("axial_blocks",),
    "slices_at_levels": ("axial_blocks",),
    "num_slices": ("axial_stack", "sagittal"),
    "offset_mm": ("axial_blocks", "sagittal"),
    "tilt_share": ("axial_blocks",),
    "masked_patients": ("sagittal",),
    "weak_contrast": ("sagittal",),
    "weak_spacing_mm": ("sagittal",),
}
# What must fit: the muscles side to side, the lumbar spine head to foot.
SMALLEST_FIELD_MM = {
    "axial_blocks": (150.0, "muscles"),
    "axial_stack": (150.0, "muscles"),
    "sagittal": (200.0, "lumbar spine"),
}
# Beyond this a block reaches the next disc, and sagittal slices leave the spine's neighbourhood.
LARGEST_REACH_MM = {"axial_blocks": 60.0, "sagittal": 150.0}


def plain(value: Any) -> Any:
    """Lists and mappings of any library as tuples and dictionaries."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(plain(item) for item in value)
    return value


def replace(settings: object, name: str, value: object) -> None:
    """Sets a field of frozen settings to its standard form: 1 and 1.0 are one setting with one digest."""
    object.__setattr__(settings, name, value)


def whole(name: str, value: object, smallest: int) -> None:
    """Refuses what is no whole number of at least the smallest."""
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise ValueError(f"phantom: {name} is {value!r}, expected a whole number of at least {smallest}")


def number(name: str, value: object, low: float, high: float, *, above: bool = False) -> float:
    """The number as float, refused outside low..high; `above`: low itself is refused as well."""
    correct = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not correct or not low <= value <= high or (above and value == low):  # type: ignore[operator]
        raise ValueError(
            f"phantom: {name} is {value!r}, expected a number {'more than' if above else 'of at least'} {low:g} and at"
            f" most {high:g}"
        )
    return float(value)  # type: ignore[arg-type]


def one_of(name: str, value: object, known: Sequence[str]) -> None:
    """Refuses what is not in the list."""
    if value not in known:
        raise ValueError(f"phantom: {name} is {value!r}, expected one of {', '.join(known)}")


def pair(name: str, value: object) -> tuple[Any, Any]:
    """The value as (lower, upper)."""
    values = plain(value)
    if not isinstance(values, tuple) or len(values) != 2:
        raise ValueError(f"phantom: {name} is {value!r}, expected two numbers, [lower, upper]")
    return values[0], values[1]


def ascending(name: str, value: object, low: float, high: float) -> tuple[float, float]:
    """The value as (lower, upper), two numbers within low..high."""
    lower, upper = (number(name, item, low, high) for item in pair(name, value))
    if lower > upper:
        raise ValueError(f"phantom: {name} is [{lower:g}, {upper:g}], expected [lower, upper]")
    return lower, upper


def check_belonging(view: str, departing: Sequence[str]) -> None:
    """Refuses options that depart from their default although they do not belong to the view."""
    for name in departing:
        if view not in BELONGS_TO.get(name, VIEWS):
            raise ValueError(
                f"phantom: {name} belongs to view {' or '.join(BELONGS_TO[name])}, the view is {view}; leave it out"
            )


def check_levels(levels: Sequence[str], slices_at_levels: Mapping[str, int] | None, num_patients: int) -> None:
    """Refuses unknown discs, and numbers of slices that cannot be dealt to the patients."""
    if not levels or any(level not in DISCS for level in levels) or len(set(levels)) < len(levels):
        raise ValueError(f"phantom: levels are {list(levels)}, expected some of {', '.join(DISCS)}, each once")
    if slices_at_levels is None:
        return
    if set(slices_at_levels) != set(levels):
        raise ValueError(
            f"phantom: slices_at_levels names {', '.join(slices_at_levels)}, levels are {', '.join(levels)}; name the"
            " same discs in both"
        )
    for level, count in slices_at_levels.items():
        whole(f"slices_at_levels[{level}]", count, 1)
        if count > num_patients:
            raise ValueError(
                f"phantom: slices_at_levels[{level}] is {count}, but {num_patients} patients have one slice there each"
                " at most; raise num_patients"
            )
    if sum(slices_at_levels.values()) < num_patients:
        raise ValueError(
            f"phantom: slices_at_levels are {sum(slices_at_levels.values())} slices, too few for {num_patients}"
            " patients (num_patients) with at least one each"
        )


def check_field(view: str, given: str, side_mm: float, remedy: str) -> None:
    """Refuses a field of view in which the structures do not fit."""
    needed_mm, what = SMALLEST_FIELD_MM[view]
    if side_mm < needed_mm:
        raise ValueError(
            f"phantom: {given} shows {side_mm:.0f} mm, the {what} needs {needed_mm:.0f} mm; raise {remedy}"
        )


def check_reach(view: str, name: str, num_slices: int, slice_distance_mm: float) -> None:
    """Refuses more slices than there is anatomy beside each other."""
    reach_mm, largest_mm = (num_slices - 1) * slice_distance_mm, LARGEST_REACH_MM.get(view, math.inf)
    if reach_mm > largest_mm:
        raise ValueError(
            f"phantom: {name} {num_slices} at slice_distance_mm {slice_distance_mm:g} reach over {reach_mm:.0f} mm,"
            f" expected at most {largest_mm:.0f} mm for view {view}; lower one of them"
        )
