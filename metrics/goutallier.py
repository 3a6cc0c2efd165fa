"""Goutallier grades from shares of fat, by cut-offs that stand in `conf/morphometry/grades`."""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Literal

import numpy as np
from jaxtyping import Float

PatientRule = Literal["mean_of_slices", "pooled_area"]
NO_GRADE = ""  # of what was not measured; an empty cell


class GradeScale:
    """Ordered grades, each up to a share of fat.

    Args:
        name: What tables call it.
        cutoffs: From the lowest grade to the highest: `{grade: I, below: 0.10}` leaves 0.10 to the next grade,
            `{grade: II, up_to: 0.50}` keeps it. The last one ends `up_to` 1.

    Raises:
        ValueError: If a grade is listed twice, has no boundary or two, or the boundaries do not rise to 1.
    """

    def __init__(self, *, name: str, cutoffs: Sequence[Mapping[str, str | float | int]]) -> None:
        self.name = name
        self.grades = tuple(str(cutoff.get("grade", "")) for cutoff in cutoffs)
        if len({*self.grades}) != len(self.grades) or NO_GRADE in self.grades:
            raise ValueError(f"scale {name}: every grade needs a name of its own, the names are {self.grades}")
        self._bounds = [self._bound(cutoff) for cutoff in cutoffs]
        uppers = [bound for bound, _ in self._bounds]
        if uppers != sorted({*uppers}) or not uppers or self._bounds[-1] != (1.0, True) or uppers[0] <= 0:
            raise ValueError(f"scale {name}: boundaries are {uppers}, expected to rise from above 0 and end `up_to: 1`")

    def _bound(self, cutoff: Mapping[str, str | float | int]) -> tuple[float, bool]:
        """The boundary and whether it belongs to the grade."""
        given = [key for key in ("below", "up_to") if key in cutoff]
        if len(given) != 1 or {*cutoff} != {"grade", *given}:
            raise ValueError(
                f"scale {self.name}: {dict(cutoff)} is no cut-off; expected grade and one of below and up_to"
            )
        return float(cutoff[given[0]]), given[0] == "up_to"

    def grade(self, share: float) -> str:
        """The grade of a share of fat in 0..1; "" where the share is NaN, for nothing has no grade.

        Raises:
            ValueError: If the share is no share, as a percentage would be.
        """
        if isnan(share):
            return NO_GRADE
        if not 0 <= share <= 1:
            raise ValueError(
                f"scale {self.name}: a share of fat of {share:g} has no grade, expected 0 to 1 (no per cent)"
            )
        reached = (share <= bound if inclusive else share < bound for bound, inclusive in self._bounds)
        return next(grade for grade, inside in zip(self.grades, reached, strict=True) if inside)


def patient_share(
    shares: Float[np.ndarray, " s"], areas_mm2: Float[np.ndarray, " s"], rule: PatientRule = "mean_of_slices"
) -> float:
    """Share of fat of a patient from those of its slices; NaN without a measured slice.

    Slices whose share is NaN (no muscle, not measurable) are left out.

    Args:
        shares: Of each slice, in 0..1.
        areas_mm2: Area of the muscle on each slice.
        rule: "mean_of_slices", as Baur et al. (2021) grade patients, or "pooled_area", which weighs slices by area.
    """
    assert shares.shape == areas_mm2.shape, f"{shares.shape} shares of {areas_mm2.shape} areas"
    known = ~np.isnan(shares)
    if not known.any():
        return nan
    if rule == "mean_of_slices":
        return float(shares[known].mean())
    return float(np.average(shares[known], weights=areas_mm2[known]))
