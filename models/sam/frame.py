"""The square that SAM looks at: a slice enlarged until its longer side fits, the rest of the shorter one empty."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

SIDE = 1024  # pixels; Kirillov et al. 2023, appendix A
# Of ImageNet's colours at 0..255, which SAM's encoder began with.
COLOUR_MEAN, COLOUR_SD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CENTRE = 0.5  # SAM adds half a pixel to every coordinate that it is given: centres of pixels lie at integers


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where a slice lies in SAM's square: its upper left corner.

    Attributes:
        size: Rows and columns of the slice.
        side: Of the square, pixels.
    """

    size: tuple[int, int]
    side: int = SIDE

    @property
    def inner(self) -> tuple[int, int]:
        """Rows and columns of the enlarged slice."""
        rows, columns = (int(length * self.side / max(self.size) + 0.5) for length in self.size)
        return rows, columns

    def picture(self, image: Float[Tensor, "m h w"]) -> Float[Tensor, "3 s s"]:
        """A slice as SAM's encoder takes it: grey in three colours, 0..255 by its own range, normalised, zero outside.

        Mazurowski et al. 2023 divide by the maximum. Z-scores do not know any more where zero was: the darkest pixel,
        air, takes its place. Several contrasts are shown as their mean.
        """
        lowest, highest = image.amin(dim=(1, 2), keepdim=True), image.amax(dim=(1, 2), keepdim=True)
        grey = (255 * (image - lowest) / (highest - lowest).clamp(min=1e-6)).mean(dim=0)
        enlarged = F.interpolate(grey[None, None], self.inner, mode="bilinear", align_corners=False, antialias=True)[0]
        mean, spread = (enlarged.new_tensor(values)[:, None, None] for values in (COLOUR_MEAN, COLOUR_SD))
        rows, columns = self.inner
        return F.pad((enlarged - mean) / spread, (0, self.side - columns, 0, self.side - rows))

    def points(self, points: Float[Tensor, "k 2"]) -> Float[Tensor, "k 2"]:
        """Points (x, y) in pixels of the slice, as SAM takes them: in pixels of the square; centres at integers."""
        return (points + CENTRE) * self._enlargement(points) - CENTRE

    def corners(self, boxes: Float[Tensor, "k 4"]) -> Float[Tensor, "k 4"]:
        """Boxes (cx, cy, w, h) in 0..1 of the slice as SAM takes them: (left, top, right, bottom) in the square.

        Outer edges stay outer edges: a box of the whole slice ends half a pixel beyond the centres of its border.
        """
        scale = self._enlargement(boxes) * boxes.new_tensor([self.size[1], self.size[0]])
        centre, half = boxes[:, :2] * scale, boxes[:, 2:] * scale / 2
        return torch.cat([centre - half, centre + half], dim=1) - CENTRE

    def masks(self, scores: Float[Tensor, "k o r r"]) -> Float[Tensor, "k o h w"]:
        """Scores on SAM's coarse grid of the square at the pixels of the slice, in two bilinear steps as SAM's own."""
        rows, columns = self.inner
        whole = F.interpolate(scores, (self.side, self.side), mode="bilinear", align_corners=False)
        return F.interpolate(whole[..., :rows, :columns], self.size, mode="bilinear", align_corners=False)

    def _enlargement(self, like: Tensor) -> Float[Tensor, " 2"]:
        """Along x and y; both are rounded to whole pixels of the square on their own."""
        return like.new_tensor([self.inner[1] / self.size[1], self.inner[0] / self.size[0]])
