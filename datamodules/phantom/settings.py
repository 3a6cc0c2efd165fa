"""Everything that decides the bytes of a phantom cohort, checked before the first patient is drawn."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, no_type_check

import numpy as np

from datamodules.phantom import setting_checks as check
from datamodules.phantom.population import Population

__all__ = ["GENERATOR_VERSION", "YOUNGER", "PhantomSettings", "Population"]

# Part of a cohort's digest: raise it whenever the same settings would give other bytes.
GENERATOR_VERSION = 3
_LARGEST_PIXEL_MM, _LARGEST_DISTANCE_MM = 5.0, 20.0
_DEALING_STREAM = 11
# Settings that are younger than the generator's version: at their default they are not written down, so that cohorts
# keep the name and the bytes that they had before. Only the presets that use them name them, for what stands in a
# preset is part of the names of runs.
YOUNGER = ("tissue_maps",)

Contrast = Literal["T2", "T1", "dixon"]


@no_type_check  # values come from users: __post_init__ refuses them by name
@dataclass(frozen=True, kw_only=True)
class PhantomSettings:
    """Everything that decides the bytes of a phantom cohort. Patient i is the same in a cohort of any size.

    Attributes:
        num_patients: Number of patients.
        seed: Seed.
        population: Who is imaged.
        view: Blocks tilted to their discs, one axial stack from L1 to S1, or sagittal slices.
        contrast: "T2", "T1", or "dixon" (water and fat as two images of a case).
        levels: Discs with a block of slices each (axial_blocks).
        slices_per_level: Slices of a block (axial_blocks).
        slices_at_levels: Instead, how many single slices the whole cohort has at each level (axial_blocks).
        num_slices: Fewest and most slices of a patient (axial_stack, sagittal).
        slice_distance_mm: From slice to slice; those of a stack share its reach instead.
        size: Rows and columns of a slice.
        spacing_mm: Size of a pixel.
        masked_patients: How many, the first ones, have label files; the others have key points only (sagittal).
            None: all.
        weak_contrast: Contrast of those without label files; None: the same (sagittal).
        weak_spacing_mm: Size of their pixels; None: the same (sagittal).
        tissue_maps: Whether the tissue of every pixel is written, too: what `data/augmentation=synthesis` makes its
            pictures of, which asks for it itself.

    Raises:
        ValueError: If a value is impossible, or does not belong to the view.
    """

    num_patients: int = 45
    seed: int = 0
    population: Population = field(default_factory=Population)
    view: Literal["axial_blocks", "axial_stack", "sagittal"] = "axial_blocks"
    contrast: Literal["T2", "T1", "dixon"] = "T2"
    levels: tuple[str, ...] = ("L2/3", "L3/4", "L4/5", "L5/S1")
    slices_per_level: int = 1
    slices_at_levels: Mapping[str, int] | None = field(default=None, hash=False)
    num_slices: tuple[int, int] = (1, 1)
    slice_distance_mm: float = 4.0
    size: int = 320
    spacing_mm: float = 0.6
    masked_patients: int | None = None
    weak_contrast: Literal["T2", "T1", "dixon"] | None = None
    weak_spacing_mm: float | None = None
    tissue_maps: bool = False

    def __post_init__(self) -> None:
        for name, smallest in (("num_patients", 1), ("seed", 0), ("slices_per_level", 1), ("size", 1)):
            check.whole(name, getattr(self, name), smallest)
        check.one_of("view", self.view, check.VIEWS)
        check.one_of("contrast", self.contrast, check.CONTRASTS)
        for name, largest in (("spacing_mm", _LARGEST_PIXEL_MM), ("slice_distance_mm", _LARGEST_DISTANCE_MM)):
            check.replace(self, name, check.number(name, getattr(self, name), 0.0, largest, above=True))
        check.replace(self, "levels", check.plain(self.levels))
        check.replace(self, "num_slices", check.pair("num_slices", self.num_slices))
        departing = [item.name for item in dataclasses.fields(self) if getattr(self, item.name) != item.default]
        check.check_belonging(self.view, departing)
        check.check_levels(self.levels, self.slices_at_levels, self.num_patients)
        check.check_field(self.view, self.size, "spacing_mm", self.spacing_mm)
        if not isinstance(self.tissue_maps, bool):
            raise ValueError(f"phantom: tissue_maps is {self.tissue_maps!r}, expected true or false")
        self._check_slices()
        self._check_weak()

    def _check_slices(self) -> None:
        if self.slices_at_levels is not None and self.slices_per_level != 1:
            raise ValueError(
                f"phantom: slices_per_level is {self.slices_per_level}, but slices_at_levels counts single slices; give"
                " one of them"
            )
        for count in self.num_slices:
            check.whole("num_slices", count, 1)
        if self.num_slices[0] > self.num_slices[1]:
            raise ValueError(f"phantom: num_slices is {list(self.num_slices)}, expected [fewest, most]")
        name = "slices_per_level" if self.view == "axial_blocks" else "num_slices"
        most = self.slices_per_level if self.view == "axial_blocks" else self.num_slices[1]
        check.check_reach(self.view, name, most, self.slice_distance_mm)

    def _check_weak(self) -> None:
        if self.masked_patients is not None:
            check.whole("masked_patients", self.masked_patients, 0)
            if self.masked_patients > self.num_patients:
                raise ValueError(
                    f"phantom: masked_patients is {self.masked_patients}, more than num_patients {self.num_patients}"
                )
        elif self.weak_contrast is not None or self.weak_spacing_mm is not None:
            raise ValueError(
                "phantom: weak_contrast and weak_spacing_mm are of patients without masks; say by masked_patients how"
                " many have masks"
            )
        if self.weak_contrast is not None:
            check.one_of("weak_contrast", self.weak_contrast, check.CONTRASTS)
            if "dixon" in {self.contrast, self.weak_contrast} and self.contrast != self.weak_contrast:
                raise ValueError(
                    f"phantom: weak_contrast is {self.weak_contrast}, contrast {self.contrast}; dixon has two images a"
                    " case, the others one: choose both alike"
                )
        if self.weak_spacing_mm is not None:
            spacing_mm = check.number("weak_spacing_mm", self.weak_spacing_mm, 0.0, _LARGEST_PIXEL_MM, above=True)
            check.replace(self, "weak_spacing_mm", spacing_mm)
            check.check_field(self.view, self.size, "weak_spacing_mm", spacing_mm)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "PhantomSettings":
        """Settings as YAML, JSON or the command line give them.

        Raises:
            ValueError: If a name is unknown or a value impossible.
        """
        values = {name: check.plain(value) for name, value in values.items()}
        population = values.pop("population", {})
        if not isinstance(population, dict):
            raise ValueError(f"phantom: population is {population!r}, expected a mapping of its values")
        for given, kind, prefix in ((values, cls, ""), (population, Population, "population.")):
            known = [item.name for item in dataclasses.fields(kind)]
            unknown = [f"{prefix}{name}" for name in given if name not in known]
            if unknown:
                raise ValueError(f"phantom: unknown setting {', '.join(unknown)}; known are {', '.join(known)}")
        return cls(**values, population=Population(**population))

    @property
    def written(self) -> dict[str, Any]:
        """The settings as they are written down, `from_mapping` reads them."""
        unchanged = {
            item.name
            for item in dataclasses.fields(self)
            if item.name in YOUNGER and getattr(self, item.name) == item.default
        }
        return {name: value for name, value in asdict(self).items() if name not in unchanged}

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name these settings and the version of the generator."""
        text = json.dumps([GENERATOR_VERSION, self.written], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    @property
    def anatomy_view(self) -> Literal["axial", "sagittal"]:
        """Orientation of the slices, as anatomies name it."""
        return "sagittal" if self.view == "sagittal" else "axial"

    def levels_of(self, index: int) -> tuple[str, ...]:
        """Discs that a patient is imaged at (axial_blocks), upper to lower.

        Single slices are dealt level after level to the patients in a random order, round and round: whoever comes
        first gets one more than the last, and nobody two at a level.
        """
        if self.slices_at_levels is None:
            return self.levels
        order = np.random.default_rng([self.seed, _DEALING_STREAM]).permutation(self.num_patients)
        place = int(np.flatnonzero(order == index)[0])
        found, first = [], 0
        for level in self.levels:
            if (place - first) % self.num_patients < self.slices_at_levels[level]:
                found.append(level)
            first += self.slices_at_levels[level]
        return tuple(found)

    def has_masks(self, index: int) -> bool:
        """Whether a patient has label files."""
        return self.masked_patients is None or index < self.masked_patients

    def contrast_of(self, index: int) -> str:
        """Contrast of a patient's images."""
        return self.contrast if self.has_masks(index) else self.weak_contrast or self.contrast

    def spacing_of(self, index: int) -> float:
        """Size of a pixel of a patient's images, mm."""
        return self.spacing_mm if self.has_masks(index) else self.weak_spacing_mm or self.spacing_mm

    def site_of(self, index: int) -> str:
        """Name of the scanner that a patient was on."""
        other = self.weak_contrast is not None or self.weak_spacing_mm is not None
        return "scanner_2" if other and not self.has_masks(index) else "scanner_1"
