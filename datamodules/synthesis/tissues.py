"""What pictures are made of: every tissue of a store with its group, density, relaxation times and usual fat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from datamodules.phantom.signal import ALL_TISSUES
from datamodules.synthesis.ranges import Number

VALUES = ("density", "t1_ms", "t2_ms")
BONE, CORTEX, DISC, VESSEL, FAT, AIR = "bone", "cortex", "disc", "vessel", "fat", "air"


@dataclass(frozen=True, kw_only=True)
class NumberedTissues:
    """The tissues of a store by their number in its maps.

    Attributes:
        names: Tissue of every number; several may be one tissue, in different structures.
        groups: Group of every number.
        tissue: For every number, the place of its tissue among the different ones; likewise `group`.
        values: Density, T1 and T2 in ms.
        fat: Fat fraction where there is no fat map.
        fat_values: Density, T1 and T2 of fat itself.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    tissue: Int[np.ndarray, " t"]
    group: Int[np.ndarray, " t"]
    values: Float[np.ndarray, "t 3"]
    fat: Float[np.ndarray, " t"]
    fat_values: Float[np.ndarray, " 3"]

    def of_group(self, group: str) -> Int[np.ndarray, " i"]:
        """Numbers of a group's tissues."""
        return np.array([number for number, name in enumerate(self.groups) if name == group], np.int64)


@dataclass(frozen=True, kw_only=True)
class TissueTable:
    """Groups and values of tissues by name.

    Attributes:
        groups: Tissues that share a random mean. Some groups are treated apart: bone and disc, cortex (the dark rim of
            bone), vessel (blood flows), fat and air.
        values: density, t1_ms and t2_ms of tissues that the phantom does not know, or has otherwise
            (`datamodules.phantom.signal.ALL_TISSUES`).
        fat: Fat fraction of tissues in cohorts without fat maps; 0 where a tissue is not listed.

    Raises:
        ValueError: If a tissue is in two groups or has no values, or a value is impossible.
    """

    groups: Mapping[str, Sequence[str]]
    values: Mapping[str, Mapping[str, Number]] = field(default_factory=dict)
    fat: Mapping[str, Number] = field(default_factory=dict)

    def __post_init__(self) -> None:
        listed = [name for names in self.groups.values() for name in names]
        twice = sorted({name for name in listed if listed.count(name) > 1})
        if twice:
            raise ValueError(f"synthesis.tissues: {', '.join(twice)} is in two groups; a tissue has one")
        if FAT not in listed:
            raise ValueError(f"synthesis.tissues: no group holds {FAT!r}, which fat maps are mixed with; add it")
        for name, values in self.values.items():
            if set(values) != set(VALUES) or min(values.values()) < 0 or min(values["t1_ms"], values["t2_ms"]) <= 0:
                raise ValueError(
                    f"synthesis.tissues.values.{name} is {dict(values)}, expected {', '.join(VALUES)}, the times above "
                    "0"
                )
        for name in listed:
            if name not in self.values and name not in ALL_TISSUES:
                raise ValueError(
                    f"synthesis.tissues: {name!r} has no values; known are {', '.join(ALL_TISSUES)}; give density, "
                    f"t1_ms and t2_ms of another one as synthesis.tissues.values.{name}"
                )
        wrong = [f"{name}: {fraction}" for name, fraction in self.fat.items() if not 0 <= fraction <= 1]
        if wrong:
            raise ValueError(f"synthesis.tissues.fat: {', '.join(wrong)}; expected a fraction in 0..1")

    def numbered(self, names: Sequence[str]) -> NumberedTissues:
        """The tissues of a store.

        Raises:
            ValueError: If one of them is in no group.
        """
        group_of = {name: group for group, members in self.groups.items() for name in members}
        unknown = sorted({name for name in names if name not in group_of})
        if unknown:
            raise ValueError(
                f"data/augmentation=synthesis: the tissue maps hold {', '.join(unknown)}, which no group of "
                f"data.augmentation.tissues lists; it has {', '.join(group_of)}; add it to a group"
            )
        groups = tuple(group_of[name] for name in names)
        kinds, group_kinds = sorted(set(names)), sorted(set(groups))
        return NumberedTissues(
            names=tuple(names),
            groups=groups,
            tissue=np.array([kinds.index(name) for name in names]),
            group=np.array([group_kinds.index(name) for name in groups]),
            values=np.array([self._values_of(name) for name in names]),
            fat=np.array([self.fat.get(name, 0.0) for name in names]),
            fat_values=np.array(self._values_of(FAT)),
        )

    def _values_of(self, name: str) -> tuple[float, ...]:
        own = self.values.get(name)
        return ALL_TISSUES[name] if own is None else tuple(float(own[value]) for value in VALUES)
