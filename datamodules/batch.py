"""The one batch that every network, loss and metric sees.

Axis letters, everywhere in the project:
    b  slices in a batch          m  input channels (contrasts)       c  classes, background first
    n  structures (c - 1)         k  key points                       h  rows      w  columns
    d  slices of a volume
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SpineBatch:
    """A batch of 2-D slices with whatever supervision each of them has.

    Every field is always present: a case without a mask has `has_mask` False and a mask of zeros, a structure that is
    absent has a box of NaN, a key point that is not visible is NaN.

    Attributes:
        image: Intensities after z-scoring, in channel order of the cohort.
        mask: Class index of every pixel, 0 is background (or, in a partially labelled case, an unlabelled class).
        labelled: Which classes the annotator drew in this case; column 0 (background) is always True.
        boxes: (cx, cy, w, h) of each structure in 0..1 of the image, from the mask; NaN where the structure is absent.
        keypoints: (x, y) in pixels, pixel centres at integers; NaN where not visible.
        has_mask: Whether `mask` was drawn by an annotator and, in training, may be seen.
        has_keypoints: Whether `keypoints` may be learned.
        spacing_mm: Size of a pixel of `image`, (row, column).
        index: Row of the slice in the store it was read from.
        seed: What every random transform of this slice draws from.
        case: Name of the image the slice belongs to.
        patient: Name of the patient.
        level: Spinal level such as "L4/5", or "" where the cohort does not say.
    """

    image: Float[Tensor, "b m h w"]
    mask: Int[Tensor, "b h w"]
    labelled: Bool[Tensor, "b c"]
    boxes: Float[Tensor, "b n 4"]
    keypoints: Float[Tensor, "b k 2"]
    has_mask: Bool[Tensor, " b"]
    has_keypoints: Bool[Tensor, " b"]
    spacing_mm: Float[Tensor, "b 2"]
    index: Int[Tensor, " b"]
    seed: Int[Tensor, " b"]
    case: tuple[str, ...]
    patient: tuple[str, ...]
    level: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.case)

    def where(self, chosen: Bool[Tensor, " b"]) -> "SpineBatch":
        """The slices that are chosen, in their order."""
        numbers = chosen.nonzero()[:, 0].tolist()
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = value[numbers] if isinstance(value, Tensor) else tuple(value[n] for n in numbers)
        return SpineBatch(**values)

    def to(self, *args: Any, **kwargs: Any) -> "SpineBatch":
        """Moves tensors, as `Tensor.to`; Lightning calls this. `index` and `seed` stay: the CPU is who reads them."""
        return self._map(lambda tensor: tensor.to(*args, **kwargs), but=("index", "seed"))

    def pin_memory(self) -> "SpineBatch":
        """Pins every tensor; the DataLoader calls this."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor], but: tuple[str, ...] = ()) -> "SpineBatch":
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in but}
        return replace(self, **{name: function(value) for name, value in values.items() if isinstance(value, Tensor)})


def collate(samples: Sequence[SpineBatch]) -> SpineBatch:
    """Joins batches (usually of one slice each) along their first axis."""
    joined = {}
    for field in fields(SpineBatch):
        values = [getattr(sample, field.name) for sample in samples]
        joined[field.name] = torch.cat(values) if isinstance(values[0], Tensor) else sum(values, ())
    return SpineBatch(**joined)


def boxes_of_masks(mask: Int[Tensor, "b h w"], num_structures: int) -> Float[Tensor, "b n 4"]:
    """Tight box (cx, cy, w, h) in 0..1 of each structure 1..n; NaN where it has no pixel.

    The far edge of a box is the far edge of its last pixel, so one pixel has a width of one pixel, not of zero.
    """
    batch, height, width = mask.shape
    # Scattering a flag into (row, class) and (class, column) is four times faster than comparing with every class.
    rows = mask.new_zeros((batch, height, num_structures + 1), dtype=torch.bool).scatter_(2, mask.long(), True)
    columns = mask.new_zeros((batch, num_structures + 1, width), dtype=torch.bool).scatter_(1, mask.long(), True)
    rows, columns = rows[..., 1:].mT, columns[:, 1:]
    top, bottom = _extent(rows)
    left, right = _extent(columns)
    boxes = torch.stack(
        [(left + right) / (2 * width), (top + bottom) / (2 * height), (right - left) / width, (bottom - top) / height],
        dim=-1,
    )
    return boxes.masked_fill(~rows.any(dim=2)[..., None], torch.nan)


def _extent(occupied: Bool[Tensor, "b n s"]) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
    """First occupied index and one past the last."""
    length = occupied.shape[2]
    first = occupied.float().argmax(dim=2)
    last = length - occupied.flip(2).float().argmax(dim=2)
    return first.float(), last.float()
