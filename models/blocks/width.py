"""How the layers of a network become narrower or wider with it."""

PUBLISHED_WIDTH = 64  # channels of the first stage of U-Net, ResNet and VGG, and of the slim Xception, alike
LEAST_CHANNELS = 16  # ours: with four at its end Baur's network does not learn ten slices (docs/fair_presets.md)


def in_proportion(channels: int, width: int) -> int:
    """Channels at `width` of a layer that has `channels` at the published width.

    A layer that is published narrower than the first stage is not made narrower than 16, or than the first stage, by a
    smaller width: a decoder that ends at 16 of 64 channels would end at 4 of 16.
    """
    return max(1, min(channels, width, LEAST_CHANNELS), round(channels * width / PUBLISHED_WIDTH))
