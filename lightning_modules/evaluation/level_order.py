"""Levels counted anew: the vertebrae and discs of a slice numbered in their order, upward from the sacrum."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from scipy import ndimage

from datamodules.anatomy import Anatomy

SMALLEST = 0.25  # of the largest piece of its kind; smaller ones are no level of their own
NECK = 0.12  # of the side of a square as large as the largest piece: what touches by less than twice that is parted
SMALLEST_STEP = 0.8  # from level to level, of the side of a square as large as the largest piece
APART = 0.6  # of the usual distance of two of a kind; what is nearer is one level in two pieces


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """A connected piece of one kind of structure.

    Attributes:
        where: Its pixels.
        row: Of its centre.
        kind: Place of its kind in the anatomy's series.
        votes: Of its pixels for every place down the spine.
    """

    where: Bool[np.ndarray, "H W"]
    row: float
    kind: int
    votes: Float[np.ndarray, " p"]


def in_level_order(mask: Integer[np.ndarray, "H W"], anatomy: Anatomy) -> Integer[np.ndarray, "H W"]:
    """Numbers vertebrae and discs from head to foot without gap or repetition.

    Pieces of each kind, whatever their levels, are taken in their order. How many places lie between two follows from
    their distance and kinds. The count begins at the lowest piece where that carries the last level of the anatomy, as
    radiologists count from the sacrum, and else where most pixels agree. What comes to lie beyond the levels of the
    anatomy becomes background, other structures stay.

    Args:
        mask: Class indices of a sagittal slice, head first.
        anatomy: Whose series are counted.
    """
    places = _places(anatomy)
    pieces = sorted(_pieces(mask, places), key=lambda piece: piece.row)
    if len(pieces) < 2:
        return mask
    steps = _steps(pieces, num_kinds=len(places))
    found = np.array(mask)
    start = _start(pieces, steps, places)
    for piece, step in zip(pieces, steps, strict=True):
        found[piece.where] = _class_at(places, piece.kind, start + step)
    return found


def _places(anatomy: Anatomy) -> list[dict[int, int]]:
    """Of every kind, its classes and their places down the spine: vertebrae at 0, 2, 4, the discs below at 1, 3, 5.

    Kinds begin at the same level: a disc that lies below the first vertebra has place 1.
    """
    kinds = [names for names in anatomy.series.values() if names]
    return [
        {anatomy.class_index(name): len(kinds) * level + place for level, name in enumerate(names)}
        for place, names in enumerate(kinds)
    ]


def _pieces(mask: Integer[np.ndarray, "H W"], places: Sequence[dict[int, int]]) -> list[_Piece]:
    found = []
    num_places = 1 + max(place for kind in places for place in kind.values())
    for kind, classes in enumerate(places):
        labels, sizes = _parted(np.isin(mask, list(classes)))
        for number in range(1, len(sizes) + 1):
            if sizes[number - 1] < SMALLEST * sizes.max():
                continue
            where = labels == number
            votes = np.zeros(num_places)
            for index, place in classes.items():
                votes[place] = np.count_nonzero(mask[where] == index)
            found.append(_Piece(where=where, row=float(np.nonzero(where)[0].mean()), kind=kind, votes=votes))
    return found


def _parted(kind: Bool[np.ndarray, "H W"]) -> tuple[Int[np.ndarray, "H W"], Int[np.ndarray, " n"]]:
    """Pieces of one kind, numbered from 1, and their sizes; those that touch each other are parted at the neck.

    The cores that an erosion leaves are the pieces, and every pixel belongs to the nearest core of those that it hangs
    together with; what has no core stays whole.
    """
    labels = connected(kind)
    sizes = np.bincount(labels.ravel())[1:]
    if not len(sizes):
        return labels, sizes
    depth = max(1, round(NECK * float(np.sqrt(sizes.max()))))
    cores = connected(ndimage.binary_erosion(kind, iterations=depth))
    parted, last = np.zeros(kind.shape, np.int64), 0
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        piece = labels[box] == number
        own = cores[box] * piece
        own = own if own.any() else piece.astype(np.int64)
        nearest: Any = ndimage.distance_transform_edt(own == 0, return_distances=False, return_indices=True)
        found, renamed = np.unique(own[tuple(nearest)][piece], return_inverse=True)
        parted[box][piece] = last + 1 + renamed
        last += len(found)
    return parted, np.bincount(parted.ravel(), minlength=last + 1)[1:]


def connected(mask: Bool[np.ndarray, "H W"]) -> Int[np.ndarray, "H W"]:
    """The number of every pixel's connected piece, from 1; 0 outside."""
    found: Any = ndimage.label(mask)
    return found[0].astype(np.int64)


def _steps(pieces: Sequence[_Piece], num_kinds: int) -> list[int]:
    """Of every piece, how many places it lies below the first."""
    rows = np.array([piece.row for piece in pieces])
    kinds = np.array([piece.kind for piece in pieces])
    gaps = np.concatenate([np.diff(rows[kinds == kind]) for kind in range(num_kinds)])
    # Levels are never nearer than a body is tall, though its pieces may be, even side by side.
    body = SMALLEST_STEP * max(float(np.sqrt(np.count_nonzero(piece.where))) for piece in pieces)
    level = max(float(np.median(gaps)), body) if len(gaps) else np.inf
    steps = [0]
    for above, below in pairwise(pieces):
        distance = (below.row - above.row) / level
        shift = (below.kind - above.kind) % num_kinds  # places within a level
        if shift == 0:
            levels = 0 if distance < APART else max(1, round(distance))
        else:
            levels = max(0, round(distance - shift / num_kinds))
        steps.append(steps[-1] + num_kinds * levels + shift)
    return steps


def _start(pieces: Sequence[_Piece], steps: Sequence[int], places: Sequence[dict[int, int]]) -> int:
    """The place of the first piece: counted from the lowest where it is the last level, or as most pixels say."""
    num_places, num_kinds = len(pieces[0].votes), len(places)
    if pieces[-1].votes.argmax() == num_places - 1:
        return num_places - 1 - steps[-1]
    starts = [start for start in range(-steps[-1], num_places) if start % num_kinds == pieces[0].kind]

    def agreeing(start: int) -> float:
        at = [(piece, start + step) for piece, step in zip(pieces, steps, strict=True)]
        return float(sum(piece.votes[place] for piece, place in at if 0 <= place < num_places))

    return max(starts, key=agreeing)


def _class_at(places: Sequence[dict[int, int]], kind: int, place: int) -> int:
    return next((index for index, at in places[kind].items() if at == place), 0)
