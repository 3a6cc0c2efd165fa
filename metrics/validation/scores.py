"""What an epoch of validation amounts to, and the one number that the best checkpoint is chosen by."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torchmetrics import Metric, MetricCollection


class ValidationScores(nn.Module):
    """Measures of the slices that validate, on the network's grid and on its device, and `score` made of them.

    `score` is the mean of the chosen measures, or minus the key-point error where nobody who validates has a mask;
    smoothed over the epochs. Smoothed, because two or three validation patients jump by several points from one epoch
    to the next, and the luckiest jump of a run is not its best network.

    Args:
        measures: Each takes what it needs of a batch, by name, and returns its means by name.
        score: Names of means that `score` averages, shares such as "dice" and "box_iou".
        smoothing: Share of the last epoch's `score` in the next; 0 for none.

    Attributes:
        smoothed: The last `score`, None before the first; what a run that goes on has to remember.

    Raises:
        ValueError: If `score` is empty, or names millimetres, which are no share and better when they are few.
    """

    def __init__(
        self, measures: Mapping[str, Metric], score: Sequence[str] = ("dice",), smoothing: float = 0.7
    ) -> None:
        super().__init__()
        if not score or any(name.endswith("_mm") for name in score):
            raise ValueError(f"metrics.score is {list(score)}, expected names of shares such as dice and box_iou")
        # Without groups: torchmetrics takes metrics whose first values are equal for the same metric.
        self.measures = MetricCollection(dict(measures), compute_groups=False)
        self.score, self.smoothing = tuple(score), smoothing
        self.smoothed: float | None = None

    def update(self, **seen: Any) -> None:
        """Scores a batch; each measure takes the names that it knows."""
        self.measures.update(**seen)

    def end_epoch(self) -> dict[str, float]:
        """Means of the epoch, over the slices of all processes, with `score` last; the next epoch starts anew.

        All processes have to call it.

        Raises:
            ValueError: If nothing was measured that `score` could be made of.
        """
        means = self.measures.compute()
        self.measures.reset()
        now = self._unsmoothed(means)
        before = now if self.smoothed is None else self.smoothed
        self.smoothed = self.smoothing * before + (1 - self.smoothing) * now
        return {**means, "score": self.smoothed}

    def _unsmoothed(self, means: Mapping[str, float]) -> float:
        if all(name in means for name in self.score):
            return sum(means[name] for name in self.score) / len(self.score)
        if set(means) == {"keypoint_error_mm"}:
            return -means["keypoint_error_mm"]
        if means:
            raise ValueError(
                f"metrics.score is {', '.join(self.score)}, expected some of what is measured: {', '.join(means)}"
            )
        raise ValueError(
            "no slice that validates has a mask, or key points for a network with heat maps: nothing can choose the "
            "best checkpoint; keep the masks of some patients (supervision.masked_patients), or take such a network"
        )
