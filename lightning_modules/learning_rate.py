"""Learning-rate schedules that torch lacks; stepped once an epoch."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR


def step_at_thirds(optimizer: Optimizer, num_epochs: int, *, factor: float = 0.2) -> MultiStepLR:
    """Multiplies the rate by `factor` after a third and after two thirds of the epochs (SCAR-Net, section 4.2)."""
    return MultiStepLR(optimizer, milestones=[round(num_epochs / 3), round(2 * num_epochs / 3)], gamma=factor)
