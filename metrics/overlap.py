"""Pixel overlap of one structure on one slice."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Pixel counts of one structure and the ratios that follow from them; 0 / 0 is NaN.

    The conventions for empty masks are these ratios and nothing else. A missed structure (tp = fp = 0) has Dice, IoU
    and recall 0, and no precision, because nothing was predicted that could be right. A false alarm (tp = fn = 0) has
    Dice, IoU and precision 0, and no recall. Where both masks are empty, nothing is defined.

    Attributes:
        tp: Pixels in both masks.
        fp: Pixels in the prediction alone.
        fn: Pixels in the truth alone.
    """

    tp: int
    fp: int
    fn: int

    @property
    def dice(self) -> float:
        """Dice coefficient 2 tp / (2 tp + fp + fn), in 0..1."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """Jaccard index tp / (tp + fp + fn), in 0..1."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Share of the predicted pixels that are right, in 0..1."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the true pixels that were found, in 0..1."""
        return _ratio(self.tp, self.tp + self.fn)


def count_overlap(true: Bool[np.ndarray, "h w"], predicted: Bool[np.ndarray, "h w"]) -> Overlap:
    """Counts the pixels that two masks share and those that only one of them has."""
    assert true.shape == predicted.shape, f"masks of different size: {true.shape} and {predicted.shape}"
    num_true, num_predicted, tp = (int(np.count_nonzero(mask)) for mask in (true, predicted, true & predicted))
    return Overlap(tp=tp, fp=num_predicted - tp, fn=num_true - tp)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
