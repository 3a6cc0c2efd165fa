"""An average of the weights over training, which is what validates, is tested and is kept as the best."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import lightning
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class AveragedWeights(WeightAveraging):
    """An exponential moving average through Lightning, with averaged weights in every checkpoint.

    Lightning puts the average into checkpoints that hold everything; one that holds weights alone would have those of
    the last step, which nobody validated.

    Args:
        decay: Share of the average that stays at every step. After n steps it is at most (1 + n) / (10 + n), as
            TensorFlow's: with one that is fixed, a tenth of the average is that of random weights after 1000 steps of
            0.998, and it finds nothing.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=moving_average(decay))

    @contextmanager
    def averaged(self, module: lightning.LightningModule) -> Iterator[None]:
        """The module with averaged weights, where there is an average yet."""
        if self._average_model is not None:
            self._swap_models(module)
        try:
            yield
        finally:
            if self._average_model is not None:
                self._swap_models(module)


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """What `torch.optim.swa_utils.AveragedModel` calls for every tensor: see `AveragedWeights`."""

    def updated(average: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
        steps = torch.as_tensor(num_averaged)
        share = ((1 + steps) / (10 + steps)).clamp(max=decay).to(average.device)
        return current + share * (average - current)

    return updated
