"""Structural similarity."""

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.metrics.protocol import comparable

SMALLEST = 11
"""Smallest side of an image that has an SSIM: that of the window."""
_SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def _window() -> Tensor:
    x = torch.arange(SMALLEST, dtype=torch.float64) - SMALLEST // 2
    window = torch.exp(-(x**2) / (2 * _SIGMA**2))
    return window / window.sum()


_WINDOW = _window()


def ssim(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean SSIM of each image (Wang et al., IEEE TIP 2004, equation 13) on 8-bit levels: per channel, Gaussian window
    of 11x11 and sigma 1.5, only where the window fits; the mean over positions, then channels.

    This is the variant of scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False)`; MATLAB's on an RGB volume gives higher values.

    Args:
        restored: `(B, C, H, W)` in [0, 1]; values outside are clamped.
        sharp: The same shape and range.

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: The shapes differ, or a side is smaller than the window.
    """
    if min(restored.shape[-2:]) < SMALLEST:
        raise ValueError(f"SSIM's window is {SMALLEST}x{SMALLEST}, the image {tuple(restored.shape[-2:])}")
    x, y = comparable(restored, sharp)
    if x.device.type == "cuda":
        return _map(x, y).mean(dim=(1, 2, 3))
    # Plane by plane, which stays in the processor's cache.
    planes = zip(x.flatten(0, 1), y.flatten(0, 1), strict=True)
    return torch.stack([_map(p, q).mean() for p, q in planes]).view(x.shape[:2]).mean(dim=1)


def _map(x: Tensor, y: Tensor) -> Tensor:
    mean_x, mean_y = _blur(x), _blur(y)
    # Of the two variances only the sum matters.
    variances = _blur(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance * (2 * covariance + _C2) / (variances + _C2)


def _blur(image: Tensor) -> Tensor:
    """Weighted means over windows, `(..., H, W)` -> `(..., H - 10, W - 10)`."""
    if image.device.type == "cuda":
        channels, window = image.shape[1], _WINDOW.to(image.device)
        rows = F.conv2d(image, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return F.conv2d(rows, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    edge, kernel = SMALLEST // 2, _WINDOW.numpy()
    return torch.from_numpy(cv2.sepFilter2D(image.numpy(), -1, kernel, kernel)[edge:-edge, edge:-edge])
