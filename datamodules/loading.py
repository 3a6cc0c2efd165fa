"""How slices become batches: in which order, with which seeds, augmented how."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import Dataset, Sampler

from datamodules.batch import SpineBatch, boxes_of_masks, collate
from datamodules.store import SliceStore

T = TypeVar("T")


@runtime_checkable
class Augmentation(Protocol):
    """Changes training slices; every random number follows from `SpineBatch.seed`.

    Attributes:
        whole_batch: Whether it takes whole batches where they are computed on, or slices one by one as they are loaded.
    """

    @property
    def whole_batch(self) -> bool: ...  # noqa: D102

    def __call__(self, batch: SpineBatch) -> SpineBatch: ...  # noqa: D102


@dataclass(frozen=True)
class Share:
    """The part of the work that one of several processes does.

    Attributes:
        rank: Number of the process, from 0.
        num_processes: How many there are.
    """

    rank: int = 0
    num_processes: int = 1

    def of(self, items: list[T]) -> list[T]:
        """Every `num_processes`-th item; all processes get equally many, as they wait for each other.

        What is short is filled up from the front: where results are gathered, those that come twice count once.
        """
        missing = -len(items) % self.num_processes
        filled = [*items, *(items[position % len(items)] for position in range(missing))]
        return filled[self.rank :: self.num_processes]


class TrainingBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (store row, seed) in an order that follows from seed and epoch alone.

    The slices are one endless stream of shuffled passes; an epoch is the next `samples_per_epoch` of it. So every slice
    is seen equally often whatever the length of an epoch, and an interrupted epoch is drawn again as it was. Several
    processes divide each batch among them: a step sees the same slices however many devices share it.
    """

    def __init__(
        self,
        indices: Int[np.ndarray, " s"],
        *,
        batch_size: int,
        samples_per_epoch: int | None,
        seed: int,
        share: Share,
    ) -> None:
        self.indices = indices
        self.batch_size = batch_size
        self.samples_per_epoch = samples_per_epoch or len(self.indices)
        self.seed = seed
        self.share = share
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.samples_per_epoch // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        start = self.epoch * self.samples_per_epoch
        stream = np.arange(start, start + self.samples_per_epoch)
        passes = {
            number: np.random.default_rng([self.seed, int(number)]).permutation(self.indices)
            for number in np.unique(stream // len(self.indices))
        }
        rows = [int(passes[position // len(self.indices)][position % len(self.indices)]) for position in stream]
        seeds = np.random.default_rng([self.seed, self.epoch, 1]).integers(2**31, size=len(rows))
        samples = list(zip(rows, seeds.tolist(), strict=True))
        return (self.share.of(samples[at : at + self.batch_size]) for at in range(0, len(samples), self.batch_size))


class SliceBatches(Dataset[SpineBatch]):
    """Assembles a whole batch at a time from the arrays of a store.

    Args:
        store: The slices.
        augmentation: Applied to slices one by one, or None.
        device: Where the arrays lie: memory-mapped on the CPU, or as a whole in an accelerator's memory.
    """

    def __init__(self, store: SliceStore, augmentation: Augmentation | None = None, device: str = "cpu") -> None:
        self.augmentation = augmentation
        table = store.table
        self.image = torch.from_numpy(store.image).to(device)
        self.mask = torch.from_numpy(store.mask).to(device)
        self.labelled = torch.from_numpy(store.labelled).to(device)
        self.keypoints = torch.from_numpy(store.keypoints).to(device)
        self.has_mask = torch.tensor(table["has_mask"].to_numpy(dtype=bool), device=device)
        self.has_keypoints = torch.tensor(table["has_keypoints"].to_numpy(dtype=bool), device=device)
        self.spacing_mm = torch.tensor([store.grid.spacing_mm] * 2, device=device)
        self.names = {column: table[column].to_numpy(dtype=object) for column in ("case", "patient", "level")}

    def __getitem__(self, samples: list[tuple[int, int]]) -> SpineBatch:
        if self.augmentation is None:
            return self._read(samples)
        return collate([self.augmentation(self._read([sample])) for sample in samples])

    def _read(self, samples: list[tuple[int, int]]) -> SpineBatch:
        rows = torch.tensor([row for row, _ in samples])
        mask = self.mask[rows].long()
        return SpineBatch(
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
