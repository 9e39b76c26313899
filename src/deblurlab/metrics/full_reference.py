"""Metrics that compare images with their references."""

import torch
from torch import Tensor

from deblurlab.metrics.base import ImageMetric
from deblurlab.metrics.levels import luma
from deblurlab.metrics.psnr import psnr_of_levels
from deblurlab.metrics.ssim import ssim_matlab_rgb, ssim_of_levels


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
    """Peak signal-to-noise ratio of luma (Y of BT.601), with the peak 255.

    Example:
        >>> value = PSNRY()(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4))  # 20 log₁₀(255 / (235 - 16))
        >>> round(value.item(), 4)
        1.3219
    """

    title = "PSNR Y"
    description = "Y of BT.601 (16..235), in dB"

    def update(self, restored: Tensor, sharp: Tensor, mask: Tensor | None = None) -> None:
        """Add images, as `PSNR.update` does."""
        self.add(psnr_of_levels(luma(restored * 255), luma(sharp * 255), mask))


class SSIM(ImageMetric):
    """Structural similarity of RGB images, per channel, see `ssim`.

    Example:
        >>> black, white = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
        >>> round(SSIM()(black, white).item(), 6)  # 0.01² / (1 + 0.01²)
        0.0001
    """

    title, higher_is_better = "SSIM", True
    description = "per channel, Gaussian window 11x11 of sigma 1.5, valid area"
    image_dtype = torch.float64

    def update(self, restored: Tensor, sharp: Tensor, mask: Tensor | None = None) -> None:
        """Add images, `(B, 3, H, W)` in [0, 1], with a mask `(B, 1, H, W)` of the window centres to measure."""
        self.add(ssim_of_levels(restored * 255, sharp * 255, mask))


class SSIMY(SSIM):
    """Structural similarity of luma (Y of BT.601).

    Example:
        >>> image = torch.rand(1, 3, 16, 16)
        >>> round(SSIMY()(image, image).item(), 6)
        1.0
    """

    title = "SSIM Y"
    description = "Y of BT.601 (16..235), Gaussian window 11x11 of sigma 1.5, valid area"

    def update(self, restored: Tensor, sharp: Tensor, mask: Tensor | None = None) -> None:
        """Add images, as `SSIM.update` does."""
        self.add(ssim_of_levels(luma(restored * 255), luma(sharp * 255), mask))


class SSIMMatlabRGB(ImageMetric):
    """Structural similarity of an RGB image as a volume, see `ssim_matlab_rgb`.

    Example:
        >>> black, white = torch.zeros(1, 3, 16, 16).double(), torch.ones(1, 3, 16, 16).double()
        >>> round(SSIMMatlabRGB()(black, white).item(), 6)  # 0.01² / (1 + 0.01²)
        0.0001
    """

    title, higher_is_better = "SSIM (MATLAB, RGB)", True
    description = "RGB as a volume, Gaussian window 11x11x11 of sigma 1.5, borders replicated"
    image_dtype = torch.float64

    def update(self, restored: Tensor, sharp: Tensor) -> None:
        """Add images, `(B, 3, H, W)` in [0, 1]."""
        self.add(ssim_matlab_rgb(restored * 255, sharp * 255))
