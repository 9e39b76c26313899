"""Structural similarity."""

from collections.abc import Callable

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.metrics.levels import comparable, mean

SMALLEST = 11
"""Smallest side of an image that has an SSIM: that of the window."""
_EDGE = SMALLEST // 2
_SIGMA = 1.5
_STRIP = 64
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
    return ssim_of_levels(*comparable(restored, sharp))


def ssim_of_levels(x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """The same of levels, `(B, C, H, W)` in 0..255; over the windows whose middle `mask` `(B, 1, H, W)` shows, if there
    is one."""
    if min(x.shape[-2:]) < SMALLEST:
        raise ValueError(f"SSIM's window is {SMALLEST}x{SMALLEST}, the image {tuple(x.shape[-2:])}")
    if mask is not None:
        inside = mask[..., _EDGE:-_EDGE, _EDGE:-_EDGE]
        values = torch.stack([_strips(p, q) for p, q in zip(x.flatten(0, 1), y.flatten(0, 1), strict=True)])
        over_channels = values.view(*x.shape[:2], *inside.shape[-2:]).mean(dim=1, keepdim=True)
        return (over_channels * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3))
    if x.device.type == "cuda":
        return _map(x, y, _blur).mean(dim=(1, 2, 3))
    planes = zip(x.flatten(0, 1), y.flatten(0, 1), strict=True)
    return torch.stack([mean(_strips(p, q)) for p, q in planes]).view(x.shape[:2]).mean(dim=1)


def ssim_matlab_rgb(x: Tensor, y: Tensor) -> Tensor:
    """SSIM of an RGB image taken for a volume, with a Gaussian window of 11x11x11 and sigma 1.5 and borders replicated:
    what MATLAB's `ssim` makes of such an array, and what most GoPro tables since 2020 print.

    Args:
        x: Levels, `(B, 3, H, W)` in 0..255. y: The same.

    Returns:
        `(B,)`, float64. The window spans the three channels, so it mixes them; values are higher than `ssim`'s.
    """
    return torch.stack([mean(_map(p, q, _blur_volume)) for p, q in zip(x.cpu(), y.cpu(), strict=True)])


def _strips(x: Tensor, y: Tensor) -> Tensor:
    """The map of a plane, `(H, W)`, in strips that stay in the processor's cache: the same values in half the time."""
    rows = range(0, x.shape[0] - 2 * _EDGE, _STRIP)
    strips = [slice(row, row + _STRIP + 2 * _EDGE) for row in rows]
    return torch.cat([_map(x[strip], y[strip], _blur) for strip in strips])


def _map(x: Tensor, y: Tensor, blur: Callable[[Tensor], Tensor]) -> Tensor:
    mean_x, mean_y = blur(x), blur(y)
    # Of the two variances only the sum matters.
    variances = blur(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance * (2 * covariance + _C2) / (variances + _C2)


def _blur(image: Tensor) -> Tensor:
    """Weighted means over windows, `(..., H, W)` -> `(..., H - 10, W - 10)`."""
    if image.device.type == "cuda":
        channels, window = image.shape[1], _WINDOW.to(image.device)
        rows = F.conv2d(image, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return F.conv2d(rows, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    kernel = _WINDOW.numpy()
    return torch.from_numpy(cv2.sepFilter2D(image.numpy(), -1, kernel, kernel)[_EDGE:-_EDGE, _EDGE:-_EDGE])


def _blur_volume(image: Tensor) -> Tensor:
    """Weighted means over windows of a volume, borders replicated: `(3, H, W)` -> the same."""
    kernel, border = _WINDOW.numpy(), cv2.BORDER_REPLICATE
    planes = [
        torch.from_numpy(cv2.sepFilter2D(plane.numpy(), -1, kernel, kernel, borderType=border)) for plane in image
    ]
    # Along the channels, the window of each is a mean of all of them.
    mixing = image.new_zeros(len(planes), len(planes))
    for c in range(len(planes)):
        for k, weight in enumerate(kernel.tolist()):
            mixing[c, min(max(c + k - _EDGE, 0), len(planes) - 1)] += weight
    return torch.einsum("ij,jhw->ihw", mixing, torch.stack(planes))
