"""Learning-rate schedules that torch lacks; stepped once an epoch."""

from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR


def step_at(optimizer: Optimizer, num_epochs: int, *, at: Sequence[float], factor: float) -> MultiStepLR:
    """Multiplies the rate by `factor` at each of the given shares of the epochs.

    Raises:
        ValueError: If a share is not between 0 and 1.
    """
    if not all(0 < share < 1 for share in at):
        raise ValueError(f"scheduler.at is {list(at)}, expected shares of the epochs between 0 and 1")
    return MultiStepLR(optimizer, milestones=[round(share * num_epochs) for share in at], gamma=factor)
