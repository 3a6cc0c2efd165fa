"""What may be done to a mask after the network: small pieces go, levels are counted in order. Off unless asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer

from datamodules.anatomy import Anatomy
from lightning_modules.evaluation.level_order import connected, in_level_order


@dataclass(frozen=True, kw_only=True)
class CleanUp:
    """Slice by slice, as a structure is one piece of a slice, or one on each side.

    Attributes:
        smallest_piece: Pieces of a structure that are smaller than this share of its largest become background; None
            keeps all. One half keeps both sides of a structure that has no sides in the anatomy.
        level_order: Whether vertebrae and discs are numbered anew in their order from head to foot:
            `lightning_modules.evaluation.level_order`.

    Raises:
        ValueError: If the share is not above 0 and at most 1.
    """

    smallest_piece: float | None = None
    level_order: bool = False

    def __post_init__(self) -> None:
        if self.smallest_piece is not None and not 0 < self.smallest_piece <= 1:
            raise ValueError(
                f"smallest_piece is {self.smallest_piece}, expected a share of a structure's largest piece, above 0 "
                "and at most 1, or null to keep all"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any], anatomy: Anatomy, where: str) -> "CleanUp":
        """What a node of the configuration asks for.

        Args:
            settings: With the names of the attributes, others being ignored.
            anatomy: Of the masks.
            where: What a message calls the node.

        Raises:
            ValueError: If the share is impossible, or levels are to be ordered in an anatomy that has none.
        """
        if settings.get("level_order") and not anatomy.series:
            raise ValueError(
                f"{where}.level_order: anatomy {anatomy.name} has no structures that follow each other down the spine "
                f"(its node `series` is empty); leave it out"
            )
        return cls(smallest_piece=settings.get("smallest_piece"), level_order=bool(settings.get("level_order")))

    @property
    def words(self) -> str:
        """What people are told of it; "" where nothing is done."""
        done = ["levels were numbered anew in their order"] if self.level_order else []
        if self.smallest_piece is not None:
            done.append(f"pieces below {self.smallest_piece:.0%} of a structure's largest in a slice were taken away")
        return f"after the network, {' and '.join(done)}" if done else ""

    def __call__(self, mask: Integer[np.ndarray, "H W"], anatomy: Anatomy) -> Integer[np.ndarray, "H W"]:
        """A mask of class indices, cleaned up; the given one stays as it is."""
        if self.level_order:
            mask = in_level_order(mask, anatomy)
        if self.smallest_piece is None:
            return mask
        dropped = np.zeros(mask.shape, dtype=bool)
        for index in np.unique(mask[mask > 0]):
            dropped |= _small_pieces(mask == index, self.smallest_piece)
        return np.where(dropped, 0, mask).astype(mask.dtype)


AS_FOUND = CleanUp()


def _small_pieces(structure: Bool[np.ndarray, "H W"], share: float) -> Bool[np.ndarray, "H W"]:
    """Pixels of the pieces that are smaller than a share of the largest."""
    pieces = connected(structure)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    small = sizes < share * sizes.max()
    small[0] = False
    return small[pieces]
