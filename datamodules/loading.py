"""In which order slices are shown, with which seeds; a function of seed and epoch alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Int
from torch.utils.data import Sampler

T = TypeVar("T")
_WEAK_STREAM = 2


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


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (store row, seed) that differ from epoch to epoch.

    Args:
        seed: Order of the slices and what they are augmented with.
        share: What this process does of every batch.
    """

    def __init__(self, *, seed: int, share: Share) -> None:
        self.seed = seed
        self.share = share
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self.epoch = epoch


class TrainingBatches(EpochBatches):
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
        super().__init__(seed=seed, share=share)
        self.indices = indices
        self.batch_size = batch_size
        self.samples_per_epoch = samples_per_epoch or len(self.indices)

    def __len__(self) -> int:
        return -(-self.samples_per_epoch // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        start = self.epoch * self.samples_per_epoch
        rows = _shuffled_passes(self.indices, range(start, start + self.samples_per_epoch), self.seed)
        seeds = np.random.default_rng([self.seed, self.epoch, 1]).integers(2**31, size=len(rows))
        samples = list(zip(rows, seeds.tolist(), strict=True))
        return (self.share.of(samples[at : at + self.batch_size]) for at in range(0, len(samples), self.batch_size))


class MixedBatches(EpochBatches):
    """Batches of (store row, seed), each of so many slices with masks and so many with key points alone.

    Both kinds are endless streams of shuffled passes of their own, and an epoch is the next steps of both, so that what
    holds of `TrainingBatches` holds of each kind. All batches are full: an epoch that is one pass over the slices with
    masks ends with the first ones of the next pass.

    Args:
        masked: Rows with masks.
        weak: Rows with key points alone.
        num_masked: Slices with masks in a batch.
        num_weak: Slices with key points alone in a batch.
        samples_per_epoch: Slices of both kinds in an epoch, which has as many steps as one of `TrainingBatches` with
            batches of that size; None is one pass over the slices with masks.
        seed: Order of the slices and what they are augmented with.
        share: What this process does of every batch.
    """

    def __init__(
        self,
        masked: Int[np.ndarray, " i"],
        weak: Int[np.ndarray, " j"],
        *,
        num_masked: int,
        num_weak: int,
        samples_per_epoch: int | None,
        seed: int,
        share: Share,
    ) -> None:
        super().__init__(seed=seed, share=share)
        self.masked, self.weak = masked, weak
        self.num_masked, self.num_weak = num_masked, num_weak
        one_pass = -(-len(masked) // num_masked)
        self.num_steps = -(-samples_per_epoch // (num_masked + num_weak)) if samples_per_epoch else one_pass

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        steps = range(self.epoch * self.num_steps, (self.epoch + 1) * self.num_steps)
        batch_size = self.num_masked + self.num_weak
        seeds = np.random.default_rng([self.seed, self.epoch, 1]).integers(2**31, size=(len(steps), batch_size))
        for step, step_seeds in zip(steps, seeds.tolist(), strict=True):
            kinds = ((self.masked, self.num_masked, ()), (self.weak, self.num_weak, (_WEAK_STREAM,)))
            rows = [
                row
                for of_kind, count, stream in kinds
                for row in _shuffled_passes(of_kind, range(step * count, (step + 1) * count), self.seed, *stream)
            ]
            yield self.share.of(list(zip(rows, step_seeds, strict=True)))


def _shuffled_passes(indices: Int[np.ndarray, " s"], positions: range, seed: int, *stream: int) -> list[int]:
    """What stands at these positions of an endless stream of passes over the indices, each shuffled anew."""
    passes = {
        number: np.random.default_rng([seed, number, *stream]).permutation(indices)
        for number in {position // len(indices) for position in positions}
    }
    return [int(passes[position // len(indices)][position % len(indices)]) for position in positions]
