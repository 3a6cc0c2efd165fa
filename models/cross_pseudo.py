"""SSHS: two networks that teach each other on images without masks (SSHSNet, stage 1)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.prediction import Prediction


class CrossPseudo(nn.Module):
    """Two networks of one kind, initialised independently; what they predict together is their mean.

    How they teach each other is `lightning_modules.cross_pseudo.CrossPseudoModule`.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        branch: Builds one network, from these and the width.
        width: Channels of the branches' finest stage; 64 as published.

    Attributes:
        strides: Those of a branch.
    """

    def __init__(
        self, *, in_channels: int, num_classes: int, branch: Callable[..., nn.Module], width: int = 64
    ) -> None:
        super().__init__()
        self.first, self.second = (
            branch(in_channels=in_channels, num_classes=num_classes, width=width) for _ in range(2)
        )
        self.strides = self.first.strides

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Both branches in training; otherwise the logarithm of their mean probability, which is a class score, too."""
        first, second = (branch(image).logits for branch in (self.first, self.second))
        if self.training:
            return Prediction(logits=first, second=second)
        both = torch.stack([scores.float().log_softmax(dim=1) for scores in (first, second)])
        return Prediction(logits=both.logsumexp(dim=0) - torch.log(both.new_tensor(2.0)))
