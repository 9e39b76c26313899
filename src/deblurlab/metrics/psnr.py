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
    restored, sharp = comparable(restored, sharp)
    mse = (restored - sharp).square().mean(dim=(1, 2, 3))
    return 10 * (255.0**2 / mse).log10()
