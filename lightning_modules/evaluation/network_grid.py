"""What a validated batch is scored by: truth and prediction on the network's grid, on the device they are on."""

from typing import Any

from jaxtyping import Int
from torch import Tensor

from datamodules.batch import SpineBatch, boxes_of_masks
from lightning_modules.losses.marginal import merge_unlabelled
from models.prediction import Prediction


def on_network_grid(
    prediction: Prediction, batch: SpineBatch, *, patient_numbers: Int[Tensor, " s"], spacing_mm: float
) -> dict[str, Any]:
    """By name, everything that the measures of `metrics.validation` take; unlabelled classes are merged first.

    Args:
        prediction: Of the whole batch.
        batch: What was predicted from.
        patient_numbers: Of every row of the store, a number for its patient.
        spacing_mm: Edge of a pixel.
    """
    # On a CPU `argmax` over the classes takes six times as long.
    predicted = merge_unlabelled(prediction.logits.float(), batch.labelled).max(dim=1).indices
    return {
        "true_mask": batch.mask,
        "predicted_mask": predicted,
        "true_boxes": batch.boxes,
        "mask_boxes": boxes_of_masks(predicted, batch.labelled.shape[1] - 1),
        "network_boxes": None if prediction.boxes is None else prediction.boxes.float(),
        "true_keypoints": batch.keypoints,
        "heatmaps": prediction.heatmaps,
        "spacing_mm": (spacing_mm, spacing_mm),
        "labelled": batch.labelled,
        "has_mask": batch.has_mask,
        "index": batch.index,
        "patient": patient_numbers[batch.index],
    }
