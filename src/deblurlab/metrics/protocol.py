"""How images become numbers. Every score is stored beside its protocol: the same weights differ by
a whole decibel, or 0.02 of SSIM, between the protocols in use."""

from typing import Any

import torch
from torch import Tensor

PROTOCOL: dict[str, Any] = {
    "colour": "RGB",
    "range": "clamped to [0, 1], rounded to 8 bits",
    "border": 0,
    "mean": "over images, of each image's value",
    "ssim": "per channel, Gaussian window 11x11 of sigma 1.5, valid area",
}


def levels(images: Tensor) -> Tensor:
    """Images in [0, 1], `(..., H, W)`, as the 8-bit levels that a file of them would hold: float64, 0..255.

    On the CPU, except for CUDA tensors, which stay where they are (other devices lack float64).
    """
    images = images if images.device.type == "cuda" else images.cpu()
    return (images.to(torch.float64) * 255).round().clamp(0, 255)


def comparable(restored: Tensor, sharp: Tensor) -> tuple[Tensor, Tensor]:
    """Both images as levels.

    Raises:
        ValueError: They aren't `(B, C, H, W)` of one shape.
    """
    if restored.shape != sharp.shape or restored.ndim != 4:
        raise ValueError(
            f"metrics compare (B, C, H, W) of one shape, not {tuple(restored.shape)} and {tuple(sharp.shape)}"
        )
    return levels(restored), levels(sharp)
