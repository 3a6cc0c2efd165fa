"""The label map as an object: names, sides, key points and colours of the structures that a task segments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

View = Literal["axial", "sagittal"]
SERIES = ("vertebra", "disc")  # kinds of structures that follow each other down the spine


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """Ordered structures and how they relate. Class index 0 is background, structure i of `structures` is class i + 1.

    Attributes:
        name: Name of the task, as in `conf/anatomy`.
        view: Orientation of its slices.
        structures: Names in channel order.
        colours: "#rrggbb" of each structure.
        mirror: Pairs (left, right) of structures or key points that change places when the image is flipped
            left to right. A structure in no pair is its own mirror image.
        regions: Named unions of structures, such as overall muscle = muscle tissue + fat.
        keypoints: Names in order.
        parts: For structures that a cohort with finer labels draws in parts, those parts: canal: dural_sac and
            epidural_space.
        series: Structures of one kind that follow each other from head to foot, so that "one level off" has a meaning:
            vertebra, disc. The disc of a position lies below the vertebra of that position.

    Raises:
        ValueError: If a name is used twice, a colour is missing, a pair, region or series names an unknown structure,
            or a part or a place in a series is given twice.
    """

    name: str
    view: View
    structures: Sequence[str]
    colours: Mapping[str, str]
    mirror: Sequence[Sequence[str]] = ()
    regions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    keypoints: Sequence[str] = ()
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    series: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.view not in ("axial", "sagittal"):
            raise ValueError(f"anatomy {self.name}: view is {self.view!r}, expected 'axial' or 'sagittal'")
        for kind, names in (("structure", self.structures), ("key point", self.keypoints)):
            twice = sorted({name for name in names if list(names).count(name) > 1})
            if twice:
                raise ValueError(f"anatomy {self.name}: {kind} listed twice: {', '.join(twice)}")
        if set(self.colours) != set(self.structures):
            odd = ", ".join(sorted(set(self.colours) ^ set(self.structures)))
            raise ValueError(
                f"anatomy {self.name}: colours and structures must name the same things; they differ in {odd}"
            )
        known = {*self.structures, *self.keypoints}
        used = {name for pair in self.mirror for name in pair} | {s for r in self.regions.values() for s in r}
        if used - known:
            raise ValueError(f"anatomy {self.name}: mirror or regions name unknown {', '.join(sorted(used - known))}")
        paired = [name for pair in self.mirror for name in pair]
        if any(len(pair) != 2 for pair in self.mirror) or len(paired) != len(set(paired)):
            raise ValueError(f"anatomy {self.name}: mirror must be pairs, each name in one pair at most: {self.mirror}")
        self._check_parts()
        self._check_series()

    def _check_parts(self) -> None:
        unknown = [name for name in self.parts if name not in self.structures]
        if unknown:
            raise ValueError(
                f"anatomy {self.name}: parts are given of unknown {', '.join(unknown)}; structures are "
                f"{', '.join(self.structures)}"
            )
        empty = [name for name, parts in self.parts.items() if isinstance(parts, str) or not parts]
        if empty:
            raise ValueError(f"anatomy {self.name}: parts of {', '.join(empty)} are no list of names")
        drawn = [part for name in self.structures for part in self.parts.get(name, [name])]
        twice = sorted({part for part in drawn if drawn.count(part) > 1})
        if twice:
            raise ValueError(
                f"anatomy {self.name}: {', '.join(twice)} belongs to two structures; a part belongs to one (a structure"
                " without parts is its own)"
            )

    def _check_series(self) -> None:
        odd = [name for name in self.series if name not in SERIES]
        if odd:
            raise ValueError(f"anatomy {self.name}: series is given of {', '.join(odd)}; expected {', '.join(SERIES)}")
        placed = [name for names in self.series.values() for name in names]
        unknown = [name for name in placed if name not in self.structures]
        if unknown:
            raise ValueError(
                f"anatomy {self.name}: series names unknown {', '.join(unknown)}; structures are "
                f"{', '.join(self.structures)}"
            )
        twice = sorted({name for name in placed if placed.count(name) > 1})
        if twice:
            raise ValueError(f"anatomy {self.name}: {', '.join(twice)} has two places in series; a structure has one")

    @property
    def num_structures(self) -> int:
        """Number of foreground classes."""
        return len(self.structures)

    @property
    def num_classes(self) -> int:
        """Number of classes with background: the channels of the logits."""
        return len(self.structures) + 1

    def class_index(self, structure: str) -> int:
        """Class index (1..n) of a structure.

        Raises:
            ValueError: If the anatomy has no such structure.
        """
        if structure not in self.structures:
            raise ValueError(f"anatomy {self.name} has no structure {structure!r}; it has {', '.join(self.structures)}")
        return list(self.structures).index(structure) + 1

    def labels_from(self, superset: Mapping[str, int]) -> dict[int, str | None]:
        """Which structure each label id of a cohort with finer labels belongs to; None for background.

        Args:
            superset: Label id of every name that the cohort draws.

        Raises:
            ValueError: If the cohort does not draw a structure or one of its parts.
        """
        owner = {part: name for name in self.structures for part in self.parts.get(name, [name])}
        missing = [part for part in owner if part not in superset]
        if missing:
            raise ValueError(
                f"anatomy {self.name}: the cohort does not draw {', '.join(missing)}; it draws {', '.join(superset)};"
                " say in the anatomy's parts what such a structure comprises"
            )
        return {index: owner.get(name) for name, index in superset.items()}

    @property
    def mirrored_classes(self) -> tuple[int, ...]:
        """For every class index, background included, the class it becomes in a left-right flipped image."""
        return (0, *(index + 1 for index in self._mirrored(self.structures)))

    @property
    def mirrored_keypoints(self) -> tuple[int, ...]:
        """For every key point, the key point it becomes in a left-right flipped image."""
        return self._mirrored(self.keypoints)

    def _mirrored(self, names: Sequence[str]) -> tuple[int, ...]:
        partner = {a: b for pair in self.mirror for a, b in (pair, pair[::-1])}
        return tuple(list(names).index(partner.get(name, name)) for name in names)

    def unions_of(self, finer: "Anatomy") -> dict[str, tuple[str, ...]]:
        """Which structures of a finer anatomy make up each of this one's: canal is dural sac and epidural space.

        A structure is made up of those of the same name, or of those whose own parts, together, are its parts. One that
        `finer` has no such structures for is left out.

        Args:
            finer: Of the same or of smaller structures.
        """
        theirs = {name: frozenset(finer.parts.get(name, [name])) for name in finer.structures}
        found = {}
        for name in self.structures:
            parts = frozenset(self.parts.get(name, [name]))
            within = tuple(other for other, pieces in theirs.items() if pieces <= parts)
            if within and frozenset().union(*(theirs[other] for other in within)) == parts:
                found[name] = within
            elif name in theirs:
                found[name] = (name,)
        return found
