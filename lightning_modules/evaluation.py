"""From a prediction on the network's grid to masks and boxes on the untouched grid of the image."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from datamodules.batch import SpineBatch, boxes_of_masks
from datamodules.geometry import SliceGrid
from datamodules.store import SliceStore
from lightning_modules.losses.marginal import merge_unlabelled
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
        saliency: Attention map in 0..1 on a grid of its own, or None.
        spacing_mm: (row, column).
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


def evaluate(prediction: Prediction, batch: SpineBatch, store: SliceStore) -> list[EvaluatedSlice]:
    """Resamples probabilities, never labels, to each slice's native grid and takes the likeliest class there."""
    probabilities = merge_unlabelled(prediction.logits.float(), batch.labelled).softmax(dim=1).cpu()
    return [
        _evaluate_slice(position, probabilities[position], prediction, batch, store) for position in range(len(batch))
    ]


def _evaluate_slice(
    position: int, probabilities: Float[Tensor, "c h w"], prediction: Prediction, batch: SpineBatch, store: SliceStore
) -> EvaluatedSlice:
    index = int(batch.index[position])
    native = store.native(index)
    size = native.mask.shape
    num_structures = probabilities.shape[0] - 1
    # Outside the network's field of view nothing is predicted: background is what the others leave.
    foreground = to_native_grid(probabilities[1:], store.grid, size, native.spacing_mm)
    predicted = torch.cat([1 - foreground.sum(dim=0, keepdim=True), foreground]).argmax(dim=0)
    true_mask = torch.from_numpy(native.mask.astype(np.int64))
    network_boxes = saliency = None
    if prediction.boxes is not None:
        boxes = prediction.boxes[position].float().cpu()
        network_boxes = boxes_to_native(boxes, store.grid, size, native.spacing_mm).numpy()
    if prediction.saliency is not None:
        # The map's cells cover the network grid: brought to that first, then to the image.
        fine = F.interpolate(
            prediction.saliency[position][None].float().cpu(), probabilities.shape[1:], mode="bilinear"
        )
        saliency = to_native_grid(fine[0], store.grid, size, native.spacing_mm)[0].numpy()
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
    )


def to_native_grid(
    values: Float[Tensor, "c h w"],
    grid: SliceGrid,
    native_size: tuple[int, int],
    native_spacing_mm: tuple[float, float],
) -> Float[Tensor, "c H W"]:
    """Bilinear values at every native pixel; zero outside the network grid (see `SliceGrid` for the map)."""
    coordinates = []
    for axis in (0, 1):
        centred = torch.arange(native_size[axis]) - (native_size[axis] - 1) / 2
        offset_mm = centred * native_spacing_mm[axis] - grid.offset_mm[axis]
        # grid_sample without aligned corners: -1 and 1 are the outer edges of the first and last pixel.
        coordinates.append(2 * offset_mm / (grid.spacing_mm * grid.size[axis]))
    inside = (coordinates[0].abs() <= 1)[:, None] & (coordinates[1].abs() <= 1)[None, :]
    points = torch.stack(torch.meshgrid(coordinates[1], coordinates[0], indexing="xy"), dim=-1)
    # The half pixel between the last centre and the edge takes the last value instead of fading out.
    sampled = F.grid_sample(values[None], points[None].to(values), padding_mode="border", align_corners=False)[0]
    return sampled * inside


def boxes_to_native(
    boxes: Float[Tensor, "n 4"], grid: SliceGrid, native_size: tuple[int, int], native_spacing_mm: tuple[float, float]
) -> Float[Tensor, "n 4"]:
    """Boxes in 0..1 of the network grid become boxes in 0..1 of the native image."""
    grid_mm = torch.tensor([side * grid.spacing_mm for side in (grid.size[1], grid.size[0])])
    native_mm = torch.tensor([native_size[axis] * native_spacing_mm[axis] for axis in (1, 0)])
    offset_mm = torch.tensor([grid.offset_mm[1], grid.offset_mm[0]])
    centre = ((boxes[:, :2] - 0.5) * grid_mm + offset_mm) / native_mm + 0.5
    return torch.cat([centre, boxes[:, 2:] * grid_mm / native_mm], dim=1)
