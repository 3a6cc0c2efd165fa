"""From a prediction on the network's grid to masks, boxes and maps on the untouched grid of the image."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from datamodules.batch import SpineBatch, boxes_of_masks
from datamodules.store import SliceStore
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.segmentation import class_shares
from lightning_modules.native_grid import boxes_to_native, field_of_view, likeliest_on_native_grid, to_native_grid
from metrics.mechanism import Mechanism
from models.prediction import Prediction


@dataclass(frozen=True, kw_only=True)
class EvaluatedSlice:
    """One slice on its native grid, truth beside prediction; what tables are counted from and pictures drawn from.

    Attributes:
        index: Row in the store.
        image: Intensities after z-scoring.
        true_mask: Class indices as annotated.
        predicted_mask: Class indices as predicted, unlabelled classes merged into the background.
        labelled: Which classes the annotator drew; column 0 is True.
        true_boxes: (cx, cy, w, h) in 0..1 of the native image, NaN where absent.
        mask_boxes: The same of the predicted mask.
        network_boxes: The same as regressed by the network itself, or None where it predicts none.
        saliency: Attention map in 0..1, zero outside the network's field; or None.
        spacing_mm: (row, column).
        mechanism: The masks and maps that show how the network works; empty where it was not asked for.
        gated_features: Strength of the features in front of an attention gate, 0 or more; or None.
    """

    index: int
    case: str
    patient: str
    level: str
    slice: int
    image: Float[np.ndarray, "m H W"]
    true_mask: Int[np.ndarray, "H W"]
    predicted_mask: Int[np.ndarray, "H W"]
    labelled: Bool[np.ndarray, " c"]
    true_boxes: Float[np.ndarray, "n 4"]
    mask_boxes: Float[np.ndarray, "n 4"]
    network_boxes: Float[np.ndarray, "n 4"] | None
    saliency: Float[np.ndarray, "H W"] | None
    spacing_mm: tuple[float, float]
    mechanism: Mechanism = field(default_factory=Mechanism)
    gated_features: Float[np.ndarray, "H W"] | None = None


def evaluate(
    prediction: Prediction, batch: SpineBatch, store: SliceStore, *, mechanism: bool = False
) -> list[EvaluatedSlice]:
    """Resamples probabilities, never labels, to each slice's native grid and takes the likeliest class there.

    Args:
        prediction: Of the whole batch.
        batch: What was predicted from.
        store: Where its slices lie on their native grid.
        mechanism: Whether to bring the preliminary mask, its ceiling and the gated features there as well, which
            doubles the time.
    """
    outputs = Outputs.of(prediction, batch, mechanism=mechanism)
    return [_evaluate_slice(position, outputs, batch, store) for position in range(len(batch))]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is brought to the native grid, on the CPU, each on a grid of its own that covers the network's field.

    `preliminary` and `ceiling` are the class probabilities of the preliminary mask, and the truth averaged to its grid.
    """

    probabilities: Float[Tensor, "b c h w"]
    preliminary: Float[Tensor, "b c h_p w_p"] | None
    ceiling: Float[Tensor, "b c h_p w_p"] | None
    boxes: Float[Tensor, "b n 4"] | None
    saliency: Float[Tensor, "b 1 h_s w_s"] | None
    gated_features: Float[Tensor, "b 1 h_s w_s"] | None
    shows_mechanism: bool

    @classmethod
    def of(cls, prediction: Prediction, batch: SpineBatch, *, mechanism: bool) -> "Outputs":
        """Takes them from a prediction; unlabelled classes are merged into the background."""
        preliminary = ceiling = None
        if mechanism and prediction.preliminary is not None:
            scores = prediction.preliminary.float()
            preliminary = merge_unlabelled(scores, batch.labelled).softmax(dim=1).cpu()
            ceiling = class_shares(batch.mask, scores.shape[1], scores.shape[2:], nearest=False).cpu()
        boxes, saliency, features = (
            None if value is None else value.float().cpu()
            for value in (prediction.boxes, prediction.saliency, prediction.gated_features if mechanism else None)
        )
        return cls(
            probabilities=merge_unlabelled(prediction.logits.float(), batch.labelled).softmax(dim=1).cpu(),
            preliminary=preliminary,
            ceiling=ceiling,
            boxes=boxes,
            saliency=saliency,
            gated_features=features,
            shows_mechanism=mechanism,
        )


def _evaluate_slice(position: int, outputs: Outputs, batch: SpineBatch, store: SliceStore) -> EvaluatedSlice:
    index = int(batch.index[position])
    native = store.native(index)
    place = (store.grid, native.mask.shape, native.spacing_mm)
    num_structures = outputs.probabilities.shape[1] - 1
    predicted = likeliest_on_native_grid(outputs.probabilities[position], *place)
    true_mask = torch.from_numpy(native.mask.astype(np.int64))
    network_boxes = None
    if outputs.boxes is not None:
        network_boxes = boxes_to_native(outputs.boxes[position], *place).numpy()
    preliminary, ceiling = (
        None if shares is None else likeliest_on_native_grid(shares[position], *place).numpy()
        for shares in (outputs.preliminary, outputs.ceiling)
    )
    saliency, features = (
        None if values is None else to_native_grid(values[position], *place)[0].numpy()
        for values in (outputs.saliency, outputs.gated_features)
    )
    return EvaluatedSlice(
        index=index,
        case=batch.case[position],
        patient=batch.patient[position],
        level=batch.level[position],
        slice=int(store.table["slice"].iloc[index]),
        image=native.image,
        true_mask=true_mask.numpy(),
        predicted_mask=predicted.numpy(),
        labelled=batch.labelled[position].cpu().numpy(),
        true_boxes=boxes_of_masks(true_mask[None], num_structures)[0].numpy(),
        mask_boxes=boxes_of_masks(predicted[None], num_structures)[0].numpy(),
        network_boxes=network_boxes,
        saliency=saliency,
        spacing_mm=native.spacing_mm,
        mechanism=Mechanism(
            preliminary_mask=preliminary,
            ceiling_mask=ceiling,
            saliency=saliency,
            field=field_of_view(*place).numpy() if outputs.shows_mechanism else None,
        ),
        gated_features=features,
    )


def windowed(item: EvaluatedSlice) -> UInt8[np.ndarray, "H W"]:
    """The first channel for pictures, see `grey_levels`."""
    return grey_levels(item.image[0])


def grey_levels(grey: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """Intensities for pictures: the 1 % darkest pixels are black, the 0.5 % brightest white."""
    low, high = np.percentile(grey, [1, 99.5])
    return (np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1) * 255).round().astype(np.uint8)
