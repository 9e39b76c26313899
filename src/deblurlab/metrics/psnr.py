"""Peak signal-to-noise ratio."""

from torch import Tensor

from deblurlab.metrics.protocol import comparable


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
    error = (restored - sharp).square().mean(dim=1, keepdim=True)
    mse = error.mean(dim=(1, 2, 3)) if mask is None else (error * mask).sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3))
    return 10 * (255.0**2 / mse).log10()
