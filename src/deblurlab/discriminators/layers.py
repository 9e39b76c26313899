"""What discriminators are made of."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from deblurlab.models.blocks import normalisation

Norm = Literal["none", "instance", "batch", "spectral"]


def layer(
    inputs: int, outputs: int, norm: Norm, *, kernel: int = 4, stride: int = 1, padding: int = 1
) -> nn.Sequential:
    """Convolution, normalisation, leaky ReLU of slope 0.2. "spectral" normalises the convolution's weights instead
    (Miyato et al., ICLR 2018). The bias stays on beside instance norm, as in the original code.

    Raises:
        ValueError: `norm` is unknown.
    """
    if norm not in get_args(Norm):
        raise ValueError(f"unknown norm {norm!r}: {', '.join(get_args(Norm))}")
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=norm != "batch")
    initialise(convolution)
    if norm == "spectral":
        return nn.Sequential(spectral_norm(convolution), nn.LeakyReLU(0.2))
    normalised = normalisation(norm, outputs)
    if isinstance(normalised, nn.BatchNorm2d):
        nn.init.normal_(normalised.weight, 1.0, 0.02)
    return nn.Sequential(convolution, normalised, nn.LeakyReLU(0.2))


def initialise(convolution: nn.Conv2d) -> nn.Conv2d:
    """N(0, 0.02), as in pix2pix."""
    nn.init.normal_(convolution.weight, 0.0, 0.02)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def seen(image: Tensor, blurred: Tensor, conditional: bool) -> Tensor:
    """What a discriminator looks at, in [-1, 1]: the image, `(B, 3, H, W)`, or beside it the blurred one, `(B, 6, H,
    W)`."""
    return 2 * (torch.cat([image, blurred], dim=1) if conditional else image) - 1
