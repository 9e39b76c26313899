"""How images become numbers. Every score is stored beside its protocol: the same weights differ by
a whole decibel, or 0.02 of SSIM, between the protocols in use."""

from typing import Literal

import torch
from torch import Tensor

Quantise = Literal["round", "truncate", "none"]


def levels(images: Tensor, quantise: Quantise = "round") -> Tensor:
    """Images in [0, 1], `(..., H, W)`, as the 8-bit levels that a file of them would hold: float64, 0..255, rounded,
    truncated, or not made whole.

    On the CPU, except for CUDA tensors, which stay where they are (other devices lack float64).
    """
    images = images if images.device.type == "cuda" else images.cpu()
    scaled = images.clamp(0, 1).to(torch.float64).mul_(255)
    return {"round": scaled.round_, "truncate": scaled.floor_, "none": scaled.contiguous}[quantise]()


def comparable(restored: Tensor, sharp: Tensor, quantise: Quantise = "round") -> tuple[Tensor, Tensor]:
    """Both images as levels; the sharp one is a file's, and rounded.

    Raises:
        ValueError: They aren't `(B, C, H, W)` of one shape, or the restored one holds NaN.
    """
    if restored.shape != sharp.shape or restored.ndim != 4:
        raise ValueError(
            f"metrics compare (B, C, H, W) of one shape, not {tuple(restored.shape)} and {tuple(sharp.shape)}"
        )
    return levels(restored, quantise), levels(sharp)


def mean(values: Tensor) -> Tensor:
    """Of all elements; on the CPU the same to the last bit whatever the number of threads."""
    return values.mean() if values.device.type == "cuda" else values.new_tensor(values.numpy().mean())


def luma(rgb: Tensor) -> Tensor:
    """Y of ITU-R BT.601 as MATLAB's `rgb2ycbcr` makes it: RGB levels `(B, 3, H, W)` -> `(B, 1, H, W)`, 16..235, not
    rounded."""
    weights = rgb.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1) / 255
    return 16 + (rgb * weights).sum(dim=1, keepdim=True)
