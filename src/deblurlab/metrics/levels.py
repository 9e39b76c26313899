"""Conversion of images in [0, 1] to 8-bit levels.

The conversion is part of a protocol and is stored beside every number: between the protocols in use, the PSNR of the
same weights differs by up to a decibel and the SSIM by up to 0.02.
"""

from typing import Literal

import torch
from torch import Tensor

Quantise = Literal["round", "truncate", "none"]


def levels(images: Tensor, quantise: Quantise = "round") -> Tensor:
    """Return images as levels in 0..255, float64.

    CUDA tensors stay on their device. Others are moved to the CPU, because not every device has float64.

    Args:
        images: `(..., H, W)` in [0, 1]; values outside are clamped.
        quantise: "round" or "truncate" to integers as in an 8-bit file, or "none".

    Example:
        >>> levels(torch.tensor([[0.0, 0.25, 1.2]])).tolist()  # 0.25 * 255 = 63.75
        [[0.0, 64.0, 255.0]]
        >>> levels(torch.tensor([[0.0, 0.25, 1.2]]), "truncate").tolist()
        [[0.0, 63.0, 255.0]]
    """
    images = images if images.device.type == "cuda" else images.cpu()
    scaled = images.clamp(0, 1).to(torch.float64).mul_(255)
    return {"round": scaled.round_, "truncate": scaled.floor_, "none": scaled.contiguous}[quantise]()


def level_pair(restored: Tensor, sharp: Tensor, quantise: Quantise = "round") -> tuple[Tensor, Tensor]:
    """Return both images as levels; `sharp` is always rounded, because it comes from an 8-bit file.

    Raises:
        ValueError: The shapes differ or aren't `(B, C, H, W)`.
    """
    if restored.shape != sharp.shape or restored.ndim != 4:
        raise ValueError(
            f"metrics compare (B, C, H, W) of one shape, not {tuple(restored.shape)} and {tuple(sharp.shape)}"
        )
    return levels(restored, quantise), levels(sharp)


def deterministic_mean(values: Tensor) -> Tensor:
    """Return the mean of all elements; on the CPU it is bit-identical for any number of threads."""
    return values.mean() if values.device.type == "cuda" else values.new_tensor(values.numpy().mean())


def luma(rgb: Tensor) -> Tensor:
    """Return Y of ITU-R BT.601, not rounded, as in MATLAB's `rgb2ycbcr`.

    Args:
        rgb: Levels `(B, 3, H, W)` in 0..255.

    Returns:
        `(B, 1, H, W)` in 16..235.

    Example:
        >>> luma(torch.full((1, 3, 1, 1), 255.0)).item()
        235.0
    """
    weights = rgb.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1) / 255
    return 16 + (rgb * weights).sum(dim=1, keepdim=True)
