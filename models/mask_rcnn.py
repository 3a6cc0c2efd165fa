"""Mask R-CNN (He et al. 2017) with a ResNet-50 feature pyramid."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d, box_convert

from models.assembly import assemble, best_of_each_class
from models.blocks.imagenet import read_weights, share_among_channels
from models.prediction import Prediction
from models.strides import Strides

Target = Mapping[
    str, Tensor
]  # of one image: boxes "o 4" (x, y, x, y in pixels), labels "o" (1..n), masks "o h w" uint8

NORMALISATIONS = {"batch": nn.BatchNorm2d, "group": partial(nn.GroupNorm, 32), "frozen": FrozenBatchNorm2d}
LOSSES = ("objectness", "rpn_box_reg", "classifier", "box_reg", "mask")


class MaskRCNN(nn.Module):
    """torchvision's Mask R-CNN on slices: 44.0 M parameters for ten classes.

    Slices keep their size (torchvision would enlarge them to 800 pixels) and their z-scored intensities.

    Args:
        in_channels: Channels of the image; the first convolution takes as many.
        num_classes: Classes with background. An organ is one instance, however many pieces its mask has.
        normalisation: Of the ResNet: "batch", "group" (groups of 32; the same whatever the batch), or "frozen" batch
            normalisation, which torchvision takes with pretrained weights.
        weights: Path of the state dict of an ImageNet ResNet-50 or a COCO Mask R-CNN; None starts from scratch.
        anchor_sizes: Side of the anchors of each pyramid level, pixels.
        rois_per_image: Regions of an image that the heads learn from, at most a quarter of them organs.
        proposals_per_image: Regions of an image that detections are chosen from.
        detections_per_image: How many detections of an image are kept.

    Raises:
        ValueError: On an unknown normalisation, or one that does not go with `weights`.
    """

    strides = Strides(4, 32)  # of the feature pyramid; its coarsest level, of 64, is a sampled copy

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        normalisation: str = "group",
        weights: str | None = None,
        anchor_sizes: Sequence[int] = (16, 32, 64, 128, 256),
        rois_per_image: int = 64,
        proposals_per_image: int = 300,
        detections_per_image: int = 30,
    ) -> None:
        super().__init__()
        if normalisation not in NORMALISATIONS:
            raise ValueError(f"model.normalisation is {normalisation!r}, expected one of {', '.join(NORMALISATIONS)}")
        if normalisation == ("frozen" if weights is None else "group"):
            raise ValueError(
                f"model.normalisation={normalisation} does not go with model.weights={weights}: frozen needs the "
                "statistics of pretrained weights, and those come from batch normalisation"
            )
        backbone = resnet_fpn_backbone(
            backbone_name="resnet50", weights=None, norm_layer=NORMALISATIONS[normalisation], trainable_layers=5
        )
        if in_channels != 3:
            first = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
            backbone.body["conv1"] = first
        self.num_classes = num_classes
        self.detector = detection.MaskRCNN(
            backbone,
            rpn_anchor_generator=AnchorGenerator(tuple((size,) for size in anchor_sizes), ((0.5, 1.0, 2.0),) * 5),
            box_predictor=MarginalPredictor(1024, num_classes),
            mask_predictor=MaskRCNNPredictor(256, 256, num_classes),
            rpn_post_nms_top_n_test=proposals_per_image,
            box_batch_size_per_image=rois_per_image,
            box_detections_per_img=detections_per_image,
        )
        self.detector.transform = AsItIs(in_channels)
        if weights is not None:
            load_weights(self.detector, Path(weights))

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Detects, in evaluation alone; boxes and masks are those of the best detection of each class."""
        assert not self.training, "a detector in training has losses instead of predictions: MaskRCNN.losses"
        height, width = image.shape[2:]
        found_boxes = image.new_full((len(image), self.num_classes - 1, 4), torch.nan)
        probabilities = image.new_zeros((len(image), self.num_classes, height, width))
        for index, found in enumerate(self.detector(list(image))):
            best = best_of_each_class(found["labels"], found["scores"])
            classes = found["labels"][best]
            probabilities[index] = assemble(found["masks"][best, 0], classes, self.num_classes)
            scale = found["boxes"].new_tensor([width, height, width, height])
            found_boxes[index, classes - 1] = box_convert(found["boxes"][best], "xyxy", "cxcywh") / scale
        # Probabilities of zero would be logits of minus infinity, which no later step could merge.
        return Prediction(logits=probabilities.clamp(min=1e-12).log(), boxes=found_boxes)

    def losses(
        self, image: Float[Tensor, "b m h w"], targets: Sequence[Target], labelled: Bool[Tensor, "b c"]
    ) -> dict[str, Float[Tensor, ""]]:
        """The detector's own losses, `LOSSES`.

        Slices that are labelled alike pass the heads together, so that these know what counts as background there.

        Args:
            image: The slices.
            targets: Organs of each slice.
            labelled: Which classes were drawn in each slice; column 0 is True.
        """
        predictor = self.detector.roi_heads.box_predictor
        assert isinstance(predictor, MarginalPredictor)
        if not len(image):  # nothing to learn from, yet training goes backward through it
            return dict.fromkeys(LOSSES, 0 * predictor.cls_score.bias.sum())
        images, moved = self.detector.transform(list(image), [dict(target) for target in targets])
        features = self.detector.backbone(images.tensors)
        proposals, found = self.detector.rpn(images, features, moved)
        patterns, pattern_of = labelled.unique(dim=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows = (pattern_of == number).nonzero()[:, 0]
            predictor.labelled = pattern
            _, losses = self.detector.roi_heads(
                {level: values[rows] for level, values in features.items()},
                *([listed[row] for row in rows.tolist()] for listed in (proposals, images.image_sizes, moved)),
            )
            for name, value in losses.items():
                found[name] = found.get(name, 0) + value * (len(rows) / len(image))
        return {name: found[f"loss_{name}"] for name in LOSSES}


class AsItIs(GeneralizedRCNNTransform):
    """Leaves slices and their targets as they are; torchvision would normalise colours and enlarge to 800 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__(min_size=0, max_size=0, image_mean=[0.0] * channels, image_std=[1.0] * channels)

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Does not."""
        return image, target


class MarginalPredictor(FastRCNNPredictor):
    """The box head's last layer; in training, background and the classes that were not drawn are one class.

    A region of a slice whose annotator left out a muscle is background *or* that muscle: to call it the muscle must
    cost nothing. (The proposals before it know no classes. There, an organ that was not drawn counts as background,
    which moves its regions down a list of hundreds that are all looked at.)

    Attributes:
        labelled: Which classes were drawn in the slices at hand; None is all.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.labelled: Bool[Tensor, " c"] | None = None

    def forward(self, x: Float[Tensor, "r f"]) -> tuple[Float[Tensor, "r c"], Float[Tensor, "r d"]]:
        """Class scores and box offsets of each region."""
        scores, offsets = super().forward(x)
        if self.training and self.labelled is not None and not bool(self.labelled.all()):
            undrawn = ~self.labelled
            background = torch.cat([scores[:, :1], scores[:, undrawn]], dim=1).logsumexp(dim=1, keepdim=True)
            scores = torch.cat([background, scores[:, 1:].masked_fill(undrawn[1:], -1e4)], dim=1)
        return scores, offsets


def load_weights(detector: nn.Module, path: Path) -> None:
    """Takes over what fits of an ImageNet ResNet-50 or a COCO Mask R-CNN.

    The last layers of the heads know other classes and stay as they are. The filters of the first convolution are
    summed over their three colours and shared among the channels, as if the mean of the channels were shown in grey.

    Raises:
        ValueError: If the file is not there or holds another network.
    """
    state = read_weights(path)
    if "fc.weight" in state:
        state = {f"backbone.body.{name}": value for name, value in state.items() if not name.startswith("fc.")}
    first, own = "backbone.body.conv1.weight", detector.state_dict()
    if first in state:
        state[first] = share_among_channels(state[first], own[first].shape[1])
    fitting = {
        name: value
        for name, value in state.items()
        if name in own and own[name].shape == value.shape and "_predictor." not in name
    }
    missing = [
        name for name in own if name.startswith("backbone.body.") and name not in fitting and "num_batches" not in name
    ]
    if missing:
        raise ValueError(f"model.weights={path} holds no ResNet-50 backbone: {missing[0]} is not in it")
    detector.load_state_dict(fitting, strict=False)
