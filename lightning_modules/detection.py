"""Training of detectors, whose losses live inside the network."""

from torch import Tensor
from torchvision.ops import box_convert

from datamodules.batch import SpineBatch
from lightning_modules.losses.own import OwnLoss as OwnLoss  # its path in the configurations of older runs
from lightning_modules.segmentation import SegmentationModule
from models.mask_rcnn import MaskRCNN, Target


class DetectionModule(SegmentationModule):
    """Trains a detector by its own losses; validation and test are those of every other system.

    A slice without a mask is left out. In a slice whose annotator drew only some structures, the others are neither
    objects nor, to the classifier, background (`models.mask_rcnn.MarginalPredictor`).
    """

    def losses(self, batch: SpineBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted total, and each of the network's losses by name."""
        assert isinstance(self.network, MaskRCNN)
        drawn = batch.has_mask.nonzero()[:, 0]
        targets = [detection_target(batch, index) for index in drawn.tolist()]
        image = batch.image.contiguous(memory_format=self._memory_format)
        values = self.network.losses(image[drawn], targets, batch.labelled[drawn])
        if set(values) != set(self.objective.terms):
            raise ValueError(
                f"the network's own losses are {', '.join(values)}, but the objective has "
                f"{', '.join(self.objective.terms)}: choose objective=mask_rcnn"
            )
        return self.objective.weigh(values)


def detection_target(batch: SpineBatch, index: int) -> Target:
    """Boxes (x, y, x, y in pixels), labels and masks of the structures that are drawn and present in a slice."""
    boxes = batch.boxes[index]
    structures = (batch.labelled[index, 1:] & boxes.isfinite().all(dim=1)).nonzero()[:, 0]
    height, width = batch.mask.shape[1:]
    corners = box_convert(boxes[structures], "cxcywh", "xyxy") * boxes.new_tensor([width, height, width, height])
    masks = batch.mask[index] == structures[:, None, None] + 1
    return {"boxes": corners, "labels": structures + 1, "masks": masks.byte()}
