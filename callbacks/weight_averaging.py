"""An average of the weights over training, which is what validates, is tested and is kept as the best."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning
from lightning.pytorch.callbacks import EMAWeightAveraging


class AveragedWeights(EMAWeightAveraging):
    """Lightning's exponential moving average, with averaged weights in every checkpoint.

    Lightning puts the average into checkpoints that hold everything; one that holds weights alone would have those of
    the last step, which nobody validated.
    """

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
