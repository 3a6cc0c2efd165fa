"""How the layers of a network become narrower or wider with it."""

PUBLISHED_WIDTH = 64  # channels of the first stage of U-Net, ResNet and VGG, and of the slim Xception, alike


def in_proportion(channels: int, width: int) -> int:
    """Channels at `width` of a layer that has `channels` at the published width; at least one."""
    return max(1, round(channels * width / PUBLISHED_WIDTH))
