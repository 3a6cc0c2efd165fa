"""Learning-rate schedules: the share of the initial rate in every epoch, of each part of a network over its own."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

Schedule = Callable[[int, int], float]  # of an epoch (from 0) and how many there are, the share of the initial rate


def polynomial(epoch: int, num_epochs: int, *, power: float | int, ends_as: int | None = None) -> float:
    """(1 - x)^power, x growing evenly from 0 in the first epoch to 1 - 1 / `ends_as` in the last.

    Args:
        epoch: From 0.
        num_epochs: How many there are.
        power: Of the decline.
        ends_as: Number of epochs of the training whose last rate is reached; None is `num_epochs`, for which x is
            epoch / `num_epochs`. A short training that stopped at its own would keep a rate at which nothing settles.
    """
    passed = (1 - 1 / (ends_as or num_epochs)) * epoch / max(num_epochs - 1, 1)
    return (1 - passed) ** power


def steps(epoch: int, num_epochs: int, *, at: Sequence[float], factor: float) -> float:
    """`factor` once more from each of the given shares of the epochs on.

    Raises:
        ValueError: If a share is not between 0 and 1.
    """
    if not all(0 < share < 1 for share in at):
        raise ValueError(f"scheduler.at is {list(at)}, expected shares of the epochs between 0 and 1")
    return factor ** sum(epoch >= round(share * num_epochs) for share in at)


def over_own_epochs(schedule: Schedule, own: Sequence[int]) -> Callable[[int], float]:
    """The schedule of a part that learns in the epochs `own` (ascending) alone, as a function of the epoch.

    In an epoch in which it rests it has the share of its next one.
    """

    def share(epoch: int) -> float:
        return schedule(min(bisect_left(own, epoch), len(own) - 1), len(own))

    return share
