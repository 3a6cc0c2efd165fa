"""A batch with the maps that pictures are made of, on the pixels of their files."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

from datamodules.batch import SpineBatch
from datamodules.store.slice_store import SliceStore


@dataclass(frozen=True, kw_only=True)
class TissueBatch(SpineBatch):
    """A batch of training slices for `data/augmentation=synthesis`, which makes a `SpineBatch` of it.

    The maps lie in the upper left corner of arrays that hold the largest of them. Their centre, and the centre of
    the picture, is `offset_mm` before that of the network's grid, on which the fields of `SpineBatch` are.

    Attributes:
        tissues: Numbers of tissues, which `SliceStore.tissues` names.
        fat: Fat fraction in steps, as in `datamodules.store.tissue_maps`.
        native_mask: Class indices; 0 in slices without a mask that may be seen.
        native_size: Rows and columns of each map.
        native_mm: Size of its pixels, (row, column).
        offset_mm: (row, column).
    """

    tissues: Int[Tensor, "b H W"]
    fat: UInt8[Tensor, "b H W"]
    native_mask: UInt8[Tensor, "b H W"]
    native_size: Int[Tensor, "b 2"]
    native_mm: Float[Tensor, "b 2"]
    offset_mm: Float[Tensor, "b 2"]


class MapReader:
    """Reads the maps of slices from a store that has them.

    Args:
        store: Built with tissue maps.
        device: Where the maps lie: memory-mapped on the CPU, or as a whole in an accelerator's memory.
    """

    def __init__(self, store: SliceStore, device: str = "cpu") -> None:
        flat = {"tissues": store.native_tissues, "fat": store.native_fat, "native_mask": store.native_mask}
        self._flat = {name: torch.from_numpy(values).to(device) for name, values in flat.items()}
        self._places = store.native_place.tolist()
        self._size = torch.from_numpy(store.native_place[:, :2].copy()).to(device)
        self._spacing_mm = torch.from_numpy(store.native_spacing).float().to(device)
        self._offset_mm = torch.tensor([store.grid.offset_mm], dtype=torch.float32, device=device)

    def read(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """The fields that `TissueBatch` has beyond those of `SpineBatch`, of rows of the store."""
        places = [self._places[row] for row in rows]
        height, width = (max(place[axis] for place in places) for axis in (0, 1))
        maps = {name: _stacked(flat, places, height, width) for name, flat in self._flat.items()}
        chosen = torch.tensor(rows, device=self._size.device)
        return {
            **maps,
            "native_size": self._size[chosen],
            "native_mm": self._spacing_mm[chosen],
            "offset_mm": self._offset_mm.expand(len(rows), 2),
        }


def _stacked(
    flat: Shaped[Tensor, " p"], places: Sequence[Sequence[int]], height: int, width: int
) -> Shaped[Tensor, "b h w"]:
    joined = flat.new_zeros((len(places), height, width))
    for into, (rows, columns, offset) in zip(joined, places, strict=True):
        into[:rows, :columns] = flat[offset : offset + rows * columns].view(rows, columns)
    return joined
