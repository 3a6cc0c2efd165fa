"""BS-ESNet (Huang et al., MICCAI 2020): boxes from a preliminary mask guide the segmentation."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.bs_esnet.bsn import BoundarySensitiveNetwork
from models.bs_esnet.esnet import ExplicitSaliencyNetwork
from models.prediction import Prediction
from models.strides import Strides
from models.unet import Encoder


class BSESNet(nn.Module):
    """Shared encoder, BSN (detects) and ESNet (segments): 44.94 M parameters at width 64 and nine organs.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        bsn: Builds the detecting half from `encoder_channels` and `num_classes`.
        sag: Builds the attention gate from the same.
        width: Channels of the first encoder stage.
        deep_supervision: Whether the coarser decoder stages are supervised.
        query_source: Boxes that the gate sees in training. "predicted" by BSN from the first epoch on is the paper's;
            "annotated" and "annotated_jittered" (centre and size off by `jitter` of the size, SD) are teacher forcing.
            Outside training it is always "predicted", but for `ask_at_test`.
        jitter: See `query_source`.
    """

    TEST_QUERIES = ("predicted", "offered", "dealt", "none")

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        bsn: Callable[..., BoundarySensitiveNetwork],
        sag: Callable[..., nn.Module],
        width: int = 64,
        deep_supervision: bool = True,
        query_source: str = "predicted",
        jitter: float = 0.1,
    ) -> None:
        super().__init__()
        if query_source not in ("predicted", "annotated", "annotated_jittered"):
            raise ValueError(
                f"model.query_source is {query_source!r}, expected predicted, annotated or annotated_jittered"
            )
        self.encoder = Encoder(in_channels=in_channels, width=width, depth=5)
        self.strides = Strides(1, self.encoder.stride)
        channels = self.encoder.channels
        self.bsn = bsn(encoder_channels=channels, num_classes=num_classes)
        self.esnet = ExplicitSaliencyNetwork(
            gate=sag(encoder_channels=channels, num_classes=num_classes),
            encoder_channels=channels,
            num_classes=num_classes,
            deep_supervision=deep_supervision,
        )
        self.query_source = query_source
        self.jitter = jitter
        self._test_query, self._deal = "predicted", ()

    def ask_at_test(self, query: str = "predicted", deal: Sequence[int] = ()) -> None:
        """Chooses the boxes that the gate sees outside training, to measure what it does with them.

        Args:
            query: "predicted" by BSN, as the network is meant to be used; "offered" to `forward` by the caller;
                "dealt" is predicted too, but structure i gets the box of structure `deal`[i]; "none" is no box at all,
                an empty query.
            deal: See `query`.
        """
        assert query in self.TEST_QUERIES, f"query is {query!r}, expected one of {self.TEST_QUERIES}"
        self._test_query, self._deal = query, tuple(deal)

    def forward(self, image: Float[Tensor, "b m h w"], boxes: Float[Tensor, "b n 4"] | None = None) -> Prediction:
        """Detects and segments; `boxes` are looked at in training under teacher forcing, or as `ask_at_test` says."""
        features = self.encoder(image)
        # A frozen BSN has nothing to learn: no graph is kept for it, and none reaches the encoder through it.
        learns = torch.is_grad_enabled() and next(self.bsn.parameters()).requires_grad
        with torch.set_grad_enabled(learns):
            preliminary, detected = self.bsn(features)
        segmented = self.esnet(features, self._query(detected, boxes))
        return Prediction(
            logits=segmented.logits,
            deep=segmented.deep,
            preliminary=preliminary,
            key=segmented.key,
            boxes=detected,
            saliency=segmented.saliency,
            gated_features=segmented.gated_features,
        )

    def _query(self, detected: Tensor, offered: Tensor | None) -> Tensor:
        if self.training:
            return self._training_query(detected, offered)
        if self._test_query == "offered":
            assert offered is not None, "the gate is asked to look at offered boxes, and none are offered"
            return offered
        if self._test_query == "dealt":
            return detected[:, list(self._deal)]
        return torch.full_like(detected, torch.nan) if self._test_query == "none" else detected

    def _training_query(self, detected: Tensor, annotated: Tensor | None) -> Tensor:
        if self.query_source == "predicted":
            return detected
        if annotated is None:
            raise ValueError(f"model.query_source={self.query_source} needs annotated boxes, but the batch has none")
        if self.query_source == "annotated":
            return annotated
        noise = self.jitter * torch.randn_like(annotated)
        size = annotated[..., 2:]
        return torch.cat([annotated[..., :2] + noise[..., :2] * size, size * (1 + noise[..., 2:]).clamp(min=0.1)], -1)
