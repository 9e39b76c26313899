"""Peak signal-to-noise ratio."""

import torch
from torch import Tensor

from deblurlab.metrics.levels import comparable, mean


def psnr(restored: Tensor, sharp: Tensor) -> Tensor:
    """`10 log10(255^2 / MSE)` in dB of each image, over its pixels and channels, on 8-bit levels; infinite for equal
    images.

    Args:
        restored: `(B, C, H, W)` in [0, 1]; values outside are clamped.
        sharp: The same shape and range.

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: The shapes differ.
    """
    return psnr_of_levels(*comparable(restored, sharp))


def psnr_of_levels(restored: Tensor, sharp: Tensor, mask: Tensor | None = None) -> Tensor:
    """The same of levels, `(B, C, H, W)` in 0..255; where `mask` `(B, 1, H, W)` isn't 0, if there is one."""
    errors = (restored - sharp).square()
    if mask is None:
        mse = torch.stack([mean(error) for error in errors])
    else:
        mse = torch.stack([mean(e * m) / mean(m) for e, m in zip(errors, mask, strict=True)])
    return 10 * (255.0**2 / mse).log10()
