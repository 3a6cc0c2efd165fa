"""What a network put out, ready to be brought to the native grid."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from datamodules.batch import SpineBatch
from lightning_modules.losses.marginal import merge_unlabelled
from lightning_modules.losses.segmentation import class_shares
from models.prediction import Prediction


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is brought to the native grid, on the CPU, each on a grid of its own that covers the network's field.

    `preliminary` and `ceiling` are the class probabilities of the preliminary mask, and the truth averaged to its grid;
    `highest` is the largest of the heat maps at every pixel; `regions` are probabilities, each of its own region.
    """

    probabilities: Float[Tensor, "b c h w"]
    preliminary: Float[Tensor, "b c h_p w_p"] | None
    ceiling: Float[Tensor, "b c h_p w_p"] | None
    boxes: Float[Tensor, "b n 4"] | None
    saliency: Float[Tensor, "b 1 h_s w_s"] | None
    gated_features: Float[Tensor, "b 1 h_s w_s"] | None
    heatmaps: Float[Tensor, "b k h w"] | None
    highest: Float[Tensor, "b 1 h w"] | None
    attention: Float[Tensor, "b k h_a w_a"] | None
    regions: Float[Tensor, "b r h w"] | None
    shows_mechanism: bool

    @classmethod
    def of(cls, prediction: Prediction, batch: SpineBatch, *, mechanism: bool, merged: bool = True) -> "Outputs":
        """Takes them from a prediction; unlabelled classes are merged into the background, or else stay in the mask."""
        preliminary = ceiling = None
        logits = prediction.logits.float()
        if mechanism and prediction.preliminary is not None:
            scores = prediction.preliminary.float()
            preliminary = merge_unlabelled(scores, batch.labelled).softmax(dim=1).cpu()
            ceiling = class_shares(batch.mask, scores.shape[1], scores.shape[2:], nearest=False).cpu()
        tested = prediction if mechanism else prediction._replace(gated_features=None, attention=None, regions=None)
        boxes, saliency, features, heatmaps, attention = (
            None if value is None else value.float().cpu()
            for value in (tested.boxes, tested.saliency, tested.gated_features, tested.heatmaps, tested.attention)
        )
        return cls(
            probabilities=(merge_unlabelled(logits, batch.labelled) if merged else logits).softmax(dim=1).cpu(),
            preliminary=preliminary,
            ceiling=ceiling,
            boxes=boxes,
            saliency=saliency,
            gated_features=features,
            heatmaps=heatmaps,
            highest=heatmaps.amax(dim=1, keepdim=True) if mechanism and heatmaps is not None else None,
            attention=attention,
            regions=None if tested.regions is None else tested.regions.float().sigmoid().cpu(),
            shows_mechanism=mechanism,
        )
