"""Building blocks of discriminators."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from deblurlab.models.blocks import normalisation

Norm = Literal["none", "instance", "batch", "spectral"]


def conv_block(
    inputs: int, outputs: int, norm: Norm, *, kernel: int = 4, stride: int = 1, padding: int = 1
) -> nn.Sequential:
    """Return a convolution, a normalisation and a leaky ReLU of slope 0.2.

    "spectral" normalises the convolution's weights instead of its output (Miyato et al., ICLR 2018). The convolution
    has a bias except with batch norm. With instance norm the bias has no effect, but pix2pix's code has it too.

    Raises:
        ValueError: `norm` is unknown.
    """
    if norm not in get_args(Norm):
        raise ValueError(f"unknown norm {norm!r}: {', '.join(get_args(Norm))}")
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=norm != "batch")
    initialise(convolution)
    if norm == "spectral":
        return nn.Sequential(spectral_norm(convolution), nn.LeakyReLU(0.2))
    norm_layer = normalisation(norm, outputs)
    if isinstance(norm_layer, nn.BatchNorm2d):
        nn.init.normal_(norm_layer.weight, 1.0, 0.02)
    return nn.Sequential(convolution, norm_layer, nn.LeakyReLU(0.2))


def initialise(convolution: nn.Conv2d) -> nn.Conv2d:
    """Initialise weights from N(0, 0.02²) and biases with 0, as in pix2pix; return the convolution."""
    nn.init.normal_(convolution.weight, 0.0, 0.02)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def network_input(image: Tensor, blurred: Tensor, conditional: bool) -> Tensor:
    """Return the input of the first layer in [-1, 1].

    Args:
        image: `(B, 3, H, W)` in [0, 1].
        blurred: The same.
        conditional: Whether to concatenate `blurred`.

    Returns:
        `(B, 3, H, W)`, or `(B, 6, H, W)` if conditional.
    """
    return 2 * (torch.cat([image, blurred], dim=1) if conditional else image) - 1
