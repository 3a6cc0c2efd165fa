"""Which structures of an anatomy are muscles, on which side, and which of them share a fascia."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metrics.sides import SIDES

BOTH = "both"


@dataclass(frozen=True, kw_only=True)
class Muscles:
    """What is measured on an axial slice; names are those of the anatomy's structures.

    Attributes:
        muscles: Structures of each side of each muscle; "left" and "right", or "both" where the anatomy does not tell
            them apart. Fat that the fascia encloses belongs to its muscle.
        compartments: Muscles that share a fascia. They share a threshold for fat as well, and are measured together
            beside each on its own; a muscle in none of them has a threshold of its own, for psoas lies deeper in the
            field of the coil than the back muscles.
        fat: Structures that are fat themselves.
        areas: Structures of which the area alone is measured, such as the dural sac.
        midline: Structures that lie in the middle.

    Raises:
        ValueError: If sides are incomplete, a structure belongs to two muscles or a muscle to two compartments, or a
            name is used twice or unknown.
    """

    muscles: Mapping[str, Mapping[str, Sequence[str]]]
    compartments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fat: Sequence[str] = ()
    areas: Mapping[str, Sequence[str]] = field(default_factory=dict)
    midline: Sequence[str] = ()

    def __post_init__(self) -> None:
        for muscle, sides in self.muscles.items():
            if {*sides} not in ({*SIDES}, {BOTH}):
                raise ValueError(f"muscle {muscle} has the sides {', '.join(sides)}, expected left and right, or both")
        owned = [name for sides in self.muscles.values() for structures in sides.values() for name in structures]
        members = [muscle for names in self.compartments.values() for muscle in names]
        measured = [*self.muscles, *self.compartments, *self.areas]
        for what, names in (("structure", owned), ("muscle of a compartment", members), ("name", measured)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"muscles: {what} listed twice: {', '.join(twice)}")
        unknown = sorted({*members} - {*self.muscles}) + sorted({*self.fat} - {*owned})
        if unknown:
            raise ValueError(
                f"muscles: compartments or fat name {', '.join(unknown)}, which is no muscle or part of one"
            )

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Muscles that share a threshold, by the name of their compartment or their own."""
        grouped = {muscle for names in self.compartments.values() for muscle in names}
        alone = {muscle: (muscle,) for muscle in self.muscles if muscle not in grouped}
        return {**{name: tuple(names) for name, names in self.compartments.items()}, **alone}

    def check_structures(self, structures: Sequence[str]) -> None:
        """Refuses an anatomy that lacks a structure to be measured.

        Raises:
            ValueError: If a name is not among the structures.
        """
        named = {name for sides in self.muscles.values() for part in sides.values() for name in part}
        named |= {name for part in self.areas.values() for name in part} | {*self.midline}
        unknown = sorted(named - {*structures})
        if unknown:
            raise ValueError(
                f"morphometry names {', '.join(unknown)}, the anatomy has {', '.join(structures)}; choose the "
                "morphometry of this anatomy (morphometry=NAME)"
            )
