"""Assembles batches from a store: what of its annotations is visible, augmented how."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch.utils.data import Dataset

from datamodules.batch import SpineBatch, boxes_of_masks, collate
from datamodules.store.slice_store import SliceStore
from datamodules.store.tissue_batch import MapReader, TissueBatch


@runtime_checkable
class Augmentation(Protocol):
    """Changes training slices; every random number follows from `SpineBatch.seed`.

    Attributes:
        whole_batch: Whether it takes whole batches where they are computed on, or slices one by one as they are loaded.
        in_words: What it changes, and from which ranges that is drawn; empty where nothing.
    """

    @property
    def whole_batch(self) -> bool: ...  # noqa: D102

    @property
    def in_words(self) -> Sequence[str]: ...  # noqa: D102

    def __call__(self, batch: SpineBatch) -> SpineBatch: ...  # noqa: D102


@runtime_checkable
class TissueAugmentation(Augmentation, Protocol):
    """Makes pictures of tissue maps, and takes `TissueBatch`es.

    Attributes:
        field_mm: Smallest and largest side of the field of view of a picture.
        pixel_mm: Smallest and largest pixel that a scanner would have had for it.
    """

    @property
    def field_mm(self) -> tuple[float, float]: ...  # noqa: D102

    @property
    def pixel_mm(self) -> tuple[float, float]: ...  # noqa: D102

    def of_store(self, tissues: Sequence[str], num_channels: int) -> "TissueAugmentation":
        """The augmentation of slices whose maps hold these tissues, by number."""
        ...


@dataclass(frozen=True, kw_only=True)
class VisibleLabels:
    """What of a store's annotations a network may be shown.

    Attributes:
        has_mask: Whether the mask of each row may be seen; it is blank otherwise.
        has_keypoints: Whether its key points are to be learned.
        keypoints: (x, y) in pixels of the grid; NaN where not visible.
    """

    has_mask: Bool[np.ndarray, " s"]
    has_keypoints: Bool[np.ndarray, " s"]
    keypoints: Float32[np.ndarray, "s k 2"]

    @classmethod
    def of(cls, store: SliceStore) -> "VisibleLabels":
        """Everything that there is."""
        has_mask, has_keypoints = (store.table[name].to_numpy(dtype=bool) for name in ("has_mask", "has_keypoints"))
        return cls(has_mask=has_mask.copy(), has_keypoints=has_keypoints.copy(), keypoints=store.keypoints)


class SliceBatches(Dataset[SpineBatch]):
    """Assembles a whole batch at a time from the arrays of a store.

    Args:
        store: The slices.
        labels: Whose masks and which key points may be seen; by default all that the store has.
        augmentation: Applied to slices one by one, or None.
        maps: Whether batches are `TissueBatch`es.
        device: Where the arrays lie: memory-mapped on the CPU, or as a whole in an accelerator's memory.
    """

    def __init__(
        self,
        store: SliceStore,
        labels: VisibleLabels | None = None,
        augmentation: Augmentation | None = None,
        *,
        maps: bool = False,
        device: str = "cpu",
    ) -> None:
        self.augmentation = augmentation
        self.maps = MapReader(store, device) if maps else None
        table, labels = store.table, labels or VisibleLabels.of(store)
        self.image = torch.from_numpy(store.image).to(device)
        self.mask = torch.from_numpy(store.mask).to(device)
        self.labelled = torch.from_numpy(store.labelled).to(device)
        self.keypoints = torch.from_numpy(labels.keypoints).to(device)
        self.has_mask = torch.from_numpy(labels.has_mask).to(device)
        self.has_keypoints = torch.from_numpy(labels.has_keypoints).to(device)
        self.spacing_mm = torch.tensor([store.grid.spacing_mm] * 2, device=device)
        self.names = {column: table[column].to_numpy(dtype=object) for column in ("case", "patient", "level")}

    def __getitem__(self, samples: list[tuple[int, int]]) -> SpineBatch:
        if self.augmentation is None:
            return self._read(samples)
        return collate([self.augmentation(self._read([sample])) for sample in samples])

    def _read(self, samples: list[tuple[int, int]]) -> SpineBatch:
        rows = torch.tensor([row for row, _ in samples])
        mask = self.mask[rows].long() * self.has_mask[rows, None, None]
        batch = SpineBatch(
            image=self.image[rows],
            mask=mask,
            labelled=self.labelled[rows],
            boxes=boxes_of_masks(mask, self.labelled.shape[1] - 1),
            keypoints=self.keypoints[rows],
            has_mask=self.has_mask[rows],
            has_keypoints=self.has_keypoints[rows],
            spacing_mm=self.spacing_mm.expand(len(rows), 2),
            index=rows,
            seed=torch.tensor([seed for _, seed in samples]),
            **{name: tuple(values[rows.numpy()]) for name, values in self.names.items()},
        )
        if self.maps is None:
            return batch
        values: dict[str, Any] = {field.name: getattr(batch, field.name) for field in fields(batch)}
        values.update(self.maps.read([row for row, _ in samples]))
        values["native_mask"] = values["native_mask"] * batch.has_mask[:, None, None]
        return TissueBatch(**values)
