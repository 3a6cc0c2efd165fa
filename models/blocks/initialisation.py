"""How layers start that no normalisation follows."""

from torch import nn


def keep_variance(module: nn.Module) -> None:
    """Draws the convolutions of a module so that features keep their variance through ReLUs (He et al. 2015).

    PyTorch's default shrinks them by 0.4 a layer, torchvision's own of a VGG wherever channels become more; without
    normalisation nothing makes up for it. Biases start at zero.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            inputs = layer.in_channels * layer.weight[0, 0].numel()  # of each output pixel
            if isinstance(layer, nn.ConvTranspose2d):
                inputs /= layer.stride[0] * layer.stride[1]
            nn.init.normal_(layer.weight, std=(2 / inputs) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
