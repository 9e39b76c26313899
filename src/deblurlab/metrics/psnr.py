"""Peak signal-to-noise ratio."""

import torch
from torch import Tensor

from deblurlab.metrics.base import ImageMetric
from deblurlab.metrics.levels import deterministic_mean, level_pair, luma


class PSNR(ImageMetric):
    """Peak signal-to-noise ratio of RGB images, see `psnr`.

    Example:
        >>> round(PSNR()(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 51 / 255)).item(), 4)  # 20 log₁₀(255 / 51)
        13.9794
    """

    title, unit, digits, higher_is_better = "PSNR", "dB", 2, True
    description = "RGB, in dB"
    image_dtype = torch.float64

    def update(self, restored: Tensor, sharp: Tensor, mask: Tensor | None = None) -> None:
        """Add images, `(B, 3, H, W)` in [0, 1], with a mask `(B, 1, H, W)` of the pixels to measure."""
        self.add(psnr_of_levels(restored * 255, sharp * 255, mask))


class PSNRY(PSNR):
    """Peak signal-to-noise ratio of luma (Y of BT.601), with the peak 255."""

    title = "PSNR Y"
    description = "Y of BT.601 (16..235), in dB"

    def update(self, restored: Tensor, sharp: Tensor, mask: Tensor | None = None) -> None:
        """Add images, as `PSNR.update` does."""
        self.add(psnr_of_levels(luma(restored * 255), luma(sharp * 255), mask))


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
