"""From a prediction on the network's grid to masks, boxes and maps on the untouched grid of the image."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from datamodules.batch import SpineBatch, boxes_of_masks
from datamodules.slices import SliceDataModule
from datamodules.store.slice_store import SliceStore
from lightning_modules.evaluation.clean_up import AS_FOUND, CleanUp
from lightning_modules.evaluation.native_grid import NativeGrid
from lightning_modules.evaluation.outputs import Outputs
from lightning_modules.evaluation.pose import Pose
from metrics.keypoints import decode_heatmaps
from metrics.mechanism import Mechanism
from models.prediction import Prediction
from pictures.view import SliceView, grey_levels


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
        has_mask: Whether an annotator drew `true_mask`; without one it is empty and nothing may be scored against it.
        true_keypoints: (x, y) in native pixels as annotated; NaN where not visible in the network's field.
        keypoints: The same as decoded from the network's heat maps, or None where it has none.
        keypoint_peaks: Height of the heat map at each of `keypoints`; or None.
        heatmap: Largest value over the key points, zero outside of the network's field; or None. Tests only.
        attention: Where the network looks from each key point, on a grid of its own that covers its field; or None.
        regions: Masks of the regions that the network judges one by one, which may overlap; or None. Tests only.
        domain: "" or the name of the weak cohort that it came from, whose slices train and are never tested.
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
    has_mask: bool = True
    true_keypoints: Float[np.ndarray, "k 2"] = field(default_factory=lambda: np.zeros((0, 2)))
    keypoints: Float[np.ndarray, "k 2"] | None = None
    keypoint_peaks: Float[np.ndarray, " k"] | None = None
    heatmap: Float[np.ndarray, "H W"] | None = None
    attention: Float[np.ndarray, "k h_a w_a"] | None = None
    regions: Bool[np.ndarray, "r H W"] | None = None
    domain: str = ""


def evaluate(
    prediction: Prediction,
    batch: SpineBatch,
    store: SliceStore,
    *,
    mechanism: bool = False,
    pose: Pose | None = None,
    clean_up: CleanUp = AS_FOUND,
) -> list[EvaluatedSlice]:
    """Resamples probabilities, never labels, to each slice's native grid and takes the likeliest class there.

    Args:
        prediction: Of the whole batch.
        batch: What was predicted from.
        store: Where its slices lie on their native grid.
        mechanism: Whether to bring the preliminary mask, its ceiling, the gated features and the heat maps there as
            well, which doubles the time.
        pose: How the patient lay in `batch.image`, if not as annotated. Boxes that the network regressed do not turn
            back into upright ones and are left out.
        clean_up: What is done to the mask afterwards.
    """
    # Levels are counted among all that the network has found, be it that nobody drew some of it.
    outputs = Outputs.of(prediction, batch, mechanism=mechanism, merged=not clean_up.level_order)
    return [_evaluate_slice(position, outputs, batch, store, pose, clean_up) for position in range(len(batch))]


def _evaluate_slice(
    position: int, outputs: Outputs, batch: SpineBatch, store: SliceStore, pose: Pose | None, clean_up: CleanUp
) -> EvaluatedSlice:
    index, has_mask = int(batch.index[position]), bool(batch.has_mask[position])
    native = store.native(index)
    scan = NativeGrid(grid=store.grid, size=native.mask.shape, spacing_mm=native.spacing_mm)
    seen = replace(scan, pose=pose)
    num_structures = outputs.probabilities.shape[1] - 1
    labelled = batch.labelled[position].cpu().numpy()
    cleaned = clean_up(seen.likeliest(outputs.probabilities[position]).numpy(), store.anatomy)
    predicted = np.where(labelled[cleaned], cleaned, 0)
    true_mask = torch.from_numpy(native.mask.astype(np.int64) * has_mask)
    network_boxes = None
    if outputs.boxes is not None and pose is None:
        network_boxes = scan.boxes(outputs.boxes[position]).numpy()
    preliminary, ceiling = (
        None if shares is None else seen.likeliest(shares[position]).numpy()
        for shares in (outputs.preliminary, outputs.ceiling)
    )
    saliency, features, heatmap = (
        None if values is None else seen.values(values[position])[0].numpy()
        for values in (outputs.saliency, outputs.gated_features, outputs.highest)
    )
    regions = None if outputs.regions is None else (seen.values(outputs.regions[position]) > 0.5).numpy()
    keypoints, peaks = _decoded(None if outputs.heatmaps is None else outputs.heatmaps[position], seen)
    return EvaluatedSlice(
        index=index,
        case=batch.case[position],
        patient=batch.patient[position],
        level=batch.level[position],
        slice=int(store.table["slice"].iloc[index]),
        image=native.image,
        true_mask=true_mask.numpy(),
        predicted_mask=predicted,
        labelled=labelled,
        true_boxes=boxes_of_masks(true_mask[None], num_structures)[0].numpy(),
        mask_boxes=boxes_of_masks(torch.from_numpy(predicted)[None], num_structures)[0].numpy(),
        network_boxes=network_boxes,
        saliency=saliency,
        spacing_mm=native.spacing_mm,
        mechanism=Mechanism(
            preliminary_mask=preliminary,
            ceiling_mask=ceiling,
            saliency=saliency,
            field=seen.field_of_view.numpy() if outputs.shows_mechanism else None,
        ),
        gated_features=features,
        has_mask=has_mask,
        true_keypoints=scan.points(batch.keypoints[position].double().cpu()).numpy(),
        keypoints=keypoints,
        keypoint_peaks=peaks,
        heatmap=heatmap,
        attention=None if outputs.attention is None else outputs.attention[position].numpy(),
        regions=regions,
        domain=str(store.table["domain"].iloc[index]),
    )


def _decoded(
    heatmaps: Float[Tensor, "k h w"] | None, seen: NativeGrid
) -> tuple[Float[np.ndarray, "k 2"] | None, Float[np.ndarray, " k"] | None]:
    """Key points in native pixels and the heights of their peaks, read off the maps as the network drew them."""
    if heatmaps is None:
        return None, None
    points, peaks = decode_heatmaps(heatmaps.numpy(), (seen.grid.spacing_mm, seen.grid.spacing_mm))
    return seen.points(torch.from_numpy(points)).numpy(), peaks


def slice_with_mask(data: SliceDataModule, index: int, mask: UInt8[np.ndarray, "H W"] | None) -> EvaluatedSlice:
    """A slice with a mask in place of a prediction, nothing predicted where there is none."""
    native, row = data.store.native(index), data.store.table.iloc[index]
    true_mask, num_structures = native.mask.astype(np.int64), data.anatomy.num_structures
    predicted = np.zeros_like(true_mask) if mask is None else mask.astype(np.int64)
    true_boxes, mask_boxes = (
        boxes_of_masks(torch.from_numpy(each)[None], num_structures)[0].numpy() for each in (true_mask, predicted)
    )
    points = torch.from_numpy(np.array(data.store.keypoints[index], dtype=np.float64))
    scan = NativeGrid(grid=data.store.grid, size=native.mask.shape, spacing_mm=native.spacing_mm)
    return EvaluatedSlice(
        index=index,
        case=str(row["case"]),
        patient=str(row["patient"]),
        level=str(row["level"]),
        slice=int(row["slice"]),
        image=native.image,
        true_mask=true_mask,
        predicted_mask=predicted,
        labelled=np.array(data.store.labelled[index]),
        true_boxes=true_boxes,
        mask_boxes=mask_boxes,
        network_boxes=None,
        saliency=None,
        spacing_mm=native.spacing_mm,
        true_keypoints=scan.points(points).numpy(),
    )


def view_of(item: EvaluatedSlice, view: str, **shown: Any) -> SliceView:
    """The first channel of a slice for pictures.

    Args:
        item: The slice.
        view: Of its anatomy.
        shown: What else a `SliceView` takes.
    """
    return SliceView(grey=grey_levels(item.image[0]), spacing_mm=item.spacing_mm, view=view, **shown)
