"""SAM (Kirillov et al. 2023), told where each structure is and trained no further."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.assembly import assemble
from models.prediction import Prediction
from models.sam.frame import SIDE, Frame
from models.sam.sizes import published_name
from models.sam.weights import load_sam, sha256_of
from models.strides import Strides

ANNOTATED = "annotated"  # prompts of the true mask: an oracle
PATCH = 16  # pixels of SAM's square in a cell of its features


class Prompts(NamedTuple):
    """What SAM is told of the slices of a batch.

    Attributes:
        where: Of each structure a box (cx, cy, w, h) in 0..1 of the image, or a point (x, y) in pixels, centres at
            integers; NaN where it is absent.
        truth: The annotated class of every pixel, which `mask=best` alone looks at.
    """

    where: Float[Tensor, "b n 4"] | Float[Tensor, "b n 2"]
    truth: Int[Tensor, "b h w"] | None = None


class PromptedSam(nn.Module):
    """A mask of every structure that a prompt points at; background is the rest.

    A slice is encoded once, and all its prompts are decoded together. Of the three masks of a prompt the first counts
    (Mazurowski et al. 2023); where masks of two structures overlap, the one whose IoU SAM itself expects to be higher
    is on top. A structure without a prompt has no mask.

    Args:
        in_channels: Channels of the image; all are shown as one grey picture.
        num_classes: Classes with background.
        weights: File of SAM's weights; without one the network can be described and does not run.
        prompt: What points at a structure.
        prompts: Whose prompts they are, for the run's card: "annotated", or the folder of the run that found them.
        mask: Which of the three masks: the "first", or, an oracle, the "best" by the true mask.
        size: Rows and columns of the images, which the side of SAM's cells in their pixels depends on.
        stand_in: Whether weights of another size than the published ones will do. For tests: a report leaves out a run
            that was made so.

    Attributes:
        strides: Side of SAM's cells in pixels of the image, which is no whole number.
        card: What is to be known of where the masks come from.

    Raises:
        ValueError: As `models.sam.weights.load_sam`.
    """

    learns = False
    needs: Mapping[str, str] = {
        "weights": "SAM is not run without its weights: give model.weights=FILE, the state dict of transformers' "
        "SamModel, of segment_anything's vit_b, vit_l or vit_h, or of MobileSAM",
        "prompts": "name the finished run that finds the structures of the same fold: model.prompts=RUN",
    }

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        weights: str | None = None,
        prompt: Literal["box", "point"] = "box",
        prompts: str | None = ANNOTATED,
        mask: Literal["first", "best"] = "first",
        size: Sequence[int] = (SIDE, SIDE),
        stand_in: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.prompt, self.prompts, self.mask = prompt, prompts, mask
        self.sam: Any = None if weights is None else load_sam(weights, stand_in=stand_in)
        self.side, patch = (SIDE, PATCH) if self.sam is None else _sides(self.sam)
        cell = patch * max(size) / self.side
        self.strides = Strides(cell, cell)
        self.card = {} if weights is None else self._card(weights)

    def forward(self, image: Float[Tensor, "b m h w"], prompts: Prompts | None = None) -> Prediction:
        """Class scores whose likeliest class is the assembled mask.

        Raises:
            ValueError: If there are no weights, or no prompts.
        """
        if self.sam is None:
            raise ValueError(self.needs["weights"])
        if prompts is None:
            raise ValueError("SAM was shown images without prompts: nothing says where the structures are")
        truths = [None] * len(image) if prompts.truth is None else prompts.truth
        slices = zip(image, prompts.where, truths, strict=True)
        probabilities = torch.stack([self._segmented(*each) for each in slices])
        # Probabilities of zero would be logits of minus infinity, which no later step could merge.
        return Prediction(logits=probabilities.clamp(min=1e-12).log())

    def _segmented(
        self, image: Float[Tensor, "m h w"], where: Float[Tensor, "n _"], truth: Int[Tensor, "h w"] | None
    ) -> Float[Tensor, "c h w"]:
        present = where.isfinite().all(dim=1).nonzero()[:, 0]
        if not len(present):
            return assemble(image.new_zeros((0, *image.shape[1:])), present, self.num_classes)
        frame = Frame(size=(image.shape[1], image.shape[2]), side=self.side)
        embedding = self.sam.get_image_embeddings(frame.picture(image)[None])
        told = self._told(frame, where[present])
        found = self.sam(image_embeddings=embedding, multimask_output=True, **told)
        scores, expected = found.pred_masks[0].float(), found.iou_scores[0].float()
        masks = frame.masks(scores if self.mask == "best" else scores[:, :1])
        chosen = torch.zeros_like(present)
        if self.mask == "best":
            assert truth is not None, "the best mask is chosen by the true one"
            chosen = best_masks(masks > 0, truth == present[:, None, None] + 1)
        every = torch.arange(len(present), device=present.device)
        order = expected[every, chosen].argsort(descending=True, stable=True)
        return assemble(masks[every, chosen][order].sigmoid(), present[order] + 1, self.num_classes)

    def _told(self, frame: Frame, where: Float[Tensor, "k _"]) -> dict[str, Tensor]:
        """The prompts of a slice by transformers' names: one for each of k masks."""
        if self.prompt == "box":
            return {"input_boxes": frame.corners(where)[None]}
        return {"input_points": frame.points(where)[None, :, None]}

    def _card(self, weights: str) -> dict[str, Any]:
        source = "the annotation, an oracle" if self.prompts == ANNOTATED else f"the run {Path(str(self.prompts)).name}"
        kept = "the first of three masks" if self.mask == "first" else "the best of three masks by the truth, an oracle"
        return {
            "architecture": f"SAM {published_name(self.sam) or 'of no published size'}",
            "weights_sha256": sha256_of(weights),
            "protocol": f"a {self.prompt} a structure from {source}; {kept}",
            "trained_parameters": 0,
            "transformers": version("transformers"),
        }


def best_masks(masks: Bool[Tensor, "k o h w"], truth: Bool[Tensor, "k h w"]) -> Int[Tensor, " k"]:
    """Which of the masks offered for each prompt has the highest IoU with the true one; the first of equals."""
    both = (masks & truth[:, None]).sum(dim=(2, 3))
    either = (masks | truth[:, None]).sum(dim=(2, 3))
    return (both / either.clamp(min=1)).argmax(dim=1)


def _sides(sam: Any) -> tuple[int, int]:
    """Pixels of the square that a SAM looks at, and of a cell of its features."""
    return int(sam.config.vision_config.image_size), int(sam.config.vision_config.patch_size)
