"""What about a prediction must not be believed unseen: cut off, missing, on the wrong side."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from scipy.ndimage import binary_erosion

from datamodules.anatomy import Anatomy
from lightning_modules.prediction.outlines import Block
from metrics.sides import check_sides

SHOWN_SLICES = 6  # that a sentence names


def cut_off(block: Block, num_structures: int) -> Bool[np.ndarray, "d n"]:
    """Whether each structure reaches the last pixel that a network sees, or that the image has, on each slice."""
    edge = block.field & ~np.asarray(binary_erosion(block.field), bool)
    return _present(block.mask[:, edge], num_structures)


def found(block: Block, num_structures: int) -> Bool[np.ndarray, "d n"]:
    """Whether each structure was found on each slice."""
    return _present(block.mask.reshape(len(block.mask), -1), num_structures)


def swapped(block: Block, anatomy: Anatomy) -> Bool[np.ndarray, "d n"]:
    """Whether a structure of a pair lies on the other one's side of the middle between both, on each slice."""
    index = {name: number for number, name in enumerate(anatomy.structures, start=1)}
    pairs = {
        f"{left} {right}": {"left": [index[left]], "right": [index[right]]}
        for left, right in anatomy.mirror
        if left in index
    }
    wrong = np.zeros((len(block.mask), anatomy.num_structures), bool)
    for number in np.flatnonzero(block.chosen):
        for (pair, side), check in check_sides(block.mask[number], pairs).items():
            wrong[number, pairs[pair][side][0] - 1] = check == "swapped"
    return wrong


def describe_findings(block: Block, anatomy: Anatomy) -> list[str]:
    """Sentences about what is odd in the outlines of a block; empty if nothing is."""
    names = [name.replace("_", " ") for name in anatomy.structures]
    present = found(block, anatomy.num_structures)
    if not present.any():
        return [
            "nothing was found on any slice: the scan shows another part of the body, or looks unlike those trained on"
        ]
    where = block.slice_names
    sentences = []
    missing = [name for name, anywhere in zip(names, np.asarray(present.any(axis=0)), strict=True) if not anywhere]
    if missing:
        sentences.append(f"not found on any slice: {', '.join(missing)}")
    empty = block.chosen & ~present.any(axis=1)
    if empty.any():
        sentences.append(f"nothing was found on {_slices(where[empty])}")
    for what, flags in (
        ("reaches the edge of what the network sees, so it is cut off", cut_off(block, anatomy.num_structures)),
        ("lies on the other side than its name says", swapped(block, anatomy)),
    ):
        for name, flag in zip(names, flags.T, strict=True):
            if flag.any():
                sentences.append(f"{name} {what}, on {_slices(where[flag])}")
    for left, right in anatomy.mirror:
        if left in anatomy.structures:
            one, other = (present[:, list(anatomy.structures).index(name)] for name in (left, right))
            if (one != other).any() and one.any() and other.any():
                pair = f"{left} and {right}".replace("_", " ")
                sentences.append(f"only one of {pair} was found on {_slices(where[one != other])}")
    return sentences


def _present(pixels: UInt8[np.ndarray, "d p"], num_structures: int) -> Bool[np.ndarray, "d n"]:
    return np.stack([(pixels == index).any(axis=1) for index in range(1, num_structures + 1)], axis=1)


def _slices(numbers: Sequence[int] | np.ndarray) -> str:
    listed = ", ".join(str(number) for number in sorted(numbers)[:SHOWN_SLICES])
    more = f" and {len(numbers) - SHOWN_SLICES} more" if len(numbers) > SHOWN_SLICES else ""
    return f"slice {listed}{more}" if len(numbers) == 1 else f"{len(numbers)} slices ({listed}{more})"
