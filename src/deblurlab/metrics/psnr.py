"""Peak signal-to-noise ratio."""

import torch
from torch import Tensor

from deblurlab.metrics.levels import deterministic_mean, level_pair


def psnr(restored: Tensor, sharp: Tensor) -> Tensor:
    """Return the PSNR of each image in dB: 10 log₁₀(255² / MSE).

    The mean squared error is over pixels and RGB channels, on levels rounded to 8 bits. PSNR is infinite for equal
    images.

    Args:
        restored: `(B, C, H, W)` in [0, 1]; values outside are clamped.
        sharp: The reference, of the same shape and range.

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: The shapes differ or aren't `(B, C, H, W)`.

    Example:
        >>> value = psnr(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 51 / 255))  # 20 log₁₀(255 / 51)
        >>> round(value.item(), 4)
        13.9794
    """
    return psnr_of_levels(*level_pair(restored, sharp))


def psnr_of_levels(restored: Tensor, sharp: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the PSNR of each image in dB, as `psnr` does, of images that are already levels.

    Args:
        restored: `(B, C, H, W)` in 0..255.
        sharp: The reference, of the same shape and range.
        mask: `(B, 1, H, W)`: 1 for pixels to measure, 0 for others; None measures all.

    Returns:
        `(B,)`.
    """
    errors = (restored - sharp).square()
    if mask is None:
        mse = torch.stack([deterministic_mean(error) for error in errors])
    else:
        mse = torch.stack(
            [deterministic_mean(e * m) / deterministic_mean(m) for e, m in zip(errors, mask, strict=True)]
        )
    return 10 * (255.0**2 / mse).log10()
