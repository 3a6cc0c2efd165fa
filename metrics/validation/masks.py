"""Dice and box IoU of the slices that validate, by patient, as `metrics.cases` and `metrics.aggregate` define them."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from metrics.validation.patients import PatientMean


class PatientDice(PatientMean):
    """Dice of every structure, and the mean over structures; a missed structure is 0, one absent in both undefined.

    Args:
        structures: Names of the classes 1..n.
    """

    higher_is_better = True

    def __init__(self, structures: Sequence[str]) -> None:
        super().__init__()
        self.structures = tuple(structures)

    def update(
        self,
        *,
        true_mask: Int[Tensor, "b h w"],
        predicted_mask: Int[Tensor, "b h w"],
        labelled: Bool[Tensor, "b c"],
        has_mask: Bool[Tensor, " b"],
        index: Int[Tensor, " b"],
        patient: Int[Tensor, " b"],
    ) -> None:
        """Scores a batch.

        Args:
            true_mask: Class indices as annotated.
            predicted_mask: Class indices by argmax, after unlabelled classes were merged with background.
            labelled: Which classes the annotator drew; the others are undefined.
            has_mask: Slices without one are left out.
            index: What tells slices apart.
            patient: What tells patients apart.
        """
        values = slice_dice(true_mask, predicted_mask, len(self.structures))
        self.keep(values.masked_fill(~labelled[:, 1:], torch.nan), has_mask, index, patient)

    def compute(self) -> dict[str, float]:
        """`dice` and `dice/<structure>`, means over patients; nothing where no slice has a mask."""
        means = self.patient_means()
        if means is None:
            return {}
        own = dict(zip(self.structures, means.mean(), strict=True))
        named = {"dice": means.mean(axis=1).mean(), **{f"dice/{name}": value for name, value in own.items()}}
        return {name: float(value) for name, value in named.items()}


class PatientBoxIou(PatientMean):
    """IoU of the boxes of structures: the network's own where it has any, the tight ones of its mask elsewhere.

    A network's box counts only where its mask has a pixel; see `metrics.cases.score_slice`.
    """

    higher_is_better = True

    def update(
        self,
        *,
        true_boxes: Float[Tensor, "b n 4"],
        mask_boxes: Float[Tensor, "b n 4"],
        network_boxes: Float[Tensor, "b n 4"] | None,
        labelled: Bool[Tensor, "b c"],
        has_mask: Bool[Tensor, " b"],
        index: Int[Tensor, " b"],
        patient: Int[Tensor, " b"],
    ) -> None:
        """Scores a batch.

        Args:
            true_boxes: (cx, cy, w, h) in 0..1, NaN where absent.
            mask_boxes: The same of the predicted mask.
            network_boxes: The same as regressed; None if the network regresses none.
            labelled: As in `PatientDice`.
            has_mask: As there.
            index: As there.
            patient: As there.
        """
        true, found = (boxes.isfinite().all(dim=2) for boxes in (true_boxes, mask_boxes))
        ious = paired_iou(true_boxes, mask_boxes if network_boxes is None else network_boxes)
        values = torch.where(true & found, ious.nan_to_num(nan=0.0), 0.0)
        self.keep(values.masked_fill(~(true | found) | ~labelled[:, 1:], torch.nan), has_mask, index, patient)

    def compute(self) -> dict[str, float]:
        """`box_iou`, the mean over patients of their means over structures; nothing where no slice has a mask."""
        means = self.patient_means()
        return {} if means is None else {"box_iou": float(means.mean(axis=1).mean())}


def slice_dice(
    true: Int[Tensor, "b h w"], predicted: Int[Tensor, "b h w"], num_structures: int
) -> Float[Tensor, "b n"]:
    """Dice of the classes 1..n on every slice; NaN where neither mask has a pixel."""
    num_classes = num_structures + 1
    pairs = (true.long() * num_classes + predicted.long()).flatten(1)
    counts = pairs.new_zeros(len(pairs), num_classes**2).scatter_add_(1, pairs, torch.ones_like(pairs))
    confusion = counts.unflatten(1, (num_classes, num_classes))
    both = confusion.diagonal(dim1=1, dim2=2)
    return (2 * both / (confusion.sum(dim=1) + confusion.sum(dim=2)))[:, 1:]


def paired_iou(a: Float[Tensor, "b n 4"], b: Float[Tensor, "b n 4"]) -> Float[Tensor, "b n"]:
    """`metrics.boxes.box_iou` of boxes of a batch; NaN where either has a NaN, 0 for one without area."""
    (low_a, high_a), (low_b, high_b) = (
        (box[..., :2] - box[..., 2:] / 2, box[..., :2] + box[..., 2:] / 2) for box in (a, b)
    )
    shared = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0).prod(dim=2)
    union = (high_a - low_a).prod(dim=2) + (high_b - low_b).prod(dim=2) - shared
    return torch.where(union > 0, shared / union, union * 0)
