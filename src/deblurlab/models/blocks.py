"""Blocks that several generators are made of. All keep the shape `(B, C, H, W)` unless they say otherwise."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["none", "instance", "batch"]


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """The normalisation layer of this name; instance norm without learnt parameters, as in pix2pix.

    Raises:
        ValueError: No such name.
    """
    match norm:
        case "none":
            return nn.Identity()
        case "instance":
            return nn.InstanceNorm2d(channels)
        case "batch":
            return nn.BatchNorm2d(channels)
    raise ValueError(f"unknown norm {norm!r}: none, instance or batch")


def convolution(inputs: int, outputs: int, norm: Norm = "none", *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Same size (or divided by `stride`); without a bias where a normalisation follows and removes it.

    Raises:
        ValueError: The kernel has no middle.
    """
    if kernel % 2 == 0:
        raise ValueError(f"kernel is {kernel}: it must be odd")
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=norm == "none")


class PlainBlock(nn.Sequential):
    """Two convolutions, each normalised and followed by ReLU: the block of the original U-Net."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__(
            convolution(channels, channels, norm),
            normalisation(norm, channels),
            nn.ReLU(inplace=True),
            convolution(channels, channels, norm),
            normalisation(norm, channels),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), with no activation after the sum (Nah et al., CVPR 2017, fig. 3b)."""

    def __init__(self, channels: int, norm: Norm = "none", *, kernel: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(channels, channels, norm, kernel=kernel),
            normalisation(norm, channels),
            nn.ReLU(inplace=True),
            convolution(channels, channels, norm, kernel=kernel),
            normalisation(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def residual_blocks(channels: int, count: int, *, kernel: int = 3) -> nn.Sequential:
    """`count` of them in a row."""
    return nn.Sequential(*(ResidualBlock(channels, kernel=kernel) for _ in range(count)))


class Upsample(nn.Sequential):
    """`(B, inputs, H, W)` -> `(B, outputs, 2H, 2W)`: convolve, then interpolate.

    Interpolation treats all output pixels alike, so there is no checkerboard to unlearn (Odena et al.,
    "Deconvolution and Checkerboard Artifacts", Distill 2016); convolving first costs a quarter.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        )


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel, with a learnt scale and shift."""

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1)  # as channels_last images lie in memory
        return F.layer_norm(rows, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)
