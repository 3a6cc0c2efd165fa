"""The smallest network with everything that a key-point network shows."""

from torch import nn
from torch.nn import functional as F

from models.prediction import Prediction
from models.strides import Strides


class KeypointNetwork(nn.Module):
    """Class scores and heat maps from one hidden layer, and the same attention from everywhere.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes with background.
        num_keypoints: Heat maps.
    """

    def __init__(self, *, in_channels: int, num_classes: int, num_keypoints: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(in_channels, 8, 7, padding=3)
        self.scores = nn.Conv2d(8, num_classes, 1)
        self.heatmaps = nn.Conv2d(8, num_keypoints, 1)
        self.strides = Strides(low=1, bottleneck=1)

    def forward(self, image, boxes=None) -> Prediction:
        features = F.relu(self.hidden(image))
        heatmaps = self.heatmaps(features)
        looks = F.adaptive_avg_pool2d(heatmaps, (6, 4)).flatten(2).softmax(dim=2).unflatten(2, (6, 4))
        return Prediction(
            logits=self.scores(features), heatmaps=heatmaps, attention=None if self.training else looks.detach()
        )
